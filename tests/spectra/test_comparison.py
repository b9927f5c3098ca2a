"""Spectra by several codes, each against each."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nearedge.errors import SpectrumError
from nearedge.spectra.comparison import (
    MEASURES,
    Pair,
    Unpaired,
    compare,
    compare_all,
    matrix,
    mean_matrix,
)
from nearedge.spectra.spectrum import Spectrum


def edge(seed: int, position: float = 100.0, length: float = 80.0, points: int = 400) -> Spectrum:
    """A step with a white line and a few peaks above it."""
    rng = np.random.default_rng(seed)
    energy = position - 20 + np.linspace(0, length, points)
    above = energy - position
    absorption = 0.5 + np.arctan(above / 0.8) / np.pi
    for _ in range(4):
        center, width = rng.uniform(0, 30), rng.uniform(1, 4)
        absorption += rng.uniform(0.2, 1) * np.exp(-0.5 * ((above - center) / width) ** 2)
    return Spectrum(energy, absorption - absorption[0])


seeds = st.integers(0, 10**6)
NAMES = ("a", "b")


@settings(max_examples=15, deadline=None)
@given(seeds)
def test_identical_spectra_are_one_in_every_measure(seed: int) -> None:
    found = compare(edge(seed), edge(seed), NAMES)
    assert [getattr(found, m) for m in MEASURES] == pytest.approx([1, 1, 1], abs=1e-12)
    assert (found.shift, found.edge_difference, found.warning) == (0, 0, None)
    assert 30 < found.high - found.low < 35


@settings(max_examples=15, deadline=None)
@given(seeds, st.floats(-5000, 5000), st.floats(1e-3, 1e3))
def test_a_shifted_copy_is_found_to_a_hundredth_of_an_ev(
    seed: int, shift: float, scale: float
) -> None:
    spectrum = edge(seed)
    copy = Spectrum(spectrum.energy + shift, scale * spectrum.absorption)
    found = compare(spectrum, copy, NAMES)
    assert found.shift == pytest.approx(-shift, abs=0.01)
    assert found.spearman == pytest.approx(1, abs=1e-6)


@settings(max_examples=25, deadline=None)
@given(seeds, seeds, st.floats(-500, 500), st.integers(150, 700))
def test_either_of_two_may_come_first(
    first: int, second: int, position: float, points: int
) -> None:
    one, other = edge(first), edge(second, position=position, points=points)
    there, back = compare(one, other, NAMES), compare(other, one, NAMES[::-1])
    assert back.shift == pytest.approx(-there.shift, abs=1e-9)
    assert back.edge_difference == pytest.approx(-there.edge_difference, abs=1e-9)
    assert back.high - back.low == pytest.approx(there.high - there.low, abs=1e-9)
    assert back.cosine == pytest.approx(there.cosine, abs=1e-12)
    assert back.pearson == pytest.approx(there.pearson, abs=1e-10)
    # Ranks are steps: rounding may exchange two of 300 neighbours.
    assert back.spearman == pytest.approx(there.spearman, abs=1e-6)


@settings(max_examples=15, deadline=None)
@given(seeds, seeds)
def test_the_compared_range_is_one_that_both_have(first: int, second: int) -> None:
    one, other = edge(first), edge(second, position=-7.0, length=50)
    found = compare(one, other, NAMES)
    assert one.energy[0] <= found.low < found.high <= one.energy[-1]
    moved = other.energy + found.shift
    assert moved[0] <= found.low + 1e-9
    assert found.high <= moved[-1] + 1e-9


def test_every_two_are_compared_and_what_cannot_be_says_why() -> None:
    spectra = {"a": edge(1), "b": edge(2), "short": edge(3, length=22)}
    found = compare_all(spectra)
    assert [(each.first, each.second) for each in found] == [
        ("a", "b"),
        ("a", "short"),
        ("b", "short"),
    ]
    assert isinstance(found[0], Pair)
    assert all(isinstance(each, Unpaired) and "half of the 35 eV" in each.reason
               for each in found[1:])  # fmt: skip


def pair(first: str, second: str, value: float) -> Pair:
    return Pair(first, second, 0.0, value, value, value, 0.0, 35.0, 0.0)


def test_a_matrix_is_symmetric_and_leaves_open_what_is_missing() -> None:
    values = matrix(["a", "b", "c"], [pair("a", "b", 0.9), Unpaired("a", "c", "no")])
    nan = np.nan
    expected = [[1, 0.9, nan], [0.9, 1, nan], [nan, nan, nan]]
    assert np.array_equal(values, np.array(expected), equal_nan=True)


def test_means_are_over_the_structures_that_have_the_pair_and_say_how_many() -> None:
    labels = ["a", "b", "c"]
    means, counts = mean_matrix(
        [
            matrix(labels, [pair("a", "b", 0.8), pair("a", "c", 0.6)]),
            matrix(labels, [pair("a", "b", 0.9)]),
        ]
    )
    assert means[0, 1] == pytest.approx(0.85)
    assert means[2, 0] == pytest.approx(0.6)
    assert np.isnan(means[1, 2])
    assert counts.tolist() == [[2, 2, 1], [2, 2, 0], [1, 0, 1]]
    with pytest.raises(SpectrumError, match="at least one matrix"):
        mean_matrix([])
