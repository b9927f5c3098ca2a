"""How good predictions are: the figures of the field, with intervals.

The score eta (arXiv:2409.19552) is the median over test spectra of the mean squared error of
"always predict the training mean", divided by the median mean squared error of the model. The
median flatters, so the means go beside it.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from nearedge.errors import ModelError
from nearedge.schemas.model import Metric
from nearedge.spectra.spectrum import FloatArray

BOOTSTRAPS = 2000
LEVELS = (68, 95)


def squared_errors(targets: FloatArray, predicted: FloatArray) -> FloatArray:
    """Return the mean squared error of each spectrum, shape ``(n,)`` from ``(n, points)``."""
    errors: FloatArray = np.mean((targets - predicted) ** 2, axis=1)
    return errors


def eta(baseline: FloatArray, model: FloatArray) -> float:
    """Return the median of `baseline` over the median of `model`, both errors of shape ``(n,)``.

    A model without any error scores infinity.
    """
    below = float(np.median(model))
    return float(np.median(baseline)) / below if below > 0 else float("inf")


def error_metrics(
    targets: FloatArray,
    mean: FloatArray,
    training_mean: FloatArray,
    groups: Sequence[Hashable],
    *,
    seed: int = 0,
) -> dict[str, Metric]:
    """Judge the spectra alone: ``eta``, ``median_mse``, ``mean_mse`` and ``spectra`` (how many).

    Parameters
    ----------
    targets, mean
        Shape ``(n, points)`` each, in the same unit.
    training_mean
        The mean spectrum of the training rows, shape ``(points,)``.
    groups
        The material of each row: the bootstrap behind each 95 % interval draws whole materials,
        since their sites are alike.
    seed
        Of the bootstrap.

    Raises
    ------
    ModelError
        If there is nothing to judge, or the numbers of rows differ.
    """
    if not len(targets) == len(mean) == len(groups):
        raise ModelError("Targets, predictions and materials to be judged differ in number.")
    if len(targets) == 0:
        raise ModelError("There is no spectrum to judge the model on.")
    model = squared_errors(targets, mean)
    baseline = squared_errors(targets, np.broadcast_to(training_mean, targets.shape))
    draws = _draws(groups, seed)
    return {
        "eta": _with_interval(eta(baseline, model), [eta(baseline[d], model[d]) for d in draws]),
        "median_mse": _with_interval(
            float(np.median(model)), [float(np.median(model[d])) for d in draws]
        ),
        "mean_mse": _with_interval(
            float(np.mean(model)), [float(np.mean(model[d])) for d in draws]
        ),
        "spectra": Metric(value=float(len(targets))),
    }


def evaluate(
    targets: FloatArray,
    mean: FloatArray,
    std: FloatArray,
    training_mean: FloatArray,
    groups: Sequence[Hashable],
    *,
    seed: int = 0,
) -> dict[str, Metric]:
    """Judge spectra and their error bars.

    Parameters are those of `error_metrics`, and `std` of shape ``(n, points)``.

    Returns
    -------
    dict
        What `error_metrics` returns, and ``coverage_68`` and ``coverage_95``: the shares of points
        inside those intervals, between 0 and 1.
    """
    metrics = error_metrics(targets, mean, training_mean, groups, seed=seed)
    draws = _draws(groups, seed)
    for level in LEVELS:
        width = norm.ppf(0.5 + level / 200)
        shares = np.mean(np.abs(targets - mean) <= width * std, axis=1)
        metrics[f"coverage_{level}"] = _with_interval(
            float(np.mean(shares)), [float(np.mean(shares[d])) for d in draws]
        )
    return metrics


def _draws(groups: Sequence[Hashable], seed: int) -> list[NDArray[np.intp]]:
    """Return row numbers of bootstrap samples, whole groups drawn with replacement."""
    rows: dict[Hashable, list[int]] = {}
    for row, group in enumerate(groups):
        rows.setdefault(group, []).append(row)
    members = [np.array(numbers, dtype=np.intp) for numbers in rows.values()]
    generator = np.random.default_rng(seed)
    return [
        np.concatenate([members[i] for i in generator.integers(len(members), size=len(members))])
        for _ in range(BOOTSTRAPS)
    ]


def _with_interval(value: float, samples: list[float]) -> Metric:
    finite = np.array(samples)[np.isfinite(samples)]
    if not np.isfinite(value) or finite.size < len(samples) // 2:
        return Metric(value=value)
    low, high = np.quantile(finite, [0.025, 0.975])
    return Metric(value=value, low=float(low), high=float(high))
