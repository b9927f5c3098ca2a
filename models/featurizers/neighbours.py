"""Which sites are near which in a periodic structure."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pymatgen.core.structure import Structure
from pymatgen.optimization.neighbors import find_points_in_spheres

from nearedge.spectra.spectrum import FloatArray

_SAME_PLACE = 1e-8
"""Å: what lies nearer than this to a site is the site itself."""


def neighbours(
    structure: Structure, cutoff: float
) -> tuple[NDArray[np.int64], NDArray[np.int64], FloatArray]:
    """Find all pairs of sites up to a distance, images of a site among them.

    Parameters
    ----------
    cutoff
        In Å.

    Returns
    -------
    start, end
        Sites of each pair, shape ``(pairs,)``, sorted by start; each pair is there both ways.
    vectors
        From start to end in Å, shape ``(pairs, 3)``.
    """
    lattice = np.ascontiguousarray(structure.lattice.matrix, dtype=np.float64)
    # Sites far outside the cell are found by walking through all the cells on the way.
    positions = np.ascontiguousarray((structure.frac_coords % 1.0) @ lattice)
    periodic = np.ones(3, dtype=np.int64)
    start, end, image, distance = find_points_in_spheres(
        positions, positions, r=cutoff, pbc=periodic, lattice=lattice, tol=_SAME_PLACE
    )
    other = (start != end) | (distance > _SAME_PLACE)
    start, end, image = start[other].astype(np.int64), end[other].astype(np.int64), image[other]
    order = np.argsort(start, kind="stable")
    start, end = start[order], end[order]
    return start, end, positions[end] + image[order] @ lattice - positions[start]
