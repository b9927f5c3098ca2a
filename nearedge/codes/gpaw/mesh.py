"""The k-mesh of an effective radius that the core hole's symmetry keeps."""

from __future__ import annotations

from itertools import product

import numpy as np
from numpy.typing import NDArray
from pymatgen.core import Structure

from nearedge.codes.core_hole import hole_rotations

Mesh = tuple[int, int, int]
_TOLERANCE = 1e-6


def k_mesh(cell: Structure, radius: float) -> Mesh:
    """Return the Γ-centred mesh of an effective radius in Å.

    The cell repeated as often as the mesh has points holds a sphere of this diameter, as in
    Lightshow's ``GenericEstimatorKpoints``: a supercell gets fewer points. Unlike there, the mesh
    has the symmetry of the cell with its first site's core hole, so that only the irreducible part
    of it need be computed.

    Parameters
    ----------
    cell
        The absorber comes first.
    radius
        0 gives the Γ point alone.
    """
    spacing = 1 / np.array(cell.lattice.reciprocal_lattice_crystallographic.abc)
    least = [max(1, int(np.ceil(radius / each - _TOLERANCE))) for each in spacing]
    rotations = hole_rotations(cell)
    meshes = product(*(range(n, max(least) + 1) for n in least))
    # The last of them is as fine along every axis, which suits every rotation.
    kept = (mesh for mesh in sorted(meshes, key=np.prod) if _keeps(mesh, rotations))
    first, second, third = next(kept)
    return first, second, third


def _keeps(mesh: tuple[int, ...], rotations: NDArray[np.int64]) -> bool:
    """Whether the rotations map the mesh's points on each other."""
    numbers = np.array(mesh, dtype=np.float64)
    # Reciprocal coordinates turn with the transposed inverse; a group has all inverses.
    turned = np.swapaxes(rotations, 1, 2) * numbers[:, None] / numbers[None, :]
    return bool(np.all(np.abs(turned - np.rint(turned)) < _TOLERANCE))
