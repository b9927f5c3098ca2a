"""The spectrum document: a site's spectrum, or the weighted average over a crystal's sites."""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar, Literal

import numpy as np
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
)

from nearedge.schemas.document import Document, content_hash
from nearedge.spectra.spectrum import AbsorptionUnit, Spectrum


class SpectrumKind(StrEnum):
    """Level of a spectrum: one absorbing site, or the crystal."""

    SITE = "site"
    AVERAGE = "average"


class Contribution(BaseModel):
    """What one site adds to an average."""

    model_config = ConfigDict(extra="forbid")

    calculation_id: str
    absorbing_index: int
    multiplicity: int = Field(ge=1)
    weight: float = Field(ge=0, le=1, description="Share of the average; zero for a failed site.")
    state: str


class EnergyReference(BaseModel):
    """What the energy axis is counted from, in eV."""

    model_config = ConfigDict(extra="forbid")

    kind: Literal["absolute", "fermi", "arbitrary"]
    edge_energy: float | None = Field(None, description="The code's edge on this axis, in eV.")
    fermi_energy: float | None = Field(None, description="The code's own Fermi level, in eV.")
    cell_energy: float | None = Field(
        None,
        description="Energy in eV of the cell with the core hole and an electron at the axis's "
        "zero. Between sites of a crystal, in cells of one size, it differs as their zeros do.",
    )


class Broadening(BaseModel):
    """Broadening that the absorption already contains; widths are FWHM in eV.

    A Lorentzian is a lifetime's, a Gaussian an instrument's. An arctangent's width grows from
    `width`, at the edge, by `maximum`; see `nearedge.spectra.broadening.Arctangent`.
    """

    model_config = ConfigDict(extra="forbid")

    kind: Literal["lorentzian", "gaussian", "arctangent", "none"]
    width: float = 0.0
    origin: str = Field(description="What put it there, such as `core-hole lifetime, FEFF Gam_ch`.")
    maximum: float | None = Field(None, description="Arctangent: what is added far above, in eV.")
    center: float | None = Field(None, description="Arctangent: half-way above the edge, in eV.")
    spread: float | None = Field(None, description="Arctangent: what it grows over, in eV.")

    @model_serializer(mode="wrap")
    def _without_what_others_have(self, plain: SerializerFunctionWrapHandler) -> dict[str, object]:
        """Leave out the arctangent's numbers elsewhere, as documents have it that lack them."""
        written: dict[str, object] = plain(self)
        return {name: value for name, value in written.items() if value is not None}


class SpectrumDoc(Document):
    """Absorption against energy with everything needed to compare it with another."""

    collection: ClassVar[str] = "spectra"
    id_field: ClassVar[str] = "spectrum_id"

    spectrum_id: str
    kind: SpectrumKind
    structure_key: str
    structure_id: str
    formula: str
    elements: list[str]
    absorber: str
    edge: str
    code: str
    code_version: str
    protocol: str
    parameters_id: str
    absorbing_index: int | None = Field(None, description="Site spectra only.")
    multiplicity: int | None = Field(
        None, description="Site spectra: equivalent sites in the cell."
    )
    contributions: list[Contribution] = Field(default_factory=list, description="Averages only.")
    covered: float = Field(1.0, ge=0, le=1, description="Fraction of the absorbers it covers.")
    state: Literal["completed", "incomplete"] = "completed"
    calculation_ids: list[str]
    energy: list[float] = Field(description="eV, shape (n,).")
    absorption: list[float] = Field(description="In `unit`, shape (n,).")
    unit: AbsorptionUnit
    normalization: float | None = Field(None, description="Å² per unit of normalised absorption.")
    energy_reference: EnergyReference
    broadening: list[Broadening] = Field(default_factory=list)
    warnings: list[str] = Field(default_factory=list)
    projects: list[str] = Field(default_factory=list)

    def to_spectrum(self) -> Spectrum:
        """Return the arrays as a checked spectrum."""
        return Spectrum(
            np.array(self.energy), np.array(self.absorption), self.unit, self.normalization
        )


def site_spectrum_id(calculation_id: str) -> str:
    """Return the id of the spectrum that a calculation gives."""
    return content_hash(["site", calculation_id])


def average_spectrum_id(structure_key: str, absorber: str, edge: str, parameters_id: str) -> str:
    """Return the id of a crystal's average; the same while sites are still missing and after."""
    return content_hash(["average", structure_key, absorber, edge, parameters_id])
