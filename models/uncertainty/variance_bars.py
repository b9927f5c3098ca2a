"""Error bars that hold for materials not seen: scaled by what cross-validation left over.

A Gaussian process knows where it is unsure, but not by how much, and spectra are harder in some
regions of chemistry than in others. So its variances are turned into standard deviations by the
residuals of leave-one-material-out prediction: a power of the variance and a local level, both
fitted to the size of the residuals, then a scale per energy that makes 68 and 95 % intervals hold.
Every material counts the same, however many sites it has.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy.stats import norm, t

from nearedge.models.cholesky import ridged_inverse
from nearedge.models.uncertainty.residuals import Residuals, leave_group_out
from nearedge.spectra.spectrum import FloatArray

ENOUGH_MATERIALS = 50
"""Below this many, a quantile per energy is mostly luck and few numbers are fitted instead."""
PRIOR_MATERIALS = 2.0
"""Weight, in materials, of the belief that errors are as large as the spread of the spectra."""
LOCAL_RIDGE = 1.0
_LEVELS = (0.6827, 0.95)
_TINY = 1e-12


@dataclass(frozen=True, eq=False)
class ErrorModel:
    """Turns a Gaussian process's variance into standard deviations.

    ``std[i, e] = energy_scale[e] * variance[i]**exponent * exp(cross[i] @ local)``, with `cross`
    the kernel between row i and the training rows.

    Parameters
    ----------
    energy_scale
        In the unit of the spectra, shape ``(points,)``.
    exponent
        A half for a true Gaussian process.
    local
        Weight of each training row in the local level of error, shape ``(n,)``.
    """

    energy_scale: FloatArray
    exponent: float
    local: FloatArray

    @classmethod
    def fit(
        cls, residuals: Residuals, kernel: FloatArray, spread: FloatArray
    ) -> tuple[Self, FloatArray]:
        """Fit to leave-one-material-out residuals.

        Parameters
        ----------
        kernel
            Between the training rows, without ridge, shape ``(n, n)``.
        spread
            Standard deviation of the training spectra at each energy, shape ``(points,)``.

        Returns
        -------
        tuple
            The model, and the standard deviations that it gives the training rows with their own
            material left out, shape ``(n, points)``.
        """
        if len(residuals.groups) < ENOUGH_MATERIALS:
            few = cls._fit_few(residuals, spread)
            return few, np.sqrt(residuals.variance)[:, None] * few.energy_scale
        exponent, local, level = _fit_level(residuals, kernel)
        ratio = np.abs(residuals.errors) * np.exp(-level)[:, None]
        weights = residuals.row_weights
        quantiles = [weighted_quantile(ratio, weights, q) / norm.ppf(0.5 + q / 2) for q in _LEVELS]
        # Errors have heavier tails than a Gaussian: the geometric mean shares what one number
        # per energy must miss between the two levels.
        scale = np.sqrt(np.prod(quantiles, axis=0))
        scale = np.maximum(scale, _floor(spread))
        return cls(scale, exponent, local), np.exp(level)[:, None] * scale

    @classmethod
    def _fit_few(cls, residuals: Residuals, spread: FloatArray) -> Self:
        """Take a root mean square, drawn to the spread of the spectra, with Student's t."""
        n = len(residuals.groups)
        squares = residuals.errors**2 / residuals.variance[:, None]
        observed = residuals.row_weights @ squares
        mixed = (n * observed + PRIOR_MATERIALS * spread**2) / (n + PRIOR_MATERIALS)
        student = t.ppf(0.975, df=n - 1 + PRIOR_MATERIALS) / norm.ppf(0.975)
        scale = student * np.sqrt(mixed)
        return cls(np.maximum(scale, _floor(spread)), 0.5, np.zeros(len(residuals.variance)))

    def std(self, variance: FloatArray, cross: FloatArray) -> FloatArray:
        """Return standard deviations, shape ``(m, points)``.

        Parameters
        ----------
        variance
            Shape ``(m,)``.
        cross
            Kernel between the rows asked for and the training rows, shape ``(m, n)``.
        """
        factor = np.maximum(variance, _TINY) ** self.exponent * np.exp(cross @ self.local)
        std: FloatArray = factor[:, None] * self.energy_scale
        return std


def _floor(spread: FloatArray) -> float:
    return max(1e-6 * float(np.max(spread)), _TINY)


def _fit_level(residuals: Residuals, kernel: FloatArray) -> tuple[float, FloatArray, FloatArray]:
    """Fit the logarithm of the residuals' size.

    Returns
    -------
    tuple
        The exponent of the variance, the weights of the local level ``(n,)``, and the level that
        each row would get with its own material left out ``(n,)``.
    """
    weights = residuals.row_weights
    log_variance = np.log(residuals.variance)
    shape = np.sqrt(weights @ residuals.errors**2) + _TINY
    size = 0.5 * np.log(np.mean((residuals.errors / shape) ** 2, axis=1) + _TINY)
    centred = log_variance - weights @ log_variance
    moment = float(weights @ centred**2)
    slope = float(weights @ (centred * size)) / moment if moment > _TINY else 0.5
    exponent = float(np.clip(slope, 0.0, 1.5))
    rest = size - exponent * log_variance
    rest = rest - weights @ rest
    inverse = ridged_inverse(kernel, LOCAL_RIDGE)
    local: FloatArray = inverse @ rest
    left_out = leave_group_out(inverse, rest[:, None], residuals.groups)
    level = exponent * log_variance + rest - left_out.errors[:, 0]
    return exponent, local, level


def weighted_quantile(values: FloatArray, weights: FloatArray, level: float) -> FloatArray:
    """Return the quantile of each column of `values`, rows weighted; shape ``(columns,)``."""
    order = np.argsort(values, axis=0)
    cumulative = np.cumsum(weights[order], axis=0)
    position = np.minimum(np.sum(cumulative < level * weights.sum(), axis=0), len(values) - 1)
    columns = np.arange(values.shape[1])
    quantile: FloatArray = values[order[position, columns], columns]
    return quantile
