from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nearedge.errors import SpectrumError
from nearedge.spectra.alignment import align, shifted
from nearedge.spectra.spectrum import Spectrum


def edge(seed: int, position: float = 100.0, length: float = 80.0) -> Spectrum:
    """A step with a white line and a few peaks above it."""
    rng = np.random.default_rng(seed)
    energy = position - 20 + np.linspace(0, length, 400)
    above = energy - position
    absorption = 0.5 + np.arctan(above / 0.8) / np.pi
    for _ in range(4):
        center, width = rng.uniform(0, 30), rng.uniform(1, 4)
        absorption += rng.uniform(0.2, 1) * np.exp(-0.5 * ((above - center) / width) ** 2)
    return Spectrum(energy, absorption - absorption[0])


seeds = st.integers(0, 10**6)


@settings(max_examples=30, deadline=None)
@given(seeds)
def test_identical_spectra_need_no_shift_and_are_equal(seed: int) -> None:
    found = align(edge(seed), edge(seed))
    assert found.shift == 0
    assert found.similarity == pytest.approx(1, abs=1e-12)
    assert found.pearson == pytest.approx(1, abs=1e-12)
    assert found.spearman == pytest.approx(1, abs=1e-12)
    assert found.edge_difference == 0
    assert found.warning is None


@settings(max_examples=30, deadline=None)
@given(seeds, st.floats(-5000, 5000), st.floats(1e-3, 1e3))
def test_a_shifted_and_scaled_copy_is_found(seed: int, shift: float, scale: float) -> None:
    spectrum = edge(seed)
    copy = Spectrum(spectrum.energy + shift, scale * spectrum.absorption)
    assert align(copy, spectrum).shift == pytest.approx(-shift, abs=0.01)


@settings(max_examples=20, deadline=None)
@given(seeds, st.floats(-3, 3))
def test_a_copy_on_another_axis_is_found(seed: int, shift: float) -> None:
    spectrum = edge(seed)
    energy = np.linspace(spectrum.energy[0], spectrum.energy[-1], 777)
    copy = Spectrum(energy + shift, np.interp(energy, spectrum.energy, spectrum.absorption))
    found = align(copy, spectrum)
    assert found.shift == pytest.approx(-shift, abs=0.05)
    assert found.similarity > 0.9999


@settings(max_examples=20, deadline=None)
@given(seeds, seeds)
def test_aligning_what_is_aligned_shifts_nothing(first: int, second: int) -> None:
    reference = edge(first)
    found = align(edge(second, position=137.3), reference)
    again = align(shifted(edge(second, position=137.3), found.shift), reference)
    assert again.shift == pytest.approx(0, abs=1e-6)
    assert again.similarity == pytest.approx(found.similarity, abs=1e-9)


def test_edges_far_apart_after_alignment_are_warned_of() -> None:
    energy = np.linspace(0, 60, 600)

    def two_steps(low: float) -> Spectrum:
        first = low * (0.5 + np.arctan((energy - 10) / 0.3) / np.pi)
        second = (1 - low) * (0.5 + np.arctan((energy - 15) / 0.3) / np.pi)
        return Spectrum(energy, first + second)

    found = align(two_steps(0.3), two_steps(0.7))
    assert abs(found.edge_difference) >= 2
    assert "eV apart" in str(found.warning)


def test_too_little_to_compare_is_refused() -> None:
    with pytest.raises(SpectrumError, match="less than half of the 35 eV"):
        align(edge(1, length=30), edge(2, length=30))
    assert align(edge(1, length=30), edge(1, length=30), window=8).shift == 0
    with pytest.raises(SpectrumError, match="fewer than four points"):
        align(Spectrum(np.array([0.0, 1.0, 50.0]), np.array([0.0, 0.0, 1.0])), edge(1))
    with pytest.raises(SpectrumError, match="nowhere positive"):
        align(Spectrum(np.arange(50.0), np.zeros(50)), edge(1))
    with pytest.raises(SpectrumError, match="window"):
        align(edge(1), edge(1), window=0)


# shift, cosine, Pearson, Spearman by Lightshow 1.2.8's compare_between_spectra, whose notion of the
# window this follows; to make them again: that function on the two files of data/anatase.
LIGHTSHOW = {
    "ocean": (4855.78532402687, 0.9870159320179961, 0.9634601580002518, 0.9150075000833343),
    "xspectra": (4862.994847836871, 0.9254591154536057, 0.8165654683527505, 0.7953483927599195),
    "exp": (-104.41137997312936, 0.9849141695900919, 0.9499146681938897, 0.8215255725063612),
}


@pytest.mark.parametrize("code", LIGHTSHOW)
def test_shifts_and_figures_are_those_of_lightshow(
    code: str, shared: Callable[[str], Path]
) -> None:
    def load(name: str) -> Spectrum:
        table = np.loadtxt(shared(f"data/anatase/anatase_{name}.txt"))
        return Spectrum(*table[np.argsort(table[:, 0])].T)  # measured points are out of order

    found = align(load(code), load("exciting"))
    shift, similarity, pearson, spearman = LIGHTSHOW[code]
    assert found.shift == pytest.approx(shift, abs=1e-6)
    assert found.similarity == pytest.approx(similarity, abs=1e-9)
    assert found.pearson == pytest.approx(pearson, abs=1e-9)
    assert found.spearman == pytest.approx(spearman, abs=1e-6)
