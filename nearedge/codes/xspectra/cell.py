"""What the symmetry of the cell with the core hole leaves to compute."""

from __future__ import annotations

import numpy as np
from pymatgen.core import Structure

from nearedge.codes.core_hole import hole_rotations
from nearedge.codes.xspectra.polarisation import Polarisation, polarisations
from nearedge.spectra.spectrum import FloatArray


def site_rotations(cell: Structure) -> FloatArray:
    """Return the Cartesian rotations that keep the cell with its core hole, shape ``(n, 3, 3)``."""
    to_cartesian = cell.lattice.matrix.T
    turned: FloatArray = to_cartesian @ hole_rotations(cell) @ np.linalg.inv(to_cartesian)
    return turned


def cell_polarisations(cell: Structure) -> tuple[Polarisation, ...]:
    """Return the polarisations that the cell's isotropic spectrum needs."""
    return polarisations(site_rotations(cell))
