"""Spectra are moved along energy without being worn down."""

from __future__ import annotations

import numpy as np
import pytest

from nearedge.models.heads.alignment import moved


def test_a_spectrum_moves_to_lower_energies_by_its_own_shift() -> None:
    x = np.arange(200) / 10
    spectra = np.stack([np.sin(x), np.sin(x)])
    found = moved(spectra, np.array([2.5, -3.0]))
    assert found[0, 20:-20] == pytest.approx(np.sin(x + 0.25)[20:-20], abs=1e-4)
    assert found[1, 20:-20] == pytest.approx(np.sin(x - 0.3)[20:-20], abs=1e-12)


def test_there_and_back_it_is_the_same_but_for_the_ends() -> None:
    x = np.arange(141) * 0.25
    peak = np.exp(-(((x - 15) / 1.5) ** 2))[None]
    shift = np.array([2.4])
    assert moved(moved(peak, shift), -shift) == pytest.approx(peak, abs=1e-3)


def test_beyond_the_ends_their_values_go_on() -> None:
    spectrum = np.array([[1.0, 2.0, 4.0]])
    assert moved(spectrum, np.array([50.0])) == pytest.approx(4.0)
    assert moved(spectrum, np.array([-50.25])) == pytest.approx(1.0)
