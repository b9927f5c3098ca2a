from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy.special import ndtr

from nearedge.errors import SpectrumError
from nearedge.spectra.broadening import gaussian, lorentzian
from nearedge.spectra.spectrum import AbsorptionUnit, FloatArray, Spectrum

Broaden = Callable[[Spectrum, float], Spectrum]
both = pytest.mark.parametrize("broaden", [gaussian, lorentzian])


def uneven(low: float, high: float, points: int, seed: int = 0) -> FloatArray:
    rng = np.random.default_rng(seed)
    return np.concatenate([[low], np.sort(rng.uniform(low, high, points - 2)), [high]])


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
