"""Two names for a structure: one of the exact cell, one of the material in it.

`structure_key` tells exact inputs apart: lattice vectors, elements and positions in the order of
the sites. `structure_id` is the same for every cell that describes the same material.
"""

from __future__ import annotations

import hashlib
from functools import reduce
from math import gcd

import numpy as np
from numpy.typing import NDArray
from pymatgen.core.periodic_table import Element
from pymatgen.core.structure import Structure

from nearedge.errors import StructureError
from nearedge.spectra.spectrum import FloatArray
from nearedge.structures.neighbours import Pairs, pairs_within

IDENTITY_TOLERANCE = 0.05
"""Å. A displacement of one atom by more than this gives another `structure_id`.

Noise of floating-point arithmetic (about 1e-12 Å) does not. Between the two nothing is promised: of
the structures of the OmniXAS Cu archive, errors of 1e-8 Å in all coordinates change none, 1e-7 Å
under 1 %, 1e-6 Å 2 % and 1e-5 Å 20 %. Give coordinates with all digits there are.
"""

DISTANCE_BIN = 0.04
"""Å. Distances are compared in bins of this width."""

GOLDEN = (5**0.5 - 1) / 2
"""Where the first bin ends. Irrational, so that no edge is a short decimal: a published distance
that sat on one would be binned by the last bit of a sum."""

RADIUS = (151 - GOLDEN) * DISTANCE_BIN
"""Å. Neighbours are counted up to here, 6.015 Å: the edge of a bin, irrational like all of them."""

ROUNDS = 3
"""How often the neighbours' own surroundings are taken in, each time reaching `RADIUS` further.
Without it, stacking sequences that agree over 6 Å (polytypes) would share an id."""

KEY_LENGTH = 1e-6
"""Å. Lattice vectors that agree to this give the same `structure_key`."""

KEY_FRACTION = 1e-7
"""Fractional coordinates that agree to this (1e-6 Å in a cell of 10 Å) give the same key."""

_VERSION = "nearedge-structure-1"

UIntArray = NDArray[np.uint64]


def structure_key(structure: Structure) -> str:
    """Return the hash of this exact structure, sites in their order.

    Lattice vectors, elements and fractional coordinates (wrapped into the cell) count; oxidation
    states, labels and site properties do not, because no spectrum here depends on them. Writing the
    structure as JSON or as POSCAR and reading it again leaves the key as it is.

    Raises
    ------
    StructureError
        If a site is not occupied by exactly one element.
    """
    numbers = atomic_numbers(structure)
    lattice = _quantised(structure.lattice.matrix, KEY_LENGTH)
    cells = round(1 / KEY_FRACTION)
    fractions = structure.frac_coords - np.floor(structure.frac_coords)
    positions = _quantised(fractions, KEY_FRACTION) % cells
    digest = hashlib.sha256(f"{_VERSION} key".encode())
    for array in (lattice, numbers, positions):
        digest.update(np.ascontiguousarray(array, dtype="<i8").tobytes())
    return digest.hexdigest()[:32]


def structure_id(structure: Structure) -> str:
    """Return one value for a material, whatever the cell, its setting or the order of sites.

    The same for primitive, conventional and supercells, any choice of lattice vectors, shuffled
    sites, rigid shifts and rotations; different for a displacement of one atom by more than
    `IDENTITY_TOLERANCE`. A crystal and its mirror image share an id: their spectra are the same.

    Raises
    ------
    StructureError
        If a site is not occupied by exactly one element.

    Notes
    -----
    A pointwise distance distribution (arXiv:2108.04798) cut at a radius instead of a number of
    neighbours: each site is described by its element, the binned distances to the neighbours of
    each element, and the thickness of their cloud. Each description is refined `ROUNDS` times by
    those of the neighbours (as Weisfeiler and Lehman refine the nodes of a graph). Sites that then
    look the same are merged, and the counts divided by their greatest common divisor, so that no
    cell enters. The volume per atom tells apart lattices of atoms that have no neighbour within the
    radius.
    """
    numbers = atomic_numbers(structure)
    pairs = pairs_within(structure, RADIUS)
    bins = _bin(pairs.distance)
    labels = _mix(numbers.astype(np.uint64))
    for axis in _bin(_thickness(len(numbers), pairs)).T:
        labels = _mix(labels ^ _mix(axis))
    for _ in range(ROUNDS + 1):
        # A sum does not depend on the order of neighbours; wrapping at 2^64 is meant.
        surroundings = np.zeros(len(numbers), dtype=np.uint64)
        np.add.at(surroundings, pairs.center, _mix(_mix(labels)[pairs.neighbour] + bins))
        labels = _mix(labels ^ _mix(surroundings))
    rows, counts = np.unique(labels, return_counts=True)
    counts //= reduce(gcd, counts.tolist())
    spacing = _bin(np.array([(structure.lattice.volume / len(numbers)) ** (1 / 3)]))
    digest = hashlib.sha256(f"{_VERSION} id {structure.composition.reduced_formula}".encode())
    for array in (spacing, rows, counts):
        digest.update(np.ascontiguousarray(array, dtype="<u8").tobytes())
    return digest.hexdigest()[:32]


def atomic_numbers(structure: Structure) -> NDArray[np.int64]:
    """Return the atomic number of every site, shape ``(n_sites,)``.

    Raises
    ------
    StructureError
        If there is no site, or one is not occupied by exactly one element.
    """
    if len(structure) == 0:
        raise StructureError("The structure has no atoms: give one that has.")
    numbers = []
    for index, site in enumerate(structure):
        species = list(site.species.items())
        if len(species) != 1 or abs(species[0][1] - 1) > 1e-8:
            raise StructureError(
                f"Site {index} is occupied in part ({site.species_string}): make an ordered "
                "structure of it first."
            )
        element = getattr(species[0][0], "element", species[0][0])
        if not isinstance(element, Element):
            raise StructureError(f"Site {index} holds {species[0][0]}, which is no element.")
        numbers.append(element.Z)
    return np.array(numbers, dtype=np.int64)


def _thickness(sites: int, pairs: Pairs) -> FloatArray:
    """Return how far neighbours are from the best plane and line through a site, in Å, (n, 2).

    An atom that leaves the plane of a sheet, or the line of a chain, by z changes the distances to
    its neighbours by z²/2r only, which no bin would show; it changes this by about z.
    """
    weight = 1 / np.maximum(pairs.distance, 1e-3) ** 2  # the nearest count most
    total = np.bincount(pairs.center, weights=weight, minlength=sites)
    tensor = np.empty((sites, 3, 3))
    for i, j in ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2)):
        products = weight * pairs.vector[:, i] * pairs.vector[:, j]
        tensor[:, i, j] = np.bincount(pairs.center, weights=products, minlength=sites)
        tensor[:, j, i] = tensor[:, i, j]
    tensor /= np.where(total > 0, total, 1)[:, None, None]
    spread: FloatArray = np.sqrt(np.maximum(np.linalg.eigvalsh(tensor)[:, :2], 0))
    return spread


def _bin(lengths: FloatArray) -> UIntArray:
    """Return the bin of each length in Å; all are positive or zero."""
    return np.floor(lengths / DISTANCE_BIN + GOLDEN).astype(np.uint64)


def _quantised(values: FloatArray, step: float) -> NDArray[np.int64]:
    # The offset keeps short decimals, zero included, away from where the floor jumps.
    return np.floor(values / step + GOLDEN).astype(np.int64)


def _mix(values: UIntArray) -> UIntArray:
    """Scramble 64-bit integers so that sums of them hardly ever agree by chance.

    SplitMix64's finaliser: Steele, Lea and Flood, OOPSLA 2014, doi:10.1145/2660193.2660195.
    """
    mixed = values + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))
