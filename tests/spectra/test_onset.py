from __future__ import annotations

import numpy as np
import pytest

from nearedge.errors import SpectrumError
from nearedge.spectra.onset import onset, steepest
from nearedge.spectra.spectrum import Spectrum

ENERGY = np.linspace(8970, 9030, 601)
STEP = Spectrum(ENERGY, 0.5 + np.arctan((ENERGY - 8990) / 0.5) / np.pi)


def test_the_onset_is_the_first_point_above_two_percent() -> None:
    found = onset(STEP)
    at = np.searchsorted(STEP.energy, found)
    assert STEP.absorption[at] > 0.02 * STEP.absorption.max() >= STEP.absorption[at - 1]
    assert onset(STEP, 0.5) == pytest.approx(8990.0, abs=0.11)


def test_a_spectrum_that_begins_high_has_its_onset_at_its_first_point() -> None:
    assert onset(Spectrum(np.arange(5.0), np.array([0.5, 1, 1, 1, 1]))) == 0


def test_the_steepest_point_is_the_edge_on_any_axis() -> None:
    assert steepest(STEP) == pytest.approx(8990.0, abs=0.05)
    uneven = 8970 + 60 * np.linspace(0, 1, 400) ** 1.7
    assert steepest(Spectrum(uneven, np.interp(uneven, ENERGY, STEP.absorption))) == pytest.approx(
        8990.0, abs=0.3
    )


def test_bounds_leave_out_steeper_points() -> None:
    twice = Spectrum(ENERGY, STEP.absorption + 3 * (0.5 + np.arctan((ENERGY - 9010) / 0.5) / np.pi))
    assert steepest(twice) == pytest.approx(9010, abs=0.05)
    assert steepest(twice, high=9000) == pytest.approx(8990, abs=0.05)


def test_questions_without_an_answer_are_refused() -> None:
    with pytest.raises(SpectrumError, match="nowhere positive"):
        onset(Spectrum(ENERGY, -STEP.absorption))
    with pytest.raises(SpectrumError, match="fraction"):
        onset(STEP, 1.0)
    with pytest.raises(SpectrumError, match="no two points"):
        steepest(STEP, 8990.01, 8990.02)
