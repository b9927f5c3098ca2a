from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from nearedge.errors import SpectrumError
from nearedge.spectra.similarity import cosine, mse, pearson, spearman
from nearedge.spectra.spectrum import FloatArray

FIRST = np.array([0.0, 0.1, 0.4, 1.0, 0.8, 0.8, 0.9])
SECOND = np.array([0.1, 0.1, 0.3, 0.7, 1.1, 0.9, 0.9])


def test_correlations_are_those_of_scipy_with_ties() -> None:
    assert pearson(FIRST, SECOND) == pytest.approx(stats.pearsonr(FIRST, SECOND).statistic)
    assert spearman(FIRST, SECOND) == pytest.approx(stats.spearmanr(FIRST, SECOND).statistic)


def test_mse_is_the_mean_square() -> None:
    assert mse(FIRST, SECOND) == pytest.approx(np.mean(np.square(FIRST - SECOND)))


@pytest.mark.parametrize("function", [cosine, pearson, spearman])
def test_scale_does_not_matter_and_equal_is_one(
    function: Callable[[FloatArray, FloatArray], float],
) -> None:
    assert function(FIRST, FIRST) == pytest.approx(1)
    assert function(3 * FIRST, SECOND) == pytest.approx(function(FIRST, SECOND))
    assert function(FIRST, SECOND) == pytest.approx(function(SECOND, FIRST))
    assert -1 <= function(FIRST, -SECOND) < 0


def test_a_monotone_change_leaves_the_ranks() -> None:
    assert spearman(FIRST, np.exp(3 * FIRST)) == pytest.approx(1)


@pytest.mark.parametrize("function", [cosine, pearson, spearman, mse])
def test_different_shapes_are_refused(
    function: Callable[[FloatArray, FloatArray], float],
) -> None:
    with pytest.raises(SpectrumError, match="one grid"):
        function(FIRST, SECOND[:-1])


def test_what_has_no_similarity_is_refused() -> None:
    with pytest.raises(SpectrumError, match="zero throughout"):
        cosine(FIRST, np.zeros_like(FIRST))
    for function in (pearson, spearman):
        with pytest.raises(SpectrumError, match="constant"):
            function(FIRST, np.ones_like(FIRST))
