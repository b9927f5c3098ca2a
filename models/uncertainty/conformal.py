"""Quantiles that hold for materials not seen.

Conformal prediction with materials as the exchangeable units: Lee, Barber and Willett,
arXiv:2306.06342 (hierarchical conformal prediction). Each of K materials has the weight
``1/(K+1)``, shared by its rows; the rest is the material to come, which may be anything.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

from nearedge.spectra.spectrum import FloatArray

IntArray = NDArray[np.intp]


def rows_of_groups(groups: Sequence[Hashable]) -> list[IntArray]:
    """Return the row numbers of each material, or single rows where there is one material only."""
    rows: dict[Hashable, list[int]] = {}
    for row, group in enumerate(groups):
        rows.setdefault(group, []).append(row)
    if len(rows) < 2:
        return [np.array([row], dtype=np.intp) for row in range(len(groups))]
    return [np.array(numbers, dtype=np.intp) for numbers in rows.values()]


def row_weights(rows: Sequence[IntArray]) -> FloatArray:
    """Return weights that sum to one and give each material the same share, shape ``(n,)``."""
    weights = np.empty(sum(len(numbers) for numbers in rows))
    for numbers in rows:
        weights[numbers] = 1.0 / (len(numbers) * len(rows))
    return weights


def enough_for(materials: int, level: float) -> bool:
    """Tell whether a conformal quantile at `level` is finite: 19 materials for 0.95."""
    return level * (materials + 1) <= materials + 1e-9


def conformal_quantile(values: FloatArray, rows: Sequence[IntArray], level: float) -> FloatArray:
    """Return what a share `level` of a new material's values stays below.

    Parameters
    ----------
    values
        Shape ``(n, columns)``; each column for itself.
    rows
        Row numbers of each material.
    level
        Between 0 and 1.

    Returns
    -------
    FloatArray
        Shape ``(columns,)``; infinite where there are too few materials for the level.
    """
    materials = len(rows)
    if not enough_for(materials, level):
        return np.full(values.shape[1], np.inf)
    weights = row_weights(rows) * (materials / (materials + 1.0))
    order = np.argsort(values, axis=0)
    cumulative = np.cumsum(weights[order], axis=0)
    place = np.minimum(np.sum(cumulative < level - 1e-12, axis=0), len(values) - 1)
    columns = np.arange(values.shape[1])
    quantile: FloatArray = values[order[place, columns], columns]
    return quantile
