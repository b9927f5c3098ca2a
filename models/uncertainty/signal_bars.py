"""Error bars of heads that are trained in steps: fitted to what they miss on materials left out.

A network does not know how wrong it is, but some signals grow with its error: how far a site is
from all it was trained on, how much the members of an ensemble differ. The size of the residuals is
fitted by a product of powers of such signals, and a factor per energy makes 68 and 95 % intervals
hold (`nearedge.models.uncertainty.scaling`). Every material counts the same.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy.optimize import nnls

from nearedge.models.uncertainty.conformal import row_weights, rows_of_groups
from nearedge.models.uncertainty.scaling import IntervalScale
from nearedge.spectra.spectrum import FloatArray

ENOUGH_MATERIALS = 30
"""With fewer, powers are not fitted, and each signal gets half a power."""
FLOOR = 0.1
"""Signals are raised by this share of their typical size: no site is known perfectly."""
_TINY = 1e-12


@dataclass(frozen=True, eq=False)
class ErrorBars:
    """Turns signals into standard deviations.

    ``std[i, e] = factor[e] * prod_k (signals[i, k] / typical[k] + 0.1) ** power[k]``.

    Parameters
    ----------
    factor
        In the unit of the spectra, shape ``(points,)``.
    typical
        Median of each signal on materials left out, shape ``(k,)``.
    power
        Never negative, shape ``(k,)``.
    """

    factor: FloatArray
    typical: FloatArray
    power: FloatArray

    @classmethod
    def fit(cls, errors: FloatArray, signals: FloatArray, groups: Sequence[Hashable]) -> Self:
        """Fit to rows predicted with their material left out.

        Parameters
        ----------
        errors
            Target minus prediction, shape ``(n, points)``.
        signals
            Never negative, shape ``(n, k)``.
        groups
            The material of each row.
        """
        typical = np.median(signals, axis=0)
        typical = np.where(typical > _TINY, typical, 1.0)
        logs = np.log(signals / typical + FLOOR)
        rows = rows_of_groups(groups)
        if len(rows) < ENOUGH_MATERIALS:
            power = np.full(signals.shape[1], 0.5)
        else:
            root = np.sqrt(row_weights(rows))[:, None]
            shape = np.sqrt(np.mean(errors**2, axis=0)) + _TINY
            size = 0.5 * np.log(np.mean((errors / shape) ** 2, axis=1) + _TINY)[:, None]
            # The last two columns let the mean be anything.
            ones = np.ones_like(root)
            power = nnls(root * np.hstack([logs, ones, -ones]), (root * size)[:, 0])[0][:-2]
        level = np.exp(logs @ power)[:, None]
        scale = IntervalScale.fit(errors, np.broadcast_to(level, errors.shape), groups)
        return cls(scale.std_factor, typical, power)

    @classmethod
    def of_spread(cls, targets: FloatArray, signals: int) -> Self:
        """Return bars as wide as the spectra differ: where no material could be left out."""
        spread = np.maximum(targets.std(axis=0, ddof=1), _TINY)
        return cls(spread, np.ones(signals), np.zeros(signals))

    def std(self, signals: FloatArray) -> FloatArray:
        """Return standard deviations, shape ``(m, points)``, from signals ``(m, k)``."""
        level = np.exp(np.log(signals / self.typical + FLOOR) @ self.power)
        std: FloatArray = level[:, None] * self.factor
        return std

    def to_arrays(self) -> dict[str, FloatArray]:
        """Return what is stored."""
        return {"factor": self.factor, "typical": self.typical, "power": self.power}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, FloatArray]) -> Self:
        """Read what `to_arrays` returned.

        Raises
        ------
        KeyError, ValueError
            If an array is missing or has another shape.
        """
        bars = cls(arrays["factor"], arrays["typical"], arrays["power"])
        if bars.factor.ndim != 1 or bars.typical.shape != bars.power.shape:
            raise ValueError("the error bars' arrays differ in shape")
        return bars
