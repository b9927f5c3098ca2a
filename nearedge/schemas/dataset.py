"""The data set document: a frozen list of spectra with split, grid and content hash."""

from __future__ import annotations

from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from nearedge.schemas.document import Document
from nearedge.spectra.spectrum import AbsorptionUnit


class GridDoc(BaseModel):
    """A uniform energy grid in eV."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    start: float
    step: float = Field(gt=0)
    points: int = Field(ge=2)


class DatasetRow(BaseModel):
    """One training example: a site of a structure and its spectrum."""

    model_config = ConfigDict(extra="forbid")

    spectrum_id: str
    structure_key: str
    structure_id: str
    absorbing_index: int
    group: str = Field(description="Material; rows of one group are never split.")
    label: str = Field(description="A name people know, such as mp-1234_003.")
    formula: str = Field("", description="Reduced formula; empty where none was kept.")
    edge_energy: float | None = Field(
        None, description="Edge energy in eV that the code states, on the spectrum's own axis."
    )
    fermi_energy: float | None = Field(
        None, description="The code's Fermi level in eV, counted from the code's own zero."
    )
    outlier: bool = Field(False, description="Marked by the data set's rule; not left out.")

    @property
    def zero(self) -> float | None:
        """Energy in eV of the code's own zero on the spectrum's axis, where it states both ends."""
        if self.edge_energy is None or self.fermi_energy is None:
            return None
        return self.edge_energy - self.fermi_energy

    @property
    def site(self) -> str:
        """One value for this site, whichever code computed its spectrum."""
        return f"{self.structure_key}:{self.absorbing_index}"


class DatasetDoc(Document):
    """What a model was trained on, for good."""

    collection: ClassVar[str] = "datasets"
    id_field: ClassVar[str] = "dataset_id"

    dataset_id: str = Field(description="Hash of rows, split, grid, unit and the spectra's values.")
    name: str
    absorber: str
    edge: str
    code: str
    protocol: str
    parameters_id: str
    unit: AbsorptionUnit
    grid: GridDoc
    query: dict[str, Any]
    rows: list[DatasetRow]
    split: dict[str, list[int]] = Field(description="Part name to row numbers: train, val, test.")
    outlier_sigma: float | None = Field(
        None,
        gt=0,
        description="A row is an outlier where it is at any energy further than so many standard "
        "deviations from the mean of the part `train`; None marks nothing.",
    )

    @model_validator(mode="after")
    def _no_group_on_two_sides(self) -> Self:
        seen: dict[str, tuple[str, str]] = {}
        for part, numbers in self.split.items():
            for number in numbers:
                row = self.rows[number]
                other, label = seen.setdefault(row.group, (part, row.label))
                if other != part:
                    raise ValueError(
                        f"material {row.group} is in {other} ({label}) and in {part} ({row.label})"
                    )
        return self
