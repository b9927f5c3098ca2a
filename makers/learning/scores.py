"""What is said of a model's predictions: for all rows, and for those that are no outliers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from nearedge.models.heads import HeadPrediction
from nearedge.models.metrics import error_metrics, evaluate
from nearedge.models.uncertainty.scaling import LEVELS, IntervalScale
from nearedge.schemas.model import Metric
from nearedge.spectra.spectrum import FloatArray

CURATED = "curated_"
"""Before the name of a figure that is of rows without outliers."""


def judge(
    targets: FloatArray,
    found: HeadPrediction,
    training_mean: FloatArray,
    groups: Sequence[str],
    outliers: NDArray[np.bool_],
    *,
    bars: bool = True,
    intervals: IntervalScale | None = None,
    seed: int = 0,
) -> dict[str, Metric]:
    """Judge predictions of spectra by the figures of `nearedge.models.metrics`.

    Parameters
    ----------
    targets
        Shape ``(n, points)``.
    found
        What was predicted for them.
    training_mean
        The mean spectrum of the training rows, shape ``(points,)``.
    groups
        The material of each row.
    outliers
        Which rows are marked, shape ``(n,)``.
    bars
        Whether to judge the error bars too.
    intervals
        What the model knows of its intervals; None takes those of a Gaussian.
    seed
        Of the intervals.
    """

    def figures(numbers: NDArray[np.intp]) -> dict[str, Metric]:
        chosen = [groups[number] for number in numbers]
        if bars:
            std = found.std[numbers]
            widths = None
            if intervals is not None:
                widths = [intervals.half_width(std, level) for level in LEVELS]
            return evaluate(
                targets[numbers],
                found.mean[numbers],
                std,
                training_mean,
                chosen,
                half_widths=widths,
                seed=seed,
            )
        return error_metrics(
            targets[numbers], found.mean[numbers], training_mean, chosen, seed=seed
        )

    return _twice(figures, outliers)


def _twice(
    figures: Callable[[NDArray[np.intp]], dict[str, Metric]], outliers: NDArray[np.bool_]
) -> dict[str, Metric]:
    every = figures(np.arange(len(outliers)))
    curated = np.flatnonzero(~outliers)
    if len(curated) == 0:
        return every
    without = every if len(curated) == len(outliers) else figures(curated)
    return every | {f"{CURATED}{name}": metric for name, metric in without.items()}
