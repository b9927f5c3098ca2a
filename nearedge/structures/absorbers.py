"""Which sites of an element are different, and how often each occurs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pymatgen.core.periodic_table import Element
from pymatgen.core.structure import Structure

from nearedge.errors import StructureError
from nearedge.structures.identity import atomic_numbers
from nearedge.structures.symmetry import SYMPREC, symmetry_dataset


@dataclass(frozen=True)
class Absorber:
    """One of the symmetry-unique sites of an element.

    Parameters
    ----------
    index
        The site to compute: the first of its orbit, counted from zero in the structure given.
    multiplicity
        How many sites of the cell are equivalent to it, itself included.
    equivalent
        Their indices, ascending.
    """

    index: int
    multiplicity: int
    equivalent: tuple[int, ...]


def unique_absorbers(
    structure: Structure, element: str, symprec: float = SYMPREC
) -> list[Absorber]:
    """Return one site for each kind of site that `element` has, ordered by index.

    Parameters
    ----------
    structure
        An ordered structure; its own cell is used, so multiplicities count the sites in it.
    element
        Symbol of the absorbing element.
    symprec
        Distance in Å to which positions must agree to be called symmetric. Where no symmetry can be
        found at all, every site stands for itself: that costs time and is never wrong.

    Raises
    ------
    StructureError
        If the element is not in the structure, or a site is occupied in part.
    """
    numbers = atomic_numbers(structure)
    number = Element(element).Z if Element.is_valid_symbol(element) else 0
    sites = np.flatnonzero(numbers == number)
    if not sites.size:
        raise StructureError(
            f"There is no {element} in {structure.composition.reduced_formula}: choose an element "
            "that is."
        )
    orbits: dict[int, list[int]] = {}
    for site, orbit in zip(sites, _orbits(structure, symprec)[sites], strict=True):
        orbits.setdefault(int(orbit), []).append(int(site))
    absorbers = [Absorber(min(o), len(o), tuple(sorted(o))) for o in orbits.values()]
    return sorted(absorbers, key=lambda absorber: absorber.index)


def _orbits(structure: Structure, symprec: float) -> NDArray[np.int64]:
    """Return the number of the orbit that each site belongs to."""
    dataset = symmetry_dataset(structure, symprec)
    if dataset is None:
        return np.arange(len(structure))
    # Not `equivalent_atoms`: it knows only operations that keep the lattice of the given cell, so a
    # crystal in a supercell of lower symmetry would seem to have more kinds of sites.
    return np.asarray(dataset.crystallographic_orbits, dtype=np.int64)
