"""What goes into the store together, and what comes back as a count or a row."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime
from typing import NamedTuple

from nearedge.errors import DatabaseError
from nearedge.schemas.calculation import CalculationDoc
from nearedge.schemas.spectrum import SpectrumDoc, SpectrumKind, site_spectrum_id
from nearedge.schemas.structure import StructureDoc
from nearedge.store.operations import Document


class Record(NamedTuple):
    """A calculation with the spectrum it gave (None if it failed) and the structure it is of."""

    calculation: CalculationDoc
    spectrum: SpectrumDoc | None
    structure: StructureDoc | None = None

    def checked(self) -> Record:
        """Return itself if its parts fit together.

        Raises
        ------
        DatabaseError
            If a completed calculation comes without its spectrum, a failed one with one, or the
            documents are of different calculations or structures.
        """
        calculation, spectrum, structure = self
        what = f"Calculation {calculation.calculation_id}"
        if calculation.completed and spectrum is None:
            raise DatabaseError(f"{what} is completed: record it with its spectrum.")
        if spectrum is not None:
            if not calculation.completed:
                raise DatabaseError(f"{what} failed ({calculation.state}): it has no spectrum.")
            expected = site_spectrum_id(calculation.calculation_id)
            if spectrum.spectrum_id != expected or spectrum.kind is not SpectrumKind.SITE:
                raise DatabaseError(
                    f"{what} gives the site spectrum {expected}, not {spectrum.spectrum_id}."
                )
        if structure is not None and structure.structure_key != calculation.structure_key:
            raise DatabaseError(
                f"{what} is of structure {calculation.structure_key}, not "
                f"{structure.structure_key}."
            )
        return self


@dataclass(frozen=True)
class Restart:
    """Files that a calculation left, from which others on its site are made faster."""

    calculation_id: str
    files: dict[str, bytes]


@dataclass(frozen=True)
class RecordCounts:
    """How many calculations were new (or replaced a failure), and how many known."""

    new: int = 0
    known: int = 0

    def __add__(self, other: RecordCounts) -> RecordCounts:
        return RecordCounts(self.new + other.new, self.known + other.known)


@dataclass(frozen=True)
class SpectrumRow:
    """A spectrum without its arrays; `edge_energy` in eV where the code states one."""

    spectrum_id: str
    kind: str
    formula: str
    structure_id: str
    structure_key: str
    absorber: str
    edge: str
    code: str
    code_version: str
    protocol: str
    parameters_id: str
    absorbing_index: int | None
    multiplicity: int | None
    state: str
    covered: float
    calculation_ids: tuple[str, ...]
    unit: str
    edge_energy: float | None
    projects: tuple[str, ...]
    created_at: datetime

    @classmethod
    def projection(cls) -> dict[str, int]:
        """Return the fields to ask the database for."""
        names = {field.name for field in fields(cls)} - {"spectrum_id", "edge_energy"}
        return dict.fromkeys(sorted(names | {"energy_reference", "schema_version"}), 1)

    @classmethod
    def from_stored(cls, stored: Document) -> SpectrumRow:
        """Read what `projection` asked for."""
        values: Document = {name: stored.get(name) for name in cls.projection()}
        reference = values.pop("energy_reference") or {}
        del values["schema_version"]
        values |= {
            "spectrum_id": str(stored["_id"]),
            "edge_energy": reference.get("edge_energy"),
            "calculation_ids": tuple(stored["calculation_ids"]),
            "projects": tuple(stored.get("projects", ())),
        }
        return cls(**values)
