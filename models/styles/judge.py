"""How well styles follow their descriptors, and what spectra do along them."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

from nearedge.errors import ModelError
from nearedge.models.styles.autoencoder import StyleModel
from nearedge.models.styles.training import StyleRows
from nearedge.schemas.model import Metric
from nearedge.spectra.spectrum import FloatArray

_BOOTSTRAPS = 500
_QUANTILES = (0.05, 0.95)
"""Of the training spectra's styles: between them spectra are drawn, as in the paper."""


@dataclass(frozen=True, eq=False)
class Verdict:
    """What judging gives.

    Parameters
    ----------
    metrics
        ``spearman_<name>`` for each descriptor, with 95 % interval over materials;
        ``inter_style``, the largest absolute Spearman correlation between two styles;
        ``mae``, the mean absolute error of reconstruction in units of the edge step; ``spectra``.
    correlations
        Spearman correlations between styles, shape ``(styles, styles)``.
    """

    metrics: dict[str, Metric]
    correlations: FloatArray


@dataclass(frozen=True, eq=False)
class Track:
    """Spectra along one style.

    Parameters
    ----------
    values
        The style, in standard deviations, shape ``(n,)``.
    descriptor
        Median descriptor of the training sites about each value, NaN for a free style, shape
        ``(n,)``.
    decoded
        Spectra decoded with all other styles zero, in the model's unit, shape ``(n, points)``.
    observed
        Mean of the training spectra about each value, same shape.
    """

    values: FloatArray
    descriptor: FloatArray
    decoded: FloatArray
    observed: FloatArray


def judge(
    model: StyleModel, rows: StyleRows, groups: Sequence[Hashable], *, seed: int = 0
) -> Verdict:
    """Judge a model on spectra; on those of materials that it has not seen, to be of use.

    Parameters
    ----------
    groups
        The material of each row: the bootstrap behind each interval draws whole materials.
    seed
        Of the bootstrap.

    Raises
    ------
    ModelError
        If the descriptors are not those that the model follows, or there are too few rows.
    """
    if rows.names != model.names:
        raise ModelError(f"The model follows {model.names}, and the rows have {rows.names}.")
    if len(rows.spectra) < 3 or len(groups) != len(rows.spectra):
        raise ModelError(f"{len(rows.spectra)} spectra of {len(groups)} materials: too few.")
    styles = model.encode(rows.spectra)
    metrics = {
        f"spearman_{name}": rank_interval(styles[:, k], rows.descriptors[:, k], groups, seed=seed)
        for k, name in enumerate(rows.names)
    }
    correlations = np.eye(styles.shape[1])
    for a in range(styles.shape[1]):
        for b in range(a):
            correlations[a, b] = correlations[b, a] = _rank_correlation(styles[:, a], styles[:, b])
    off_diagonal = np.abs(correlations - np.diag(np.diag(correlations)))
    errors = np.abs(model.decode(styles) - rows.spectra) / model.scale
    metrics |= {
        "inter_style": Metric(value=float(off_diagonal.max())),
        "mae": Metric(value=float(errors.mean())),
        "spectra": Metric(value=float(len(rows.spectra))),
    }
    return Verdict(metrics, correlations)


def track(model: StyleModel, rows: StyleRows, style: int, steps: int = 7) -> Track:
    """Return spectra along one style, over the range that nine tenths of the training rows have."""
    found = model.encode(rows.spectra)[:, style]
    low, high = np.quantile(found, _QUANTILES)
    values = np.linspace(low, high, steps)
    middles = (values[1:] + values[:-1]) / 2
    bins = np.digitize(found, middles)
    points = np.zeros((steps, model.options.styles))
    points[:, style] = values
    descriptor = np.full(steps, np.nan)
    observed = np.empty((steps, model.grid_points))
    for step in range(steps):
        numbers = np.flatnonzero(bins == step)
        if not numbers.size:  # the nearest row, where none lies about a value
            numbers = np.abs(found - values[step]).argsort()[:1]
        observed[step] = rows.spectra[numbers].mean(axis=0)
        if style < len(rows.names):
            known = rows.descriptors[numbers, style]
            known = known[np.isfinite(known)]
            descriptor[step] = np.median(known) if known.size else np.nan
    return Track(values, descriptor, model.decode(points), observed)


def rank_interval(
    style: FloatArray, descriptor: FloatArray, groups: Sequence[Hashable], *, seed: int
) -> Metric:
    """Return Spearman's correlation, with a 95 % interval from drawing whole materials.

    Parameters
    ----------
    style, descriptor
        Shape ``(n,)``; rows whose descriptor is NaN take no part.
    groups
        The material of each row.
    seed
        Of the draws.
    """
    known = np.flatnonzero(np.isfinite(descriptor))
    style, descriptor = style[known], descriptor[known]
    value = _rank_correlation(style, descriptor)
    members: dict[Hashable, list[int]] = {}
    for row, number in enumerate(known):
        members.setdefault(groups[int(number)], []).append(row)
    materials = [np.array(each, dtype=np.intp) for each in members.values()]
    if len(materials) < 3 or not np.isfinite(value):
        return Metric(value=value)
    generator = np.random.default_rng(seed)
    samples = []
    for _ in range(_BOOTSTRAPS):
        drawn = generator.integers(len(materials), size=len(materials))
        rows = np.concatenate([materials[number] for number in drawn])
        samples.append(_rank_correlation(style[rows], descriptor[rows]))
    low, high = np.nanquantile(samples, [0.025, 0.975])
    return Metric(value=value, low=float(low), high=float(high))


def _rank_correlation(a: FloatArray, b: FloatArray) -> float:
    """Return Spearman's correlation; NaN where one side never differs."""
    if len(a) < 3 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    return float(np.corrcoef(rankdata(a), rankdata(b))[0, 1])
