from __future__ import annotations

import numpy as np
import pytest

from nearedge.errors import SpectrumError
from nearedge.spectra.comparison import compare
from nearedge.spectra.onset import onset
from nearedge.spectra.spectrum import AbsorptionUnit, Spectrum
from nearedge.spectra.thinning import ABOVE, BELOW, MOST, thinned


def edge(points: int, shift: float = 0.0) -> Spectrum:
    energy = np.linspace(4900, 5100, points)
    above = energy - 4970.0123 - shift
    absorption = 0.5 + np.arctan(above / 0.4) / np.pi + np.exp(-(((above - 12) / 3) ** 2))
    return Spectrum(energy, absorption - absorption[0], AbsorptionUnit.ANGSTROM2, 0.1)


def test_a_fine_spectrum_becomes_a_few_hundred_points_with_the_same_onset() -> None:
    fine = edge(40_001)
    thin = thinned(fine, 35.0)
    assert 500 < len(thin) < 620
    assert onset(thin) == pytest.approx(onset(fine), abs=6e-4)
    assert thin.energy[0] == pytest.approx(onset(fine) - BELOW, abs=0.2)
    assert thin.energy[-1] == pytest.approx(onset(fine) + 35 + ABOVE, abs=0.2)
    assert (thin.unit, thin.normalization) == (AbsorptionUnit.ANGSTROM2, 0.1)
    assert all(len(f"{value:g}") <= 13 for value in thin.absorption)


def test_a_comparison_of_thinned_spectra_is_that_of_the_whole_ones() -> None:
    whole = compare(edge(40_001), edge(33_333, 1.7), ("a", "b"))
    thin = compare(thinned(edge(40_001), 35), thinned(edge(33_333, 1.7), 35), ("a", "b"))
    assert thin.shift == pytest.approx(whole.shift, abs=0.011)
    assert thin.spearman == pytest.approx(whole.spearman, abs=2e-4)


def test_a_coarse_spectrum_keeps_its_own_points() -> None:
    coarse = edge(401)
    thin = thinned(coarse, 35.0)
    assert len(thin) < MOST
    assert set(np.round(thin.energy, 4)) <= set(np.round(coarse.energy, 4))


def test_thinning_again_changes_nothing() -> None:
    once = thinned(edge(40_001), 35.0)
    again = thinned(once, 35.0)
    assert np.array_equal(again.energy, once.energy)
    assert np.array_equal(again.absorption, once.absorption)


def test_what_has_no_onset_or_step_is_refused() -> None:
    with pytest.raises(SpectrumError, match="nowhere positive"):
        thinned(Spectrum(np.arange(50.0), np.zeros(50)), 35.0)
    with pytest.raises(SpectrumError, match="step"):
        thinned(edge(401), 35.0, step=0.0)
