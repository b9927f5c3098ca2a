from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nearedge.errors import SpectrumError
from nearedge.spectra.averaging import weighted_average
from nearedge.spectra.spectrum import AbsorptionUnit, Spectrum


def random_spectrum(seed: int, low: float = 0.0, high: float = 40.0) -> Spectrum:
    rng = np.random.default_rng(seed)
    inner = low + (high - low) * np.sort(rng.random(40))
    energy = np.concatenate([[low - 1e-3], inner, [high + 1e-3]])
    return Spectrum(energy, rng.random(energy.size), normalization=2.4e-4)


weights = st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=6)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**6), weights)
def test_the_average_of_identical_spectra_is_that_spectrum(seed: int, shares: list[float]) -> None:
    spectrum = random_spectrum(seed)
    average = weighted_average([spectrum] * len(shares), shares)
    assert np.array_equal(average.energy, spectrum.energy)
    assert average.absorption == pytest.approx(spectrum.absorption, rel=1e-12)
    assert average.normalization == pytest.approx(spectrum.normalization)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 10**6), st.floats(0.01, 100))
def test_only_the_ratio_of_weights_matters_and_no_point_is_lost(
    first: int, second: int, scale: float
) -> None:
    spectra = [random_spectrum(first), random_spectrum(second + 10**7)]
    average = weighted_average(spectra, [2, 6])
    again = weighted_average(spectra, [2 * scale, 6 * scale])
    assert again.absorption == pytest.approx(average.absorption)
    at = average.energy
    expected = 0.25 * np.interp(at, spectra[0].energy, spectra[0].absorption) + 0.75 * np.interp(
        at, spectra[1].energy, spectra[1].absorption
    )
    assert average.absorption == pytest.approx(expected)
    for spectrum in spectra:
        assert np.isin(spectrum.energy[1:-1], at).all()


def test_shifts_between_sites_stay() -> None:
    step = Spectrum(np.array([0.0, 9.9, 10.1, 20.0]), np.array([0.0, 0.0, 1.0, 1.0]))
    later = Spectrum(step.energy + 2.0, step.absorption)
    average = weighted_average([step, later], [1, 1])
    assert np.interp([9, 11, 13], average.energy, average.absorption) == pytest.approx([0, 0.5, 1])


def test_the_average_ends_where_the_shortest_spectrum_ends() -> None:
    average = weighted_average([random_spectrum(1, 0, 40), random_spectrum(2, 5, 30)], [1, 1])
    assert average.energy[0] == pytest.approx(5 - 1e-3)
    assert average.energy[-1] == pytest.approx(30 + 1e-3)


def test_a_weight_of_zero_leaves_a_spectrum_out() -> None:
    short = random_spectrum(2, 5, 30)
    average = weighted_average([short, random_spectrum(3, 0, 10)], [4, 0])
    assert np.array_equal(average.absorption, short.absorption)


def test_energies_that_differ_by_rounding_are_one_point() -> None:
    first = random_spectrum(1)
    second = Spectrum(first.energy + 1e-9, first.absorption)
    assert len(weighted_average([first, second], [1, 1])) <= len(first) + 1


def test_the_average_converts_like_its_sites() -> None:
    first, second = random_spectrum(1), random_spectrum(2)
    converted = [s.to_unit(AbsorptionUnit.MILLIBOHR2) for s in (first, second)]
    expected = weighted_average(converted, [1, 3])
    average = weighted_average([first, second], [1, 3]).to_unit(AbsorptionUnit.MILLIBOHR2)
    assert average.absorption == pytest.approx(expected.absorption)


def test_an_unknown_normalization_stays_unknown() -> None:
    unknown = Spectrum(np.array([0.0, 40.0]), np.array([0.0, 1.0]))
    assert weighted_average([random_spectrum(1), unknown], [1, 1]).normalization is None


@pytest.mark.parametrize("shares", [[1.0], [0.0, 0.0], [-1.0, 2.0], [np.nan, 1.0]])
def test_weights_that_make_no_average_are_refused(shares: list[float]) -> None:
    with pytest.raises(SpectrumError):
        weighted_average([random_spectrum(1), random_spectrum(2)], shares)


def test_nothing_and_different_units_and_ranges_are_refused() -> None:
    first = random_spectrum(1)
    with pytest.raises(SpectrumError, match="no spectrum"):
        weighted_average([], [])
    with pytest.raises(SpectrumError, match="convert them"):
        weighted_average([first, first.to_unit(AbsorptionUnit.ANGSTROM2)], [1, 1])
    with pytest.raises(SpectrumError, match="do not overlap"):
        weighted_average([first, random_spectrum(2, 50, 60)], [1, 1])
