"""Outliers are what the rule says, by the spectra that are learned from alone."""

from __future__ import annotations

import numpy as np
import pytest

from nearedge.errors import SpectrumError
from nearedge.spectra.outliers import outliers


def test_one_point_beyond_the_band_marks_a_spectrum() -> None:
    values = np.random.default_rng(0).normal(size=(200, 5))
    values[7, 3] = 6.0
    center, width = values.mean(axis=0), values.std(axis=0)
    expected = (np.abs(values - center) > 2.5 * width).any(axis=1)
    marked = outliers(values, range(200), 2.5)
    assert marked.tolist() == expected.tolist()
    assert marked[7]
    assert outliers(values, range(200), 5.0).nonzero()[0].tolist() == [7]


def test_a_mark_hangs_on_its_own_row_and_the_reference() -> None:
    values = np.random.default_rng(1).normal(size=(60, 4))
    alone = outliers(values, range(50), 2.5)
    changed = values.copy()
    changed[55:] *= 40.0
    assert outliers(changed, range(50), 2.5)[:55].tolist() == alone[:55].tolist()
    assert outliers(changed, range(50), 2.5)[55:].all()


@pytest.mark.parametrize(("reference", "sigma"), [([], 2.5), ([0, 1], 0.0), ([0, 1], -1.0)])
def test_no_reference_and_no_width_are_refused(reference: list[int], sigma: float) -> None:
    with pytest.raises(SpectrumError):
        outliers(np.zeros((2, 3)), reference, sigma)
