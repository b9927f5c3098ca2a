"""The symmetry of a structure, by spglib."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import spglib
from pymatgen.core.structure import Structure

from nearedge.structures.identity import atomic_numbers

SYMPREC = 0.01
"""Å. Positions that agree to this are called symmetric."""


def symmetry_dataset(structure: Structure, symprec: float = SYMPREC) -> spglib.SpglibDataset | None:
    """Return what spglib finds, or None where it finds no symmetry at all; not to be changed.

    Asked for one structure several times in a row, it looks once.

    Raises
    ------
    StructureError
        If a site is not occupied by exactly one element.
    """
    matrix = np.ascontiguousarray(structure.lattice.matrix, dtype=np.float64)
    fractions = np.ascontiguousarray(structure.frac_coords, dtype=np.float64)
    numbers = tuple(atomic_numbers(structure).tolist())
    return _dataset(matrix.tobytes(), fractions.tobytes(), numbers, symprec)


@lru_cache(maxsize=8)
def _dataset(
    matrix: bytes, fractions: bytes, numbers: tuple[int, ...], symprec: float
) -> spglib.SpglibDataset | None:
    cell = (
        np.frombuffer(matrix).reshape(3, 3).tolist(),
        np.frombuffer(fractions).reshape(-1, 3).tolist(),
        list(numbers),
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
