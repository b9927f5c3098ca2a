"""Training of the kernel head: standardise, weigh the blocks, align, solve, leave materials out."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, field_validator

from nearedge.models.heads.alignment import moved
from nearedge.models.heads.base import HeadPrediction, TrainingRows
from nearedge.models.heads.calibration import ENOUGH_MATERIALS, ErrorModel, IntArray, Residuals
from nearedge.models.heads.kernels import KernelName, covariance, distances
from nearedge.models.heads.posterior import Posterior, exact, low_rank
from nearedge.models.heads.process import Process
from nearedge.models.heads.weighting import Weighting, find_weighting, per_feature, some_rows
from nearedge.spectra.spectrum import FloatArray

LENGTH_PER_FEATURE = 33.0 / 64.0
"""Of the Laplacian ``exp(-d/33)``, found best for the 64 M3GNet features of Cu sites."""
RIDGE = 4e-3
LENGTH_FACTORS = (0.5, 1.0, 2.0)
LENGTH_ROWS = 4000
"""The search for the Laplacian's length looks at this many rows at most."""
ALIGNMENTS = "0.4,0.65,1"
CALIBRATION_ROWS = 3000
"""Where there are inducing rows, error bars are fitted to this many others at most."""

BLOCK_WEIGHTS: Mapping[str, float] = {
    "m3gnet:1": 0.21,
    "m3gnet:2": 0.22,
    "m3gnet:3": 0.09,
    "m3gnet:edges": 0.09,
    "soap:4": 0.22,
    "soap:5": 0.25,
    "soap:6": 0.15,
    "radial": 0.27,
}
"""Where the search begins: what it found for Cu by FEFF."""
EDGE_WEIGHTS: Mapping[str, float] = {
    "m3gnet:elements": 0.19,
    "m3gnet:cell1": 0.15,
}
"""The same for the edge, which is a property of the material more than of the site."""
OTHER_BLOCK = 0.07
OTHER_EDGE_BLOCK = 0.1
ONE_BLOCK = 0.4


class KernelOptions(BaseModel):
    """What a user may choose."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kernel: Literal["auto", "laplacian", "matern32"] = Field(
        default="auto",
        description="The Laplacian for one block of features, as OmniXAS's were best served; the "
        "Matérn kernel of smoothness 3/2 with a length scale per block for several.",
    )
    length: float | None = Field(
        default=None,
        gt=0,
        description="Of the kernel. None finds it by leaving materials out where there are at "
        "least 50; with fewer the Laplacian takes 33/64 of the number of features. The Matérn "
        "kernel's is a factor to all its length scales.",
    )
    ridge: float = Field(
        default=RIDGE,
        gt=0,
        description="Variance of noise, in units of the signal's; between 1e-3 and 2e-2 it hardly "
        "matters. Where block weights are searched for, the search begins with it.",
    )
    search_steps: int = Field(
        default=20,
        ge=0,
        description="Steps of the search for block weights at most; 0 keeps the usual weights.",
    )
    alignments: str = Field(
        default=ALIGNMENTS,
        description="Shares of each spectrum's edge energy by which it is moved before it is "
        "learned, joined by commas; the prediction is the mean over them. Empty moves nothing.",
    )
    exact_rows: int = Field(
        default=10_000, ge=2, description="With more training rows they speak through some of them."
    )
    inducing_rows: int = Field(
        default=3000, ge=2, description="How many they then are: cost grows with their square."
    )

    @field_validator("alignments")
    @classmethod
    def _shares(cls, value: str) -> str:
        try:
            shares = [float(part) for part in value.split(",") if part.strip()]
        except ValueError:
            raise ValueError(f"{value!r} is not numbers joined by commas, such as 0,0.65") from None
        if not all(abs(share) <= 2 for share in shares):
            raise ValueError(f"{value!r} has a share of the edge beyond 2")
        return value

    @property
    def shares(self) -> list[float]:
        """The alignments as numbers."""
        return [float(part) for part in self.alignments.split(",") if part.strip()]


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
    kernel: KernelName = "laplacian" if len(standard.blocks) == 1 else "matern32"
    if options.kernel != "auto":
        kernel = options.kernel
    edges = rows.edges
    shares = np.array(options.shares)
    if (
        edges is None
        or not np.all(np.isfinite(edges))
        or len(standard.groups) < ENOUGH_MATERIALS
        or not np.any(shares)
    ):
        edges, shares = None, np.zeros(1)
    edge, edges_left_out = None, np.zeros(len(rows.targets))
    if edges is not None:
        edge, found = _process(standard, kernel, edges[:, None], EDGE_WEIGHTS, options, seed)
        edges_left_out = edges - found.posterior.residuals.errors[:, 0]
    aligned = _aligned(rows.targets, edges, shares, rows.step)
    process, found = _process(standard, kernel, aligned, BLOCK_WEIGHTS, options, seed)
    mean_edge = 0.0 if edge is None else float(edge.mean[0])
    predicted = put_back(
        aligned - found.posterior.residuals.errors,
        edges_left_out - mean_edge,
        shares,
        rows.step,
    )
    residuals = Residuals(
        rows.targets - predicted, found.posterior.residuals.variance, standard.groups
    )
    spread = rows.targets.std(axis=0, ddof=1)
    error, std = _error_model(standard, residuals, found, spread, seed)
    left_out = HeadPrediction(np.maximum(predicted, 0.0), std, found.nearest)
    return Trained(
        center=standard.center,
        scale=standard.scale,
        mean=rows.targets.mean(axis=0),
        process=process,
        edge=edge,
        shares=shares,
        step=rows.step,
        error=error,
        left_out=left_out,
    )


def put_back(
    aligned: FloatArray, from_mean: FloatArray, shares: FloatArray, step: float
) -> FloatArray:
    """Return spectra where they belong: the mean over alignments, shape ``(n, points)``.

    Parameters
    ----------
    aligned
        One alignment after the other, shape ``(n, alignments * points)``.
    from_mean
        Edge energies counted from their mean over the training rows, in eV, shape ``(n,)``.
    shares
        Of the edge, by which spectra were moved, shape ``(alignments,)``.
    step
        Of the grid, in eV.
    """
    parts = np.split(aligned, len(shares), axis=1)
    back = [
        moved(part, -share * from_mean / step) if share else part
        for part, share in zip(parts, shares, strict=True)
    ]
    mean: FloatArray = np.mean(back, axis=0)
    return mean


def _aligned(
    targets: FloatArray, edges: FloatArray | None, shares: FloatArray, step: float
) -> FloatArray:
    if edges is None:
        return targets
    from_mean = edges - edges.mean()
    return np.concatenate([moved(targets, share * from_mean / step) for share in shares], axis=1)


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
    posterior: Posterior
    kernel: FloatArray
    nearest: FloatArray


def _process(
    standard: _Standard,
    kernel: KernelName,
    targets: FloatArray,
    usual: Mapping[str, float],
    options: KernelOptions,
    seed: int,
) -> tuple[Process, _Solved]:
    """Choose the metric for some targets, and solve."""
    if kernel == "laplacian":
        factors, ridge = np.ones(len(standard.center)), options.ridge
        length = options.length or _best_length(standard, targets, ridge, seed)
    else:
        weighting = _weighting(standard, targets, usual, options, seed)
        factors = per_feature(standard.blocks, weighting.weights, standard.varying)
        length, ridge = options.length or 1.0, weighting.ridge
    train = standard.train if kernel == "laplacian" else standard.train.astype(np.float32)
    unsolved = np.zeros((len(train), targets.shape[1]))
    mean = targets.mean(axis=0)
    process = Process(kernel, train, factors, length, ridge, unsolved, mean)
    solved = _solve(standard, process, targets)
    posterior = solved.posterior
    return replace(
        process, solution=posterior.solution, noise_factor=posterior.noise_factor
    ), solved


def _solve(standard: _Standard, process: Process, targets: FloatArray) -> _Solved:
    groups = standard.groups
    code = np.empty(len(targets), dtype=np.intp)
    for number, rows in enumerate(groups):
        code[rows] = number
    if standard.inducing is None:
        found = process.distances(standard.features)
        nearest = process.nearest(_others(found, code, code))
        kernel = process.covariance(found)
        return _Solved(exact(kernel, targets, process.ridge, groups), kernel, nearest)
    inducing, nearest = standard.inducing, np.empty(len(targets))
    kernel = process.covariance(process.distances(standard.features[inducing]))

    def cross(part: slice) -> FloatArray:
        found = process.distances(standard.features[part])
        nearest[part] = process.nearest(_others(found, code[part], code[inducing]))
        return process.covariance(found)

    return _Solved(low_rank(kernel, cross, targets, process.ridge, groups), kernel, nearest)


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
    chosen, own = some_rows(standard.groups, seed)
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
        scores[factor * default] = exact(kernel, targets[chosen], ridge, own).residuals.score()
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
    standard: _Standard, residuals: Residuals, solved: _Solved, spread: FloatArray, seed: int
) -> tuple[ErrorModel, FloatArray]:
    """Fit the error bars; return them and those of the training rows left out.

    Without its own inducing rows a material is predicted worse than a new one is, so where there
    are inducing rows only other materials are looked at, and none has a level of its own.
    """
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
