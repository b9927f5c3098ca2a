"""Oxides of titanium and copper that come with NearEdge, made from published crystal data."""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import files
from typing import Annotated

import numpy as np
import spglib
import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter
from pymatgen.core.lattice import Lattice
from pymatgen.core.structure import Structure

from nearedge.errors import StructureError
from nearedge.spectra.spectrum import FloatArray
from nearedge.structures.checks import check_structure
from nearedge.structures.source import LoadedStructure, SourceRef


class _LatticeEntry(BaseModel):
    """Lengths in Å and angles in degrees; what symmetry fixes is left out."""

    model_config = ConfigDict(extra="forbid")

    a: float
    b: float | None = None
    c: float | None = None
    beta: float = 90.0


class _SiteEntry(BaseModel):
    model_config = ConfigDict(extra="forbid")

    element: str
    wyckoff: str = Field(pattern=r"^\d+[a-z]$", description="Multiplicity and letter, such as 8e.")
    position: Annotated[list[float], Field(min_length=3, max_length=3)]

    @property
    def multiplicity(self) -> int:
        return int(self.wyckoff[:-1])


class OxideEntry(BaseModel):
    """One entry of ``oxides.yaml``."""

    model_config = ConfigDict(extra="forbid")

    formula: str
    space_group: str
    hall_number: int = Field(ge=1, le=530, description="Setting, as spglib counts them.")
    lattice: _LatticeEntry
    sites: list[_SiteEntry]
    citation: str
    note: str | None = None

    def structure(self) -> Structure:
        """Build the conventional cell.

        Raises
        ------
        StructureError
            If a position does not have the multiplicity of its Wyckoff letter, or the group is not
            the one named: then data and setting do not belong together.
        """
        group = spglib.get_spacegroup_type(self.hall_number)
        operations = spglib.get_symmetry_from_database(self.hall_number)
        if group is None or operations is None or group.international_short != self.space_group:
            raise StructureError(
                f"{self.formula}: setting {self.hall_number} is not one of {self.space_group}; "
                "correct oxides.yaml."
            )
        species: list[str] = []
        positions: list[FloatArray] = []
        for site in self.sites:
            images = operations["rotations"] @ np.array(site.position) + operations["translations"]
            orbit = _different(images)
            if len(orbit) != site.multiplicity:
                raise StructureError(
                    f"{self.formula}: {site.element} at {site.position} has {len(orbit)} images in "
                    f"{self.space_group}, not the {site.wyckoff} stated; correct oxides.yaml."
                )
            species += [site.element] * len(orbit)
            positions += orbit
        return Structure(self._lattice(group.number), species, positions)

    def _lattice(self, number: int) -> Lattice:
        lattice = self.lattice
        b = lattice.a if lattice.b is None else lattice.b
        c = lattice.a if lattice.c is None else lattice.c
        gamma = 120 if 143 <= number <= 194 else 90  # trigonal and hexagonal groups
        return Lattice.from_parameters(lattice.a, b, c, 90, lattice.beta, gamma)


def _different(images: FloatArray) -> list[FloatArray]:
    """Return the positions that differ by more than a lattice vector, wrapped into the cell."""
    different: list[FloatArray] = []
    for image in images - np.floor(images + 1e-6):
        offsets = [image - kept for kept in different]
        if all(np.abs(offset - np.round(offset)).max() > 1e-4 for offset in offsets):
            different.append(image)
    return different


@lru_cache(maxsize=1)
def oxide_entries() -> dict[str, OxideEntry]:
    """Return the published data by name, in the order of the file."""
    text = files("nearedge.structures").joinpath("oxides.yaml").read_text(encoding="utf-8")
    return TypeAdapter(dict[str, OxideEntry]).validate_python(yaml.safe_load(text))


def builtin_names() -> list[str]:
    """Return the names that `builtin_structure` takes."""
    return list(oxide_entries())


def builtin_structure(name: str) -> LoadedStructure:
    """Return one built-in structure in its conventional cell.

    Raises
    ------
    StructureError
        If there is none of that name.
    """
    entry = oxide_entries().get(name)
    if entry is None:
        raise StructureError(
            f"There is no built-in structure {name!r}: choose from {', '.join(builtin_names())}."
        )
    structure = entry.structure()
    check_structure(structure, label=name)
    citation = entry.citation if entry.note is None else f"{entry.citation}. {entry.note}"
    return LoadedStructure(structure, SourceRef(kind="builtin", label=name, citation=citation))


def builtin_structures() -> list[LoadedStructure]:
    """Return all built-in structures."""
    return [builtin_structure(name) for name in builtin_names()]
