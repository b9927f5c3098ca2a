"""The structure document: the exact structure used, and the identity of its material."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field
from pymatgen.core import Structure

from nearedge.schemas.document import Document
from nearedge.schemas.relaxation import RelaxedFrom
from nearedge.structures.identity import structure_id, structure_key
from nearedge.structures.source import SourceRef
from nearedge.structures.stored import stored_structure


class StructureDoc(Document):
    """A structure exactly as it was used, with the id of its material."""

    collection: ClassVar[str] = "structures"
    id_field: ClassVar[str] = "structure_key"

    structure_key: str = Field(description="Hash of this exact structure, sites in order.")
    structure_id: str = Field(description="One value for a material, whatever the cell or order.")
    formula: str = Field(description="Reduced formula, such as TiO2.")
    elements: list[str] = Field(description="Symbols, sorted.")
    nsites: int
    structure: dict[str, Any] = Field(description="pymatgen's own serialisation.")
    source: SourceRef
    relaxation: RelaxedFrom | None = Field(None, description="How it was made by relaxing another.")

    @classmethod
    def from_structure(
        cls, structure: Structure, source: SourceRef, relaxation: RelaxedFrom | None = None
    ) -> StructureDoc:
        """Describe `structure`, which must be ordered."""
        return cls(
            structure_key=structure_key(structure),
            structure_id=structure_id(structure),
            formula=structure.composition.reduced_formula,
            elements=sorted(element.symbol for element in structure.composition.elements),
            nsites=len(structure),
            structure=structure.as_dict(),
            source=source,
            relaxation=relaxation,
        )

    def to_structure(self) -> Structure:
        """Return the exact structure."""
        return stored_structure(self.structure)
