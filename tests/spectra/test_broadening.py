from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtr, voigt_profile

from nearedge.errors import SpectrumError
from nearedge.spectra.broadening import Arctangent, arctangent, gaussian, lorentzian, voigt
from nearedge.spectra.spectrum import AbsorptionUnit, FloatArray, Spectrum

Broaden = Callable[[Spectrum, float], Spectrum]
both = pytest.mark.parametrize("broaden", [gaussian, lorentzian])
widths = st.floats(0.05, 5)
broad = st.floats(0.5, 5)
"""Several steps of the axis: the first of two results is taken as linear between its points."""
seeds = st.integers(0, 10**6)


def bumps(seed: int, points: int = 300) -> Spectrum:
    """A few peaks that end well inside an uneven axis."""
    rng = np.random.default_rng(seed)
    energy = np.unique(np.concatenate([uneven(-40, 40, points, seed), np.linspace(-9, 9, 181)]))
    absorption = np.zeros_like(energy)
    for _ in range(3):
        center, width = rng.uniform(-4, 4), rng.uniform(0.5, 2)
        absorption += rng.uniform(0.2, 1) * np.maximum(0, 1 - np.abs(energy - center) / width)
    return Spectrum(energy, absorption)


def uneven(low: float, high: float, points: int, seed: int = 0) -> FloatArray:
    rng = np.random.default_rng(seed)
    return np.concatenate([[low], np.sort(rng.uniform(low, high, points - 2)), [high]])


def wide(seed: int) -> Spectrum:
    """The same peaks on an axis that is fine in the middle and reaches far out."""
    far = 40 * 1.2 ** np.arange(28)
    energy = np.unique(np.concatenate([-far, far, np.linspace(-40, 40, 801)]))
    return Spectrum(energy, np.interp(energy, bumps(seed).energy, bumps(seed).absorption))


def triangle(energy: FloatArray) -> Spectrum:
    return Spectrum(energy, np.maximum(0, 1 - np.abs(energy)))


@both
def test_the_area_of_a_peak_is_kept_on_any_axis(broaden: Broaden) -> None:
    energy = np.unique(
        np.concatenate([uneven(-2000, 2000, 900), uneven(-30, 30, 1500), [-1, 0, 1]])
    )
    broadened = broaden(triangle(energy), 2.0)
    area = np.trapezoid(broadened.absorption, energy)
    assert area == pytest.approx(1, abs=2e-3)


@both
def test_a_constant_stays_constant(broaden: Broaden) -> None:
    flat = Spectrum(uneven(0, 50, 100), np.full(100, 0.7))
    assert broaden(flat, 3.0).absorption == pytest.approx(flat.absorption, abs=1e-12)


@both
def test_a_straight_line_stays_itself_far_from_its_ends(broaden: Broaden) -> None:
    energy = uneven(-3000, 3000, 500)
    inside = np.abs(energy) < 10
    broadened = broaden(Spectrum(energy, 0.01 * energy), 0.5)
    assert broadened.absorption[inside] == pytest.approx(0.01 * energy[inside], abs=1e-4)


def test_a_step_becomes_the_line_shapes_integral() -> None:
    energy = np.sort(np.concatenate([uneven(-30, 30, 400), [-1e-7, 1e-7]]))
    step = Spectrum(energy, (energy > 0).astype(float))
    lorentz = 0.5 + np.arctan(energy / 0.8) / np.pi
    assert lorentzian(step, 1.6).absorption == pytest.approx(lorentz, abs=1e-6)
    normal = ndtr(energy / (1.6 / 2.354820045))
    assert gaussian(step, 1.6).absorption == pytest.approx(normal, abs=1e-6)


@both
def test_a_narrow_peak_has_the_width_asked_for(broaden: Broaden) -> None:
    energy = np.linspace(-20, 20, 4001)
    peak = Spectrum(energy, np.maximum(0, 1 - np.abs(energy) / 0.01))
    broadened = broaden(peak, 3.0).absorption
    above = energy[broadened >= broadened.max() / 2]
    assert above[-1] - above[0] == pytest.approx(3.0, abs=0.02)


def test_widths_add_up_as_each_line_shape_has_it() -> None:
    energy = np.linspace(-60, 60, 2401)
    peak = Spectrum(energy, np.exp(-0.5 * energy**2))
    middle = np.abs(energy) < 10
    twice = lorentzian(lorentzian(peak, 1.0), 2.0).absorption
    assert twice[middle] == pytest.approx(lorentzian(peak, 3.0).absorption[middle], abs=1e-3)
    twice = gaussian(gaussian(peak, 3.0), 4.0).absorption
    assert twice[middle] == pytest.approx(gaussian(peak, 5.0).absorption[middle], abs=1e-4)


@both
def test_the_axis_hardly_matters(broaden: Broaden) -> None:
    fine, coarse = np.linspace(-20, 40, 3001), uneven(-20, 40, 700, seed=3)

    def edge(energy: FloatArray) -> Spectrum:
        return Spectrum(energy, 0.5 + np.arctan(energy) / np.pi + np.exp(-0.1 * (energy - 6) ** 2))

    reference = broaden(edge(fine), 1.5)
    again = broaden(edge(coarse), 1.5)
    expected = np.interp(coarse, fine, reference.absorption)
    assert np.abs(again.absorption - expected).max() < 2e-3


@both
def test_no_width_changes_nothing_and_units_stay(broaden: Broaden) -> None:
    spectrum = Spectrum(np.arange(9.0), np.arange(9.0) ** 2, AbsorptionUnit.ANGSTROM2, 2e-4)
    assert broaden(spectrum, 0.0) is spectrum
    broadened = broaden(spectrum, 1.0)
    assert (broadened.unit, broadened.normalization) == (AbsorptionUnit.ANGSTROM2, 2e-4)


@both
@pytest.mark.parametrize("width", [-1.0, np.nan, np.inf])
def test_widths_that_are_none_are_refused(broaden: Broaden, width: float) -> None:
    with pytest.raises(SpectrumError, match="width"):
        broaden(triangle(np.linspace(-3, 3, 50)), width)


@settings(max_examples=10, deadline=None)
@given(seeds, widths, widths)
def test_a_voigt_profile_is_its_definition(seed: int, lorentz: float, gauss: float) -> None:
    spectrum = bumps(seed, points=40)
    fine = np.linspace(-9, 9, 18001)
    values = np.interp(fine, spectrum.energy, spectrum.absorption)
    found = voigt(spectrum, lorentz, gauss)
    for point in range(0, len(spectrum), 20):
        profile = voigt_profile(found.energy[point] - fine, gauss / 2.354820045, lorentz / 2)
        expected = np.trapezoid(values * profile, fine)
        assert found.absorption[point] == pytest.approx(expected, abs=1e-5)


@settings(max_examples=10, deadline=None)
@given(seeds, widths, st.floats(0, 1e-4))
def test_a_voigt_profile_has_its_limits(seed: int, width: float, little: float) -> None:
    spectrum = bumps(seed)
    alone = lorentzian(spectrum, width).absorption
    assert voigt(spectrum, width, little).absorption == pytest.approx(alone, abs=1e-5)
    alone = gaussian(spectrum, width).absorption
    assert voigt(spectrum, little, width).absorption == pytest.approx(alone, abs=5e-4)
    assert voigt(spectrum, 0, 0) is spectrum


@settings(max_examples=10, deadline=None)
@given(seeds, broad, broad)
def test_one_voigt_profile_is_a_lorentzian_and_a_gaussian(
    seed: int, lorentz: float, gauss: float
) -> None:
    spectrum = wide(seed)
    together = voigt(spectrum, lorentz, gauss).absorption
    apart = gaussian(lorentzian(spectrum, lorentz), gauss).absorption
    middle = np.abs(spectrum.energy) < 20
    assert together[middle] == pytest.approx(apart[middle], abs=3e-3)


@settings(max_examples=10, deadline=None)
@given(seeds, broad, broad)
def test_lorentzian_widths_add_and_gaussian_ones_in_quadrature(
    seed: int, first: float, second: float
) -> None:
    spectrum = wide(seed)
    middle = np.abs(spectrum.energy) < 20
    twice = lorentzian(lorentzian(spectrum, first), second).absorption
    once = lorentzian(spectrum, first + second).absorption
    assert twice[middle] == pytest.approx(once[middle], abs=5e-3)
    twice = gaussian(gaussian(spectrum, first), second).absorption
    once = gaussian(spectrum, float(np.hypot(first, second))).absorption
    assert twice[middle] == pytest.approx(once[middle], abs=5e-3)


@settings(max_examples=10, deadline=None)
@given(seeds, widths, widths)
def test_the_area_of_anything_is_kept(seed: int, lorentz: float, gauss: float) -> None:
    spectrum = wide(seed)
    energy = spectrum.energy
    area = np.trapezoid(spectrum.absorption, energy)
    for broadened in (
        lorentzian(spectrum, lorentz),
        gaussian(spectrum, gauss),
        voigt(spectrum, lorentz, gauss),
    ):
        assert np.trapezoid(broadened.absorption, energy) == pytest.approx(area, rel=5e-3)


@settings(max_examples=10, deadline=None)
@given(seeds, widths, st.floats(-20, 20), st.floats(1, 50), st.floats(1, 50))
def test_an_arctangent_that_grows_by_nothing_is_a_lorentzian(
    seed: int, hole: float, edge: float, center: float, spread: float
) -> None:
    found = arctangent(bumps(seed), Arctangent(hole, 0.0, center, spread), edge)
    assert np.array_equal(found.absorption, lorentzian(bumps(seed), hole).absorption)


@settings(max_examples=10, deadline=None)
@given(widths, st.floats(0.5, 20), st.floats(5, 50), st.floats(5, 50))
def test_an_arctangent_width_grows_from_the_holes_to_the_sum(
    hole: float, maximum: float, center: float, spread: float
) -> None:
    shape = Arctangent(hole, maximum, center, spread)
    energy = np.array([-50.0, 0.0, center, 1e9])
    expected = [hole, hole, hole + maximum / 2, hole + maximum]
    assert shape.width(100 + energy, 100.0) == pytest.approx(expected, rel=1e-6)
    growing = shape.width(np.linspace(100, 300, 500), 100.0)
    assert np.all(np.diff(growing) >= 0)


def test_an_arctangent_broadens_each_energy_by_the_width_that_it_has_there() -> None:
    spectrum = bumps(5)
    shape = Arctangent(0.5, 8.0, 10.0, 10.0)
    found = arctangent(spectrum, shape, -6.0)
    for point in range(0, len(spectrum), 50):
        width = float(shape.width(spectrum.energy[point : point + 1], -6.0)[0])
        assert found.absorption[point] == lorentzian(spectrum, width).absorption[point]


def test_an_arctangent_without_a_core_hole_leaves_what_is_below_the_edge() -> None:
    spectrum = bumps(7)
    found = arctangent(spectrum, Arctangent(0.0, 8.0, 10.0, 10.0), 2.0)
    below = spectrum.energy <= 2
    assert found.absorption[below] == pytest.approx(spectrum.absorption[below], abs=1e-6)
    assert np.abs(found.absorption - spectrum.absorption).max() > 0.01


@pytest.mark.parametrize("numbers", [(-1, 1, 1, 1), (1, -1, 1, 1), (1, 1, 0, 1), (1, 1, 1, np.nan)])
def test_an_arctangent_of_impossible_numbers_is_refused(numbers: tuple[float, ...]) -> None:
    with pytest.raises(SpectrumError, match=r"width|center|spread"):
        Arctangent(*numbers)
    with pytest.raises(SpectrumError, match="edge"):
        arctangent(bumps(1), Arctangent(1, 1, 1, 1), np.inf)
