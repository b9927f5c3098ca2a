"""Successive spectra: shift apart from shape, whatever the scale."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nearedge.errors import SpectrumError
from nearedge.spectra.alignment import align, overlap, shifted
from nearedge.spectra.likeness import likeness
from nearedge.spectra.similarity import spearman
from nearedge.spectra.spectrum import AbsorptionUnit, Spectrum


def edge(height: float = 0.6, scale: float = 1.0) -> Spectrum:
    energy = np.linspace(4960.0, 5040.0, 500)
    above = energy - 4980.0
    absorption = 0.5 + np.arctan(above) / np.pi + height * np.exp(-0.5 * ((above - 8) / 2) ** 2)
    return Spectrum(energy, scale * (absorption - absorption[0]))


@settings(max_examples=25, deadline=None)
@given(st.integers(-500, 500), st.floats(0.01, 1000.0))
def test_a_shift_and_a_scale_are_no_difference_of_shape(hundredths: int, scale: float) -> None:
    moved = shifted(edge(scale=scale), hundredths / 100)
    found = likeness(moved, edge())
    assert found.shift == pytest.approx(-hundredths / 100, abs=0.01)
    assert found.mse < 1e-8
    assert found.spearman > 0.9999
    assert found.within(spearman=0.999, mse=1e-4)


def test_only_the_very_same_spectrum_is_identical() -> None:
    assert likeness(edge(), edge()).identical
    assert likeness(edge(scale=3.0), edge()).identical
    assert not likeness(shifted(edge(), 0.02), edge()).identical
    assert not likeness(edge(height=0.601), edge()).identical


def test_the_error_is_of_spectra_with_a_mean_of_one() -> None:
    first, second = edge(0.9), edge(0.6)
    found = likeness(first, second)
    _, a, b = overlap(first, second, found.shift)
    assert found.mse == pytest.approx(float(np.mean((a / a.mean() - b / b.mean()) ** 2)))
    assert 1e-4 < found.mse < 1e-1
    assert not found.within(spearman=0.5, mse=found.mse * 0.99)
    assert not found.within(spearman=found.spearman + 1e-6, mse=1.0)
    assert found.within(spearman=found.spearman, mse=found.mse)


def test_what_overlaps_is_what_was_aligned() -> None:
    first, second = shifted(edge(0.9), 1.5), edge(0.6)
    found = align(first, second)
    energy, a, b = overlap(first, second, found.shift)
    assert spearman(a, b) == pytest.approx(found.spearman, abs=1e-12)
    assert np.interp(energy, second.energy, second.absorption) == pytest.approx(b, abs=1e-3)


def test_what_cannot_be_compared_says_so() -> None:
    short = edge()
    short = Spectrum(short.energy[:140], short.absorption[:140])
    with pytest.raises(SpectrumError, match="less than half"):
        likeness(short, edge())
    with pytest.raises(SpectrumError, match="share no energies"):
        overlap(edge(), edge(), 500.0)
    arbitrary = replace(edge(), unit=AbsorptionUnit.ARBITRARY)
    assert likeness(arbitrary, edge()).identical, "units do not matter"
