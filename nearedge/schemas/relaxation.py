"""How a structure was relaxed: from which one, by what model, under which conditions."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from nearedge.schemas.calculation import COMPLETED, Failure
from nearedge.schemas.document import Document, content_hash

RelaxMode = Literal["full", "fixed-volume", "fixed-cell"]
"""What may change: atoms and cell; atoms and the shape of the cell; atoms alone."""

_VERSION = "nearedge-relaxation-1"


class RelaxationSettings(BaseModel):
    """What decides how a structure comes out."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str = Field(description="The potential, such as M3GNet-MP-2021.2.8-PES.")
    weights_sha256: str = Field(description="Of the file with the potential's parameters.")
    mode: RelaxMode
    pressure: float = Field(description="Hydrostatic, in GPa; 0 unless the mode is `full`.")
    force_tolerance: float = Field(gt=0, description="eV/Å: no force is larger in the end.")
    steps: int = Field(ge=1, description="Most steps that are made.")

    def relaxation_id(self, origin: str) -> str:
        """Return one value for the relaxation of the structure of key `origin` so."""
        return content_hash([_VERSION, origin, self.model_dump()])


class RelaxationResult(BaseModel):
    """What a relaxation came to."""

    model_config = ConfigDict(extra="forbid")

    steps: int = Field(description="Steps that were made.")
    max_force: float = Field(description="Largest force on an atom of the result, eV/Å.")
    pressure: float = Field(description="Pressure of the result, GPa.")
    energy: float = Field(description="Of the result, eV per atom.")
    energy_before: float = Field(description="Of the origin, eV per atom.")
    volume_ratio: float = Field(description="Volume of the result by that of the origin.")
    length_change: float = Field(description="Of a lattice vector's length, the largest share.")
    cpu_seconds: float


class RelaxedFrom(BaseModel):
    """Where a relaxed structure came from."""

    model_config = ConfigDict(extra="forbid")

    relaxation_id: str
    origin: str = Field(description="structure_key of the structure that was relaxed.")
    settings: RelaxationSettings
    result: RelaxationResult


class RelaxationDoc(Document):
    """One structure relaxed one way, completed or failed by name."""

    collection: ClassVar[str] = "relaxations"
    id_field: ClassVar[str] = "relaxation_id"

    relaxation_id: str
    origin: str = Field(description="structure_key of the structure that was relaxed.")
    structure_key: str | None = Field(None, description="Of the relaxed structure.")
    formula: str
    label: str = Field(description="What the origin is called.")
    settings: RelaxationSettings
    state: str = Field(description="`completed` or the name of a failure.")
    result: RelaxationResult | None = None
    failure: Failure | None = None
    host: str | None = None
    projects: list[str] = Field(default_factory=list)

    @property
    def completed(self) -> bool:
        """Whether there is a relaxed structure."""
        return self.state == COMPLETED
