"""Lightshow's estimates are taken within the range in which they are right."""

from __future__ import annotations

import pytest
from pymatgen.core import Lattice, Structure

from nearedge.codes.mesh import MAX_RADIUS, bands, k_mesh, mesh_radius
from nearedge.compat import lightshow_parameters
from nearedge.errors import InputRefused


def cubic(length: float) -> Structure:
    return Structure(Lattice.cubic(length), ["Cu"], [[0, 0, 0]])


@pytest.mark.parametrize("length", [2.5, 4.0, 11.0, 30.0])
@pytest.mark.parametrize("radius", [8.0, 16.0, 32.0, MAX_RADIUS])
def test_a_mesh_reaches_the_radius_that_was_asked_for(length: float, radius: float) -> None:
    structure = cubic(length)
    mesh = k_mesh(lightshow_parameters("ocean"), radius)(structure)
    assert mesh_radius(structure, mesh) > radius
    coarser = [max(1, number - 1) for number in mesh]
    assert mesh_radius(structure, coarser) <= radius or mesh == (1, 1, 1)


def test_lightshow_still_gives_one_k_point_beyond_its_search() -> None:
    """Where this fails, `MAX_RADIUS` may go."""
    module = lightshow_parameters("ocean")
    assert module.GenericEstimatorKpoints(cutoff=120.0, max_radii=500.0)(cubic(2.5)) == (1, 1, 1)


@pytest.mark.parametrize("radius", [0.0, -1.0, MAX_RADIUS + 1, float("nan")])
def test_a_radius_out_of_range_is_refused(radius: float) -> None:
    with pytest.raises(InputRefused, match="k_radius"):
        k_mesh(lightshow_parameters("ocean"), radius)


def test_bands_grow_with_volume_and_energy() -> None:
    module = lightshow_parameters("vasp")
    assert bands(module, 13.6056980659)(cubic(10.0)) == 256
    assert bands(module, 4 * 13.6056980659)(cubic(10.0)) == 8 * 256
    with pytest.raises(InputRefused, match="band_energy_range"):
        bands(module, 0.0)
