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
from nearedge.schemas.evaluation import Comparison, DistanceBin
from nearedge.schemas.model import Metric
from nearedge.spectra.spectrum import FloatArray

BOOTSTRAPS = 2000
LEVELS = (68, 95)
NEAR = 0.05
"""Mean difference of features in standard deviations below which sites of two materials are near
duplicates: their Cu spectra differ by 1e-4 (median MSE), a twentieth of what good models err by."""
DISTANCE_BINS = 5


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
    return error_scores(model, baseline, groups, seed=seed)


def evaluate(
    targets: FloatArray,
    mean: FloatArray,
    std: FloatArray,
    training_mean: FloatArray,
    groups: Sequence[Hashable],
    *,
    half_widths: Sequence[FloatArray] | None = None,
    seed: int = 0,
) -> dict[str, Metric]:
    """Judge spectra and their error bars.

    Parameters are those of `error_metrics`, and these.

    Parameters
    ----------
    std
        Shape ``(n, points)``.
    half_widths
        Of the 68 and 95 % intervals, shape ``(n, points)`` each; None takes a Gaussian's.

    Returns
    -------
    dict
        What `error_metrics` returns, and ``coverage_68`` and ``coverage_95``: the shares of points
        inside those intervals, between 0 and 1.
    """
    metrics = error_metrics(targets, mean, training_mean, groups, seed=seed)
    draws = _draws(groups, seed)
    if half_widths is None:
        half_widths = [float(norm.ppf(0.5 + level / 200)) * std for level in LEVELS]
    for level, half_width in zip(LEVELS, half_widths, strict=True):
        shares = np.mean(np.abs(targets - mean) <= half_width, axis=1)
        metrics[f"coverage_{level}"] = _with_interval(
            float(np.mean(shares)), [float(np.mean(shares[d])) for d in draws]
        )
    return metrics


def paired_bootstrap(
    first: FloatArray, second: FloatArray, groups: Sequence[Hashable], *, seed: int = 0
) -> Comparison:
    """Compare two models by their errors on the same spectra, drawing materials in pairs.

    Parameters
    ----------
    first, second
        Squared errors of each model, shape ``(n,)`` each, same spectra in the same order.
    groups
        The material of each spectrum.

    Raises
    ------
    ModelError
        If the numbers differ, or there is nothing to compare.
    """
    if not len(first) == len(second) == len(groups) or len(first) == 0:
        raise ModelError(
            f"Models can be compared on the same spectra only, not on {len(first)} and "
            f"{len(second)} of {len(groups)}."
        )
    difference = first - second
    draws = _draws(groups, seed)
    # The baseline is the same for both, so that it falls out of the ratio of their etas.
    return Comparison(
        eta_ratio=_with_interval(eta(second, first), [eta(second[d], first[d]) for d in draws]),
        mean_difference=_with_interval(
            float(np.mean(difference)), [float(np.mean(difference[d])) for d in draws]
        ),
    )


def error_deciles(errors: FloatArray) -> NDArray[np.intp]:
    """Return the rows whose errors are the nine deciles, from the best to the worst.

    Parameters
    ----------
    errors
        Shape ``(n,)``, at least one.
    """
    order = np.argsort(errors, kind="stable")
    places = np.round(np.arange(1, 10) / 10 * (len(errors) - 1)).astype(np.intp)
    rows: NDArray[np.intp] = order[places]
    return rows


def by_distance(
    model: FloatArray,
    baseline: FloatArray,
    distance: FloatArray,
    groups: Sequence[Hashable],
    *,
    bins: int = DISTANCE_BINS,
    seed: int = 0,
) -> list[DistanceBin]:
    """Judge a model by the distance to its training set, in bins of equally many spectra.

    Parameters
    ----------
    model, baseline
        Squared errors of the model and of the training mean, shape ``(n,)`` each.
    distance
        Shape ``(n,)``.
    groups
        The material of each spectrum.
    bins
        How many; fewer where there are fewer than ten spectra for each.
    """
    count = max(1, min(bins, len(model) // 10))
    found = []
    for rows in np.array_split(np.argsort(distance, kind="stable"), count):
        chosen = [groups[row] for row in rows.tolist()]
        metrics = error_scores(model[rows], baseline[rows], chosen, seed=seed)
        low, high = float(distance[rows[0]]), float(distance[rows[-1]])
        found.append(
            DistanceBin(
                low=low,
                high=high,
                spectra=len(rows),
                eta=metrics["eta"],
                median_mse=metrics["median_mse"],
                mean_mse=metrics["mean_mse"],
            )
        )
    return found


def without_near_duplicates(
    model: FloatArray,
    baseline: FloatArray,
    distance: FloatArray,
    groups: Sequence[Hashable],
    *,
    near: float = NEAR,
    seed: int = 0,
) -> dict[str, Metric]:
    """Judge a model on the spectra of sites that are not nearly in its training set.

    Parameters are those of `by_distance`; sites within `near` are left out.

    Returns
    -------
    dict
        As of `error_metrics`; empty where every site is that near.
    """
    rows = np.flatnonzero(distance >= near)
    if len(rows) == 0:
        return {}
    chosen = [groups[row] for row in rows.tolist()]
    return error_scores(model[rows], baseline[rows], chosen, seed=seed)


def learning_steps(
    groups: Sequence[Hashable], parts: int = 4, *, seed: int = 0
) -> list[NDArray[np.intp]]:
    """Return rows to train on for a learning curve, each step twice the materials of the last.

    Steps are nested, so that a curve shows what more data do and not what other data do.

    Parameters
    ----------
    groups
        The material of each training row.
    parts
        How many steps; the last has all rows.
    seed
        Of the order in which materials are taken.
    """
    names = sorted(dict.fromkeys(groups), key=str)
    order = np.random.default_rng(seed).permutation(len(names))
    rank = {names[name]: place for place, name in enumerate(order)}
    ranks = np.array([rank[group] for group in groups])
    sizes = [max(2, round(len(names) / 2**step)) for step in reversed(range(parts))]
    return [np.flatnonzero(ranks < size) for size in dict.fromkeys(sizes)]


def error_scores(
    model: FloatArray, baseline: FloatArray, groups: Sequence[Hashable], *, seed: int = 0
) -> dict[str, Metric]:
    """Return what `error_metrics` returns, where only squared errors are at hand.

    Parameters
    ----------
    model, baseline
        Squared errors of the model and of the training mean, shape ``(n,)`` each.
    groups
        The material of each spectrum.
    """
    draws = _draws(groups, seed)
    return {
        "eta": _with_interval(eta(baseline, model), [eta(baseline[d], model[d]) for d in draws]),
        "median_mse": _with_interval(
            float(np.median(model)), [float(np.median(model[d])) for d in draws]
        ),
        "mean_mse": _with_interval(
            float(np.mean(model)), [float(np.mean(model[d])) for d in draws]
        ),
        "spectra": Metric(value=float(len(model))),
    }


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
