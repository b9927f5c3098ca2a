"""The symmetry of a structure, by spglib."""

from __future__ import annotations

import spglib
from pymatgen.core.structure import Structure

from nearedge.structures.identity import atomic_numbers

SYMPREC = 0.01
"""Å. Positions that agree to this are called symmetric."""


def symmetry_dataset(structure: Structure, symprec: float = SYMPREC) -> spglib.SpglibDataset | None:
    """Return what spglib finds, or None where it finds no symmetry at all.

    Raises
    ------
    StructureError
        If a site is not occupied by exactly one element.
    """
    cell = (
        structure.lattice.matrix.tolist(),
        structure.frac_coords.tolist(),
        [int(number) for number in atomic_numbers(structure)],
    )
    try:
        return spglib.get_symmetry_dataset(cell, symprec=symprec)
    except spglib.SpglibError:  # newer releases raise where older ones return None
        return None


def primitive_cells(structure: Structure, symprec: float = SYMPREC) -> int:
    """Return how many primitive cells the structure's cell holds; one where no symmetry is found.

    Raises
    ------
    StructureError
        If a site is not occupied by exactly one element.
    """
    dataset = symmetry_dataset(structure, symprec)
    if dataset is None:
        return 1
    return len(structure) // len(set(dataset.mapping_to_primitive.tolist()))
