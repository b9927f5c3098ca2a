"""Pairs of atoms that are close to each other, periodic images included."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pymatgen.core.structure import Structure
from pymatgen.optimization.neighbors import find_points_in_spheres

from nearedge.spectra.spectrum import FloatArray


class Pairs(NamedTuple):
    """All pairs within a radius, each counted from both ends; arrays of one length."""

    center: NDArray[np.int64]
    """Index of the site; ascending."""
    neighbour: NDArray[np.int64]
    """Index of the neighbouring site."""
    distance: FloatArray
    """Å."""
    vector: FloatArray
    """From `center` to its neighbour, Å, shape ``(n_pairs, 3)``."""


def pairs_within(structure: Structure, radius: float) -> Pairs:
    """Return all pairs closer than `radius` (Å), in a crystal periodic in all three directions.

    An atom pairs with its own images, not with itself; two sites at one position are a pair.
    """
    # The search visits images by the cell's own vectors: a skewed cell would need very many.
    lattice = structure.lattice.get_lll_reduced_lattice()
    matrix = np.ascontiguousarray(lattice.matrix)
    fractions = lattice.get_fractional_coords(structure.cart_coords)
    coords = np.ascontiguousarray((fractions - np.floor(fractions)) @ matrix)
    center, neighbour, image, distance = find_points_in_spheres(
        coords, coords, r=radius, pbc=np.ones(3, dtype=np.int64), lattice=matrix, tol=1e-8
    )
    itself = (center == neighbour) & (distance < 1e-8)
    kept = np.flatnonzero(~itself & (distance < radius))
    kept = kept[np.argsort(center[kept], kind="stable")]
    center, neighbour = center[kept], neighbour[kept]
    vector = coords[neighbour] + image[kept] @ matrix - coords[center]
    return Pairs(center, neighbour, distance[kept], vector)
