"""Half widths of intervals that hold, from whatever standard deviation a head states.

A head knows where it is unsure, but seldom by how much. What leave-one-material-out prediction
misses, divided by what the head stated, says by which factor its intervals must be wider, for each
level and energy. Errors have heavier tails than a Gaussian, so 68 and 95 % have factors of their
own.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy.stats import norm, t

from nearedge.errors import ModelError
from nearedge.models.uncertainty.conformal import (
    IntArray,
    conformal_quantile,
    enough_for,
    row_weights,
    rows_of_groups,
)
from nearedge.spectra.spectrum import FloatArray

LEVELS = (0.68, 0.95)
SHARED_MATERIALS = 20.0
"""An energy's own factor counts as much as that of all energies once there are this many."""
_TINY = 1e-12


@dataclass(frozen=True, eq=False)
class IntervalScale:
    """Factors from stated standard deviations to half widths of intervals.

    Parameters
    ----------
    factors
        For 68 and for 95 %, shape ``(2, points)``.
    """

    factors: FloatArray

    @classmethod
    def fit(cls, errors: FloatArray, std: FloatArray, groups: Sequence[Hashable]) -> Self:
        """Fit to rows that were predicted with their material left out.

        Parameters
        ----------
        errors
            Target minus prediction, shape ``(n, points)``.
        std
            What the head stated for them, in any unit, shape ``(n, points)``.
        groups
            The material of each row. Every material counts the same; where there is one only, its
            rows count as materials.

        Raises
        ------
        ModelError
            If the shapes differ, or there is no row.
        """
        if errors.shape != std.shape or len(errors) != len(groups) or len(errors) == 0:
            raise ModelError(
                f"Errors of shape {errors.shape}, deviations of shape {std.shape} and "
                f"{len(groups)} materials do not belong together."
            )
        rows = rows_of_groups(groups)
        ratio = np.abs(errors) / _raised(std)
        factors = np.stack([_factor(ratio, rows, level) for level in LEVELS])
        # Intervals of a higher level hold those of a lower one.
        return cls(np.maximum.accumulate(np.maximum(factors, _TINY), axis=0))

    @property
    def std_factor(self) -> FloatArray:
        """One factor for a standard deviation, shape ``(points,)``.

        The geometric mean shares what one number must miss between 68 and 95 %.
        """
        widths = np.array([norm.ppf(0.5 + level / 2) for level in LEVELS])
        factor: FloatArray = np.exp(np.mean(np.log(self.factors / widths[:, None]), axis=0))
        return factor

    def half_width(self, std: FloatArray, level: float) -> FloatArray:
        """Return half widths of the intervals, shape ``(n, points)``.

        Parameters
        ----------
        std
            What the head states, shape ``(n, points)``.
        level
            0.68 or 0.95.
        """
        if level not in LEVELS:
            raise ModelError(f"Intervals are known for {LEVELS}, not for {level}.")
        width: FloatArray = std * self.factors[LEVELS.index(level)]
        return width

    def to_arrays(self) -> dict[str, FloatArray]:
        """Return what is stored."""
        return {"factors": self.factors}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, FloatArray]) -> Self:
        """Read what `to_arrays` returned."""
        factors = arrays["factors"]
        if factors.ndim != 2 or len(factors) != len(LEVELS):
            raise ValueError(f"interval factors have the shape {factors.shape}")
        return cls(factors)


def _raised(std: FloatArray) -> FloatArray:
    """Keep a deviation of zero from making a ratio infinite: no row is surer than a thousandth."""
    typical = np.median(std[std > 0]) if np.any(std > 0) else 1.0
    raised: FloatArray = np.maximum(std, 1e-3 * typical)
    return raised


def _factor(ratio: FloatArray, rows: list[IntArray], level: float) -> FloatArray:
    """Return one level's factor for each energy, shape ``(points,)``.

    The shape over energies is drawn to flat where materials are few; its height is then set by
    all energies together, so that the share of points inside is right on average.
    """
    materials, points = len(rows), ratio.shape[1]
    square = row_weights(rows) @ ratio**2
    pooled = float(np.mean(square)) + _TINY**2
    if not enough_for(materials, level):
        # Student's t for the few: a quantile of so few errors would be their largest.
        mixed = (materials * square + 2.0 * pooled) / (materials + 2.0)
        few: FloatArray = np.sqrt(mixed) * t.ppf(0.5 + level / 2, df=max(materials - 1, 1))
        return few
    own = np.maximum(conformal_quantile(ratio, rows, level), _TINY)
    share = materials * (1 - level) / (materials * (1 - level) + SHARED_MATERIALS * 0.05)
    shape = np.exp(share * (np.log(own) - np.mean(np.log(own))))
    spread_out = (ratio / shape).reshape(-1, 1)
    # The points of a material share its weight: number them by row, energy by energy.
    members = [(numbers[:, None] * points + np.arange(points)).ravel() for numbers in rows]
    height = conformal_quantile(spread_out, members, level)
    factor: FloatArray = shape * height
    return factor
