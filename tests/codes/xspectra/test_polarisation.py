"""The polarisations of a site give a third of the trace, whatever tensor the symmetry allows."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.transform import Rotation

from nearedge.codes.xspectra.foreign import isotropic_weights
from nearedge.codes.xspectra.polarisation import Polarisation, isotropic, polarisations
from nearedge.errors import CodeError
from nearedge.spectra.spectrum import FloatArray


def turn(axis: list[float], degrees: float) -> FloatArray:
    unit = np.array(axis) / np.linalg.norm(axis)
    matrix: FloatArray = Rotation.from_rotvec(np.radians(degrees) * unit).as_matrix()
    return matrix


TWO_Z, TWO_X = turn([0, 0, 1], 180), turn([1, 0, 0], 180)
MIRROR_Z = np.diag([1.0, 1.0, -1.0])
GENERATORS = {
    "1": ([], 3),
    "-1": ([-np.eye(3)], 3),
    "2": ([TWO_Z], 2),
    "m": ([MIRROR_Z], 2),
    "2/m": ([TWO_Z, MIRROR_Z], 2),
    "222": ([TWO_Z, TWO_X], 1),
    "mmm": ([TWO_Z, TWO_X, -np.eye(3)], 1),
    "4": ([turn([0, 0, 1], 90)], 1),
    "-4": ([-turn([0, 0, 1], 90)], 1),
    "4/mmm": ([turn([0, 0, 1], 90), TWO_X, -np.eye(3)], 1),
    "3": ([turn([0, 0, 1], 120)], 1),
    "-3m": ([turn([0, 0, 1], 120), TWO_X, -np.eye(3)], 1),
    "6": ([turn([0, 0, 1], 60)], 1),
    "-6m2": ([-turn([0, 0, 1], 60), -TWO_X], 1),
    "23": ([TWO_Z, turn([1, 1, 1], 120)], 1),
    "m-3m": ([turn([0, 0, 1], 90), turn([1, 1, 1], 120), -np.eye(3)], 1),
}


@cache
def group(name: str) -> FloatArray:
    """Return all matrices that the generators make."""
    found = [np.eye(3)]
    for matrix in found:
        for generator in GENERATORS[name][0]:
            product = generator @ matrix
            if not any(np.allclose(product, other) for other in found):
                found.append(product)
    return np.array(found)


def turned(name: str, orientation: FloatArray) -> FloatArray:
    return orientation @ group(name) @ orientation.T


def absorption(chosen: tuple[Polarisation, ...], tensor: FloatArray) -> float:
    return sum(p.weight * np.array(p.direction) @ tensor @ p.direction for p in chosen)


ORIENTATIONS = st.integers(0, 2**32 - 1).map(
    lambda seed: Rotation.random(random_state=seed).as_matrix()
)
TENSORS = arrays(np.float64, (3, 3), elements=st.floats(-10, 10)).map(lambda a: a + a.T)


@settings(deadline=None)
@given(st.sampled_from(sorted(GENERATORS)), ORIENTATIONS, TENSORS)
def test_the_average_is_a_third_of_the_trace_for_every_tensor_that_the_group_allows(
    name: str, orientation: FloatArray, tensor: FloatArray
) -> None:
    rotations = turned(name, orientation)
    allowed = np.mean(rotations @ tensor @ np.swapaxes(rotations, 1, 2), axis=0)
    chosen = polarisations(rotations)
    along_three_axes = np.trace(allowed) / 3
    assert absorption(chosen, allowed) == pytest.approx(along_three_axes, abs=1e-6)
    assert sum(p.weight for p in chosen) == pytest.approx(1.0)
    assert all(np.linalg.norm(p.direction) == pytest.approx(1.0) for p in chosen)


@pytest.mark.parametrize("name", sorted(GENERATORS))
def test_no_more_polarisations_than_needed_in_any_orientation(name: str) -> None:
    for seed in range(5):
        orientation = Rotation.random(random_state=seed).as_matrix()
        assert len(polarisations(turned(name, orientation))) == GENERATORS[name][1]


@pytest.mark.parametrize("name", ["4/mmm", "m-3m", "-3m", "1"])
def test_the_last_bits_of_the_lattice_do_not_turn_the_polarisations(name: str) -> None:
    noise = np.random.default_rng(0).normal(scale=1e-9, size=(len(group(name)), 3, 3))
    exact, noisy = polarisations(group(name)), polarisations(group(name) + noise)
    for one, other in zip(exact, noisy, strict=True):
        assert one.direction == pytest.approx(other.direction, abs=1e-6)


def test_one_polarisation_is_too_few_without_symmetry() -> None:
    direction = np.ones((1, 3)) / np.sqrt(3)
    assert not isotropic(direction, np.array([1.0]), np.eye(3)[None])


def test_weights_of_other_peoples_polarisations_follow_from_the_symmetry() -> None:
    axis_and_plane = np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])
    assert isotropic_weights(axis_and_plane, group("4/mmm")) == pytest.approx([1 / 3, 2 / 3])
    assert isotropic_weights(np.eye(3), group("1")) == pytest.approx([1 / 3] * 3)
    assert isotropic_weights(axis_and_plane, group("m-3m")).sum() == pytest.approx(1.0)


def test_other_peoples_polarisations_that_are_too_few_are_refused() -> None:
    with pytest.raises(CodeError) as caught:
        isotropic_weights(np.eye(3)[:2], group("mmm"))
    assert caught.value.name == "missing_polarisation"
