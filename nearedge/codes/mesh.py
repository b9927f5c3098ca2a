"""Lightshow's estimates of k-meshes and numbers of bands, checked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import ModuleType

import numpy as np
from pymatgen.core import Structure

from nearedge.errors import InputRefused
from nearedge.spectra.spectrum import BOHR, FloatArray

MAX_RADIUS = 100.0
"""bohr. Lightshow's search for a mesh ends at 116 bohr, and then silently returns one k-point."""


def k_mesh(module: ModuleType, radius: float) -> Callable[[Structure], tuple[int, int, int]]:
    """Return Lightshow's estimator of a k-mesh.

    Parameters
    ----------
    module
        Lightshow's module of a code, as `nearedge.compat.lightshow_parameters` gives it.
    radius
        bohr. The mesh is that of the smallest supercell whose lattice planes are all farther apart.

    Raises
    ------
    InputRefused
        ``bad_setting``, if the radius is not one that the estimator can reach.
    """
    if not 0 < radius <= MAX_RADIUS:
        raise InputRefused(
            "bad_setting", f"k_radius must be above 0 and at most {MAX_RADIUS:g} bohr: {radius:g}."
        )
    estimator: Callable[[Structure], tuple[int, int, int]] = module.GenericEstimatorKpoints(
        cutoff=radius, max_radii=2 * MAX_RADIUS
    )
    return estimator


def bands(module: ModuleType, energy_range: float) -> Callable[[Structure], int]:
    """Return Lightshow's estimator of the number of conduction bands up to `energy_range` (eV).

    It gives ``0.256 V (E / 13.6057 eV)^1.5`` with V in Å³, about twice what free electrons have.

    Raises
    ------
    InputRefused
        ``bad_setting``, if the range is not positive.
    """
    if not energy_range > 0:
        raise InputRefused(
            "bad_setting", f"band_energy_range must be positive, not {energy_range:g} eV."
        )
    estimator: Callable[[Structure], int] = module.UnitCellVolumeEstimate(e_range=energy_range)
    return estimator


def mesh_radius(structure: Structure, mesh: Sequence[int]) -> float:
    """Return the radius in bohr that a k-mesh samples, as Lightshow counts it."""
    planes: FloatArray = 2 * np.pi / np.array(structure.lattice.reciprocal_lattice.abc)
    return float(np.min(planes * np.array(mesh))) / BOHR
