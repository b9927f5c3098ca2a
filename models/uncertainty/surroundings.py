"""What is around a site, in words that say whether a model has seen the like."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pymatgen.core.periodic_table import Element
from pymatgen.core.structure import Structure

from nearedge.spectra.spectrum import FloatArray
from nearedge.structures.identity import atomic_numbers
from nearedge.structures.neighbours import pairs_within
from nearedge.structures.symmetry import symmetry_dataset

SEARCH_RADIUS = 5.0
"""Å. A site without a neighbour up to here is alone."""
SHELL, REACH = 1.25, 1.4
"""The first shell ends at `SHELL` times the nearest distance, both in units of the sum of the two
atomic radii, and at `REACH` times the nearest distance itself. The four short and two long bonds of
Cu(II) count as six neighbours; the metal atoms behind small anions do not count."""


@dataclass(frozen=True)
class Surroundings:
    """What is around one site.

    Parameters
    ----------
    elements
        Atomic numbers of all elements in the structure.
    neighbours
        Atomic numbers of the elements in the site's first shell.
    coordination
        Atoms in the first shell.
    structure_type
        Stoichiometry, space group and symmetry of the site, such as ``ABC3 221 m-3m``.
    """

    elements: frozenset[int]
    neighbours: frozenset[int]
    coordination: int
    structure_type: str


def surroundings(structure: Structure, sites: Sequence[int]) -> list[Surroundings]:
    """Describe the surroundings of some sites of a structure.

    Parameters
    ----------
    structure
        An ordered structure; lengths in Å.
    sites
        Indices, from zero.

    Raises
    ------
    StructureError
        If a site is occupied in part.
    """
    numbers = atomic_numbers(structure)
    pairs = pairs_within(structure, SEARCH_RADIUS)
    elements = frozenset(int(number) for number in numbers)
    radii = _radii(numbers)
    reduced = pairs.distance / (radii[pairs.center] + radii[pairs.neighbour])
    kinds = _structure_types(structure)
    found = []
    for site in sites:
        start, end = np.searchsorted(pairs.center, [site, site + 1])
        near = pairs.neighbour[start:end][
            _first_shell(reduced[start:end], pairs.distance[start:end])
        ]
        found.append(
            Surroundings(
                elements=elements,
                neighbours=frozenset(int(numbers[index]) for index in near),
                coordination=len(near),
                structure_type=kinds[site],
            )
        )
    return found


def _first_shell(reduced: FloatArray, distance: FloatArray) -> NDArray[np.bool_]:
    if not distance.size:
        return np.zeros(0, dtype=np.bool_)
    near: NDArray[np.bool_] = np.logical_and(
        reduced <= SHELL * reduced.min(), distance <= REACH * distance.min()
    )
    return near


def _radii(numbers: NDArray[np.int64]) -> FloatArray:
    """Return empirical atomic radii in Å (Slater's, by pymatgen); 1.5 where there is none."""
    radius = {
        int(number): float(Element.from_Z(int(number)).atomic_radius or 1.5)
        for number in np.unique(numbers)
    }
    return np.array([radius[int(number)] for number in numbers])


def _structure_types(structure: Structure) -> list[str]:
    formula = structure.composition.anonymized_formula
    dataset = symmetry_dataset(structure)
    if dataset is None:
        return [f"{formula} 1 1"] * len(structure)
    return [f"{formula} {dataset.number} {symbol}" for symbol in dataset.site_symmetry_symbols]
