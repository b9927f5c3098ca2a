"""What RankAAE needs and makes: the surroundings of absorbing sites, and the card of its styles."""

from __future__ import annotations

import math
from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field

from nearedge.schemas.dataset import GridDoc
from nearedge.schemas.document import Document, content_hash
from nearedge.schemas.model import Metric
from nearedge.spectra.spectrum import AbsorptionUnit
from nearedge.structures.environment import DEFINITION, SiteEnvironment


class SiteDescriptors(BaseModel):
    """The surroundings of one site; null where a number is not defined."""

    model_config = ConfigDict(extra="forbid")

    absorbing_index: int = Field(ge=0)
    values: dict[str, float | None] = Field(description="CT, CN, OCN, and RSTD and MOOD in Å.")
    charge_source: str = Field(description="`bond_valence`, `guess` or `none`.")
    reasons: dict[str, str] = Field(default_factory=dict, description="Why a number is null.")

    @classmethod
    def of(cls, site: int, found: SiteEnvironment) -> SiteDescriptors:
        """Describe a site by what `site_environments` found."""
        values = {name: None if math.isnan(value) else value for name, value in found.named.items()}
        return cls(
            absorbing_index=site,
            values=values,
            charge_source=found.charge_source,
            reasons=found.reasons,
        )


class DescriptorsDoc(Document):
    """The surroundings of all sites of one element in one exact structure."""

    collection: ClassVar[str] = "descriptors"
    id_field: ClassVar[str] = "descriptors_id"

    descriptors_id: str
    structure_key: str
    absorber: str
    definition: int = Field(DEFINITION, description="Version of how they are computed.")
    sites: list[SiteDescriptors]


def descriptors_id(structure_key: str, absorber: str) -> str:
    """Return the id of the descriptors of a structure's sites, as they are computed today."""
    return content_hash(["descriptors", DEFINITION, structure_key, absorber])


class StyleTrack(BaseModel):
    """What spectra do along one style, the others zero."""

    model_config = ConfigDict(extra="forbid")

    style: str = Field(description="Its descriptor, or `free`.")
    values: list[float] = Field(description="Of the style, in standard deviations.")
    descriptor: list[float | None] = Field(
        description="Median of the training sites about each value."
    )
    decoded: list[list[float]] = Field(description="Spectra, in the data set's unit.")
    observed: list[list[float]] = Field(description="Mean training spectra about each value.")


class StylesDoc(Document):
    """The card of trained styles: what they are of, how good they are, what they look like."""

    collection: ClassVar[str] = "styles"
    id_field: ClassVar[str] = "styles_id"

    styles_id: str = Field(description="SHA-256 of the weights file, first 32 digits.")
    name: str
    absorber: str
    edge: str
    code: str
    protocol: str
    dataset_id: str
    unit: AbsorptionUnit
    grid: GridDoc
    parts: list[str] = Field(description="Of the data set, learned from.")
    part: str | None = Field(description="Of the data set, judged on; null where there is none.")
    options: dict[str, bool | int | float | str]
    seed: int
    scale: float = Field(description="What one edge step is in `unit`.")
    style_names: list[str]
    undefined: dict[str, int] = Field(
        description="Descriptor to the number of training sites without it."
    )
    training: dict[str, Metric] = Field(description="On the spectra that were learned from.")
    metrics: dict[str, Metric] = Field(description="On the part that was held out.")
    correlations: list[list[float]] = Field(description="Spearman, of styles with each other.")
    history: dict[str, list[float]] = Field(description="Losses in every epoch.")
    tracks: list[StyleTrack]
    training_rows: int
    cpu_seconds: float
    code_version: str = Field(description="Version of nearedge that trained it.")
    weights_sha256: str
    weights_blob: str | None = None
