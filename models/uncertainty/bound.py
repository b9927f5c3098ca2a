"""An upper bound on the error of a whole spectrum, stated with each prediction.

Ensembles of networks predict spectra with a spread that bounds the error (arXiv:2210.00336). Here
the bound is calibrated: the root-mean-square error over energies is predicted from what a head
states and from the predicted curve itself (high and structured spectra are missed by more), by a
regression on rows that were predicted with their material left out; the conformal quantile of what
the regression misses turns it into a bound.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy.stats import t

from nearedge.models.heads.base import HeadPrediction
from nearedge.models.uncertainty.conformal import (
    IntArray,
    conformal_quantile,
    enough_for,
    row_weights,
    rows_of_groups,
)
from nearedge.spectra.spectrum import FloatArray

LEVEL = 0.95
PRIOR_MATERIALS = 10.0
"""Weight of the belief that errors are proportional to the stated deviation and nothing else."""
FOLDS = 10
_TINY = 1e-12


@dataclass(frozen=True, eq=False)
class ErrorBound:
    """Predicts the root-mean-square error of a spectrum, and what it seldom exceeds.

    ``log error = level + weights @ (signs - center)``, where the signs are the logarithms of the
    stated deviation, of the distance to the training set, and of the predicted curve's height and
    roughness.

    Parameters
    ----------
    center
        Mean of the signs over the training rows, shape ``(4,)``.
    weights
        Shape ``(4,)``.
    level
        Logarithm of the typical error where the signs are at their mean.
    margin
        Factor from the expected error to the bound.
    """

    center: FloatArray
    weights: FloatArray
    level: float
    margin: float

    @classmethod
    def fit(
        cls,
        targets: FloatArray,
        left_out: HeadPrediction,
        groups: Sequence[Hashable],
        level: float = LEVEL,
    ) -> Self:
        """Fit to training rows that were predicted with their material left out.

        Parameters
        ----------
        targets
            Shape ``(n, points)``.
        groups
            The material of each row; every material counts the same.
        level
            Share of spectra of materials not seen whose error is within the bound.
        """
        rows = rows_of_groups(groups)
        share = row_weights(rows)
        log_error = np.log(_rms(targets - left_out.mean) + _TINY)
        signs = _signs(left_out)
        center = share @ signs
        prior = np.array([1.0, 0.0, 0.0, 0.0])
        centred, rest = signs - center, log_error - (signs - center) @ prior
        typical = float(share @ rest)
        gram = centred.T @ (share[:, None] * centred)
        scale = np.diag(np.maximum(np.diag(gram), _TINY)) * PRIOR_MATERIALS / len(rows)
        weights = prior + np.linalg.solve(gram + scale, centred.T @ (share * (rest - typical)))
        missed = log_error - typical - centred @ weights
        return cls(center, weights, typical, float(np.exp(_margin(missed, rows, level))))

    def expected(self, prediction: HeadPrediction) -> FloatArray:
        """Return the typical root-mean-square error of each spectrum, shape ``(n,)``."""
        logarithm = self.level + (_signs(prediction) - self.center) @ self.weights
        error: FloatArray = np.exp(logarithm)
        return error

    def bound(self, prediction: HeadPrediction) -> FloatArray:
        """Return what the root-mean-square error of each spectrum stays below, shape ``(n,)``."""
        return self.margin * self.expected(prediction)

    def to_arrays(self) -> dict[str, FloatArray]:
        """Return what is stored."""
        return {
            "center": self.center,
            "weights": self.weights,
            "numbers": np.array([self.level, self.margin]),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, FloatArray]) -> Self:
        """Read what `to_arrays` returned."""
        level, margin = arrays["numbers"]
        return cls(arrays["center"], arrays["weights"], float(level), float(margin))


def _rms(values: FloatArray) -> FloatArray:
    rms: FloatArray = np.sqrt(np.mean(values**2, axis=1))
    return rms


def _signs(prediction: HeadPrediction) -> FloatArray:
    mean = prediction.mean
    roughness = _rms(np.diff(mean, axis=1)) if mean.shape[1] > 1 else np.zeros(len(mean))
    height = np.max(mean, axis=1)
    # A training site has distance zero: 0.01 is below what tells sites of two materials apart.
    columns = (_rms(prediction.std), prediction.distance + 0.01, height, roughness)
    signs: FloatArray = np.log(np.stack(columns, axis=1) + _TINY)
    return signs


def _margin(missed: FloatArray, rows: list[IntArray], level: float) -> float:
    """Return the logarithm of the factor from the expected error to the bound."""
    if enough_for(len(rows), level):
        return float(conformal_quantile(missed[:, None], rows, level)[0])
    # Too few for a quantile: errors of spectra are about log-normal around what is expected.
    count = len(rows)
    spread = float(np.sqrt(row_weights(rows) @ missed**2))
    student = float(t.ppf(level, df=max(count - 1, 1)))
    return max(spread, 0.3) * student * float(np.sqrt(1.0 + 1.0 / count))
