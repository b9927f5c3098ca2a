"""Training of the kernel head: standardise, weigh the blocks, align, solve, leave materials out."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from nearedge.models.heads.alignment import moved
from nearedge.models.heads.base import HeadPrediction, TrainingRows
from nearedge.models.heads.kernel_options import KernelOptions
from nearedge.models.heads.kernels import KernelName, covariance, distances
from nearedge.models.heads.posterior import Exact, LowRank
from nearedge.models.heads.process import Process
from nearedge.models.heads.relevance import ENOUGH_ROWS, find_relevance
from nearedge.models.heads.weighting import (
    SEARCH_ROWS,
    Weighting,
    find_weighting,
    per_feature,
    some_rows,
)
from nearedge.models.uncertainty.conformal import IntArray
from nearedge.models.uncertainty.residuals import Residuals
from nearedge.models.uncertainty.variance_bars import ENOUGH_MATERIALS, ErrorModel
from nearedge.spectra.spectrum import FloatArray

LENGTH_PER_FEATURE = 33.0 / 64.0
"""Of the Laplacian ``exp(-d/33)``, found best for the 64 M3GNet features of Cu sites."""
LENGTH_FACTORS = (0.5, 1.0, 2.0)
LENGTH_ROWS = 4000
"""The search for the Laplacian's length looks at this many rows at most."""
CALIBRATION_ROWS = 3000
"""Where there are inducing rows, error bars are fitted to this many others at most."""

BLOCK_WEIGHTS: Mapping[str, float] = {
    "m3gnet:1": 0.24,
    "m3gnet:2": 0.2,
    "m3gnet:3": 0.1,
    "m3gnet:edges": 0.1,
    "soap:4": 0.12,
    "soap:5": 0.2,
    "soap:6": 0.16,
    "radial": 0.25,
}
"""Where the search begins: what it found for Cu by FEFF."""
EDGE_WEIGHTS: Mapping[str, float] = {
    "m3gnet:elements": 0.18,
    "m3gnet:cell1": 0.12,
    "m3gnet:cell2": 0.09,
    "soap:5": 0.09,
}
"""The same for positions, which are a property of the material more than of the site."""
OTHER_BLOCK = 0.07
OTHER_EDGE_BLOCK = 0.06
ONE_BLOCK = 0.4


@dataclass(frozen=True, eq=False)
class Trained:
    """What training found; the fields are those of the head."""

    center: FloatArray
    scale: FloatArray
    mean: FloatArray
    process: Process
    edge: Process | None
    shares: FloatArray
    step: float
    error: ErrorModel
    left_out: HeadPrediction


@dataclass(frozen=True, eq=False)
class _Standard:
    """Rows to learn from, standardised."""

    rows: TrainingRows
    features: FloatArray
    center: FloatArray
    scale: FloatArray
    varying: FloatArray
    groups: list[IntArray]
    inducing: IntArray | None

    @property
    def blocks(self) -> Mapping[str, int]:
        return self.rows.blocks or {"features": self.features.shape[1]}

    @property
    def train(self) -> FloatArray:
        return self.features if self.inducing is None else self.features[self.inducing]


def train(rows: TrainingRows, options: KernelOptions, seed: int) -> Trained:
    """Train on sites and their spectra."""
    standard = _standardise(rows, options, seed)
    shares = np.array(options.shares(len(standard.blocks)))
    align = len(standard.groups) >= ENOUGH_MATERIALS and bool(np.any(shares))
    place = _positions(rows, options) if align else np.zeros(len(rows.targets))
    begun = moved(rows.targets, place / rows.step)
    spectra = _Solved.of(standard, begun, BLOCK_WEIGHTS, options, seed)
    edge, left_out_place = None, place
    if np.any(place):
        edges = _Solved.of(standard, place[:, None], EDGE_WEIGHTS, options, seed)
        left_out_place = place - edges.solver.left_out(place[:, None]).errors[:, 0]
        edge = edges.process(place[:, None])
    else:
        shares = np.zeros(1)
    aligned = np.concatenate([moved(rows.targets, s * place / rows.step) for s in shares], axis=1)
    found = spectra.solver.left_out(aligned)
    predicted = put_back(aligned - found.errors, left_out_place, shares, rows.step)
    residuals = Residuals(rows.targets - predicted, found.variance, standard.groups)
    error, std = _error_model(standard, residuals, spectra, seed)
    return Trained(
        center=standard.center,
        scale=standard.scale,
        mean=rows.targets.mean(axis=0),
        process=spectra.process(aligned),
        edge=edge,
        shares=shares,
        step=rows.step,
        error=error,
        left_out=HeadPrediction(np.maximum(predicted, 0.0), std, spectra.nearest),
    )


def _positions(rows: TrainingRows, options: KernelOptions) -> FloatArray:
    """Return what the code says of positions, in eV from their mean, shape ``(n,)``."""
    if rows.edges is None or not np.all(np.isfinite(rows.edges)):
        return np.zeros(len(rows.targets))
    place: FloatArray = options.edge_share * (rows.edges - rows.edges.mean())
    return place


def put_back(aligned: FloatArray, place: FloatArray, shares: FloatArray, step: float) -> FloatArray:
    """Return spectra where they belong: the mean over alignments, shape ``(n, points)``.

    Parameters
    ----------
    aligned
        One alignment after the other, shape ``(n, alignments * points)``.
    place
        How much higher in energy each lies than a usual one, in eV, shape ``(n,)``.
    shares
        Of that, by which spectra were moved, shape ``(alignments,)``.
    step
        Of the grid, in eV.
    """
    parts = np.split(aligned, len(shares), axis=1)
    back = [
        moved(part, -share * place / step) if share else part
        for part, share in zip(parts, shares, strict=True)
    ]
    mean: FloatArray = np.mean(back, axis=0)
    return mean


def _standardise(rows: TrainingRows, options: KernelOptions, seed: int) -> _Standard:
    center, spread = rows.features.mean(axis=0), rows.features.std(axis=0)
    varying = spread > 1e-9 * (1.0 + np.abs(center))
    scale = np.where(varying, spread, 1.0)
    count = len(rows.targets)
    inducing = None
    if count > options.exact_rows:
        chosen = np.random.default_rng(seed).permutation(count)[: options.inducing_rows]
        inducing = np.sort(chosen)
    return _Standard(
        rows=rows,
        features=(rows.features - center) / scale,
        center=center,
        scale=scale,
        varying=varying.astype(np.float64),
        groups=left_out_groups(rows.groups),
        inducing=inducing,
    )


@dataclass(frozen=True, eq=False)
class _Solved:
    """A metric, and all rows ready to answer for any targets.

    `kernel` is among the inducing rows, `nearest` how far each row is from those of others.
    """

    metric: Process
    solver: Exact | LowRank
    kernel: FloatArray
    nearest: FloatArray

    @classmethod
    def of(
        cls,
        standard: _Standard,
        targets: FloatArray,
        usual: Mapping[str, float],
        options: KernelOptions,
        seed: int,
    ) -> Self:
        """Choose the metric for some targets, and solve."""
        metric = _metric(standard, targets, usual, options, seed)
        groups = standard.groups
        code = np.empty(len(targets), dtype=np.intp)
        for number, rows in enumerate(groups):
            code[rows] = number
        if standard.inducing is None:
            found = metric.distances(standard.features)
            kernel = metric.covariance(found)
            nearest = metric.nearest(_others(found, code, code))
            return cls(metric, Exact.of(kernel, metric.ridge, groups), kernel, nearest)
        inducing, nearest = standard.inducing, np.empty(len(targets))
        kernel = metric.covariance(metric.distances(standard.features[inducing]))

        def cross(part: slice) -> FloatArray:
            found = metric.distances(standard.features[part])
            nearest[part] = metric.nearest(_others(found, code[part], code[inducing]))
            return metric.covariance(found)

        solver = LowRank.of(kernel, cross, len(targets), metric.ridge, groups)
        return cls(metric, solver, kernel, nearest)

    def process(self, targets: FloatArray) -> Process:
        """Return the process that predicts such targets."""
        return replace(
            self.metric,
            solution=self.solver.solution(targets),
            mean=targets.mean(axis=0),
            noise_factor=self.solver.noise_factor,
        )


def _metric(
    standard: _Standard,
    targets: FloatArray,
    usual: Mapping[str, float],
    options: KernelOptions,
    seed: int,
) -> Process:
    """Return a process that knows its kernel and nothing else."""
    kernel: KernelName = "laplacian" if len(standard.blocks) == 1 else "matern32"
    if options.kernel != "auto":
        kernel = options.kernel
    if kernel == "laplacian":
        factors, ridge = np.ones(len(standard.center)), options.ridge
        length = options.length or _best_length(standard, targets, ridge, seed)
    else:
        weighting = _weighting(standard, targets, usual, options, seed)
        factors = per_feature(standard.blocks, weighting.weights, standard.varying)
        length, ridge = options.length or 1.0, weighting.ridge
        # One number a row does not tell thousands of length scales apart; a spectrum does.
        enough = len(targets) >= ENOUGH_ROWS and len(standard.groups) >= ENOUGH_MATERIALS
        if enough and targets.shape[1] > 1 and options.feature_steps:
            factors *= find_relevance(
                standard.features * factors,
                targets,
                standard.groups,
                ridge,
                options.feature_steps,
                seed,
            )
    train = standard.train if kernel == "laplacian" else standard.train.astype(np.float32)
    return Process(kernel, train, factors, length, ridge, np.zeros((len(train), 0)), np.zeros(0))


def _others(distance: FloatArray, codes: IntArray, inducing_codes: IntArray) -> FloatArray:
    """Return distances with those to rows of the same material infinite."""
    others: FloatArray = np.where(codes[:, None] == inducing_codes, np.inf, distance)
    return others


def _weighting(
    standard: _Standard,
    targets: FloatArray,
    usual: Mapping[str, float],
    options: KernelOptions,
    seed: int,
) -> Weighting:
    """Return the blocks' weights: the usual ones where materials are too few to tell."""
    blocks = standard.blocks
    other = OTHER_EDGE_BLOCK if usual is EDGE_WEIGHTS else OTHER_BLOCK
    weights = [usual.get(name, other if len(blocks) > 1 else ONE_BLOCK) for name in blocks]
    start = Weighting(np.array(weights), options.ridge)
    if len(standard.groups) < ENOUGH_MATERIALS or not options.search_steps:
        return start
    order = np.random.default_rng(seed).permutation(len(standard.groups))
    chosen, own = some_rows(standard.groups, order, SEARCH_ROWS)
    unit = per_feature(blocks, np.ones(len(blocks)), standard.varying)
    features = standard.features[chosen] * unit
    return find_weighting(features, blocks, targets[chosen], own, start, options.search_steps)


def _best_length(standard: _Standard, targets: FloatArray, ridge: float, seed: int) -> float:
    """Return the Laplacian's length that predicts materials left out best."""
    default = LENGTH_PER_FEATURE * float(len(standard.center))
    if len(standard.groups) < ENOUGH_MATERIALS:
        return default
    chosen, own = whole_groups(standard.groups, LENGTH_ROWS, seed)
    found = distances("laplacian", standard.features[chosen], standard.features[chosen])
    scores: dict[float, float] = {}
    for factor in LENGTH_FACTORS:
        kernel = covariance("laplacian", found / (factor * default))
        scores[factor * default] = Exact.of(kernel, ridge, own).left_out(targets[chosen]).score()
    best: float = min(scores, key=lambda length: scores[length])
    return best


def whole_groups(
    groups: Sequence[IntArray], most: int, seed: int
) -> tuple[IntArray, list[IntArray]]:
    """Return rows of whole groups, `most` at most, and the groups counted within them."""
    chosen: list[IntArray] = []
    own: list[IntArray] = []
    count = 0
    for number in np.random.default_rng(seed).permutation(len(groups)):
        rows = groups[number]
        if own and count + len(rows) > most:
            continue
        chosen.append(rows)
        own.append(np.arange(count, count + len(rows)))
        count += len(rows)
    return np.concatenate(chosen), own


def _error_model(
    standard: _Standard, residuals: Residuals, solved: _Solved, seed: int
) -> tuple[ErrorModel, FloatArray]:
    """Fit the error bars; return them and those of the training rows left out.

    Without its own inducing rows a material is predicted worse than a new one is, so where there
    are inducing rows only other materials are looked at, and none has a level of its own.
    """
    spread = standard.rows.targets.std(axis=0, ddof=1)
    if standard.inducing is None:
        return ErrorModel.fit(residuals, solved.kernel, spread)
    own = np.zeros(len(standard.features), dtype=bool)
    own[standard.inducing] = True
    others = [rows for rows in residuals.groups if not np.any(own[rows])]
    chosen, groups = whole_groups(others or residuals.groups, CALIBRATION_ROWS, seed)
    some = Residuals(residuals.errors[chosen], residuals.variance[chosen], groups)
    unrelated = np.zeros((len(chosen), len(chosen)))
    error = replace(
        ErrorModel.fit(some, unrelated, spread)[0], local=np.zeros(len(standard.inducing))
    )
    nothing = np.zeros((len(residuals.variance), len(standard.inducing)))
    return error, error.std(residuals.variance, nothing)


def left_out_groups(groups: Sequence[Hashable]) -> list[IntArray]:
    """Return the rows of each material, or single rows where there is one material only."""
    rows: dict[Hashable, list[int]] = {}
    for row, group in enumerate(groups):
        rows.setdefault(group, []).append(row)
    if len(rows) < 2:
        return [np.array([row]) for row in range(len(groups))]
    return [np.array(numbers) for numbers in rows.values()]
