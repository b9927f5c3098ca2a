"""The fewest polarisations that give a site's isotropic spectrum.

Linear dichroism of an electric-dipole transition is a symmetric tensor, the absorption for a
polarisation n being n·σ·n (C. Brouder, J. Phys.: Condens. Matter 2, 701 (1990)). A powder shows a
third of its trace, and what the site's point group makes equal or zero need not be computed: from
orthorhombic groups upwards one polarisation along the body diagonal of the principal axes does, the
"magic angle" of uniaxial sites among them; monoclinic groups need two, triclinic ones three.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nearedge.spectra.spectrum import FloatArray

_TOLERANCE = 1e-4
"""Of matrices of rotations, which come from lattices that are symmetric to 0.01 Å."""
# Any symmetric matrix without symmetry of its own: its average over a group shows the axes.
_GENERIC = np.array([[1.0, 0.37, -0.61], [0.37, -0.83, 0.29], [-0.61, 0.29, 0.55]])


@dataclass(frozen=True)
class Polarisation:
    """A direction of the electric field: Cartesian unit vector, and its weight in the average."""

    direction: tuple[float, float, float]
    weight: float


def polarisations(rotations: FloatArray) -> tuple[Polarisation, ...]:
    """Return directions and weights whose weighted sum is a third of the trace.

    Parameters
    ----------
    rotations
        The site's point group, Cartesian matrices, shape ``(n, 3, 3)``; the identity is enough.

    Returns
    -------
    tuple[Polarisation, ...]
        One to three. Exact for every symmetric tensor that has the symmetry of the group.
    """
    axes = _axes(rotations)
    diagonal = np.ones(3)
    candidates = [[diagonal]]
    candidates += [[diagonal, diagonal - 2 * flipped] for flipped in np.eye(3)]
    for directions in candidates:
        chosen = np.array(directions) @ axes / np.sqrt(3.0)
        if isotropic(chosen, np.full(len(chosen), 1 / len(chosen)), rotations):
            return _weighted(chosen)
    return _weighted(axes)


def isotropic(directions: FloatArray, weights: FloatArray, rotations: FloatArray) -> bool:
    """Whether the weighted sum of n·σ·n is a third of the trace for all σ that the group allows.

    It is where the weighted sum of n⊗n, averaged over the group, is a third of the unit matrix.
    """
    moment = np.einsum("i,ij,ik->jk", weights, directions, directions)
    return bool(np.allclose(_averaged(moment, rotations), np.eye(3) / 3, atol=_TOLERANCE))


def _averaged(matrix: FloatArray, rotations: FloatArray) -> FloatArray:
    average: FloatArray = np.mean(rotations @ matrix @ np.swapaxes(rotations, 1, 2), axis=0)
    return average


def _axes(rotations: FloatArray) -> FloatArray:
    """Return principal axes of the group, rows; free ones are taken nearest to x, y and z.

    An eigenvector routine turns axes that the group leaves free at random, by the last bit of its
    input; here equal structures give equal inputs.
    """
    values, vectors = np.linalg.eigh(_averaged(_GENERIC, rotations))
    groups: list[list[int]] = [[0]]
    for index in (1, 2):
        together = values[index] - values[index - 1] < _TOLERANCE
        groups[-1].append(index) if together else groups.append([index])
    axes: list[FloatArray] = []
    for group in groups:
        span = vectors[:, group]
        axes += _basis(span @ span.T, len(group))
    return np.array(axes)


def _basis(projector: FloatArray, size: int) -> list[FloatArray]:
    """Return an orthonormal basis of a projector's range from the projections of x, y and z."""
    basis: list[FloatArray] = []
    # Rounded, so that of equally long projections the first is taken on every machine.
    while len(basis) < size:
        rest = projector - sum((np.outer(axis, axis) for axis in basis), np.zeros((3, 3)))
        longest = int(np.argmax(np.diag(rest).round(6)))
        axis = rest[longest] / np.linalg.norm(rest[longest])
        basis.append(axis)
    return basis


def _weighted(directions: FloatArray) -> tuple[Polarisation, ...]:
    return tuple(
        Polarisation(tuple(float(x) for x in direction.round(10)), 1 / len(directions))  # type: ignore[arg-type]
        for direction in directions
    )
