"""How much each block of features counts: found by leaving materials out.

All blocks share one kernel of summed squared distances, each with its own length scale. The error
on materials left out, in closed form, has a gradient in closed form too, so that a dozen scales and
the noise are found in seconds on some of the rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from nearedge.models.cholesky import ridged_inverse
from nearedge.models.heads.kernels import Float32Array, squared_distances
from nearedge.models.uncertainty.conformal import IntArray
from nearedge.spectra.spectrum import FloatArray

SEARCH_ROWS = 1000
"""Rows that the search looks at: more hardly change what it finds."""
SITES_PER_MATERIAL = 2
"""Of them from one material: they are alike, and other materials tell more."""
COMPONENTS = 24
"""Principal components of the spectra that the search predicts."""
BELIEF = 0.01
"""How strongly the search is drawn to where it begins: the penalty, as a share of the variance of
the spectra, for a factor of e in one weight; divided by the number of materials and a hundred."""
_BOUND = 3.0


@dataclass(frozen=True, eq=False)
class Weighting:
    """Weights of the blocks and the noise.

    Parameters
    ----------
    weights
        Inverse length scale of each block, in its own typical distances, shape ``(blocks,)``.
    ridge
        Variance of noise, in units of the signal's.
    """

    weights: FloatArray
    ridge: float


def per_feature(blocks: Mapping[str, int], weights: FloatArray, varying: FloatArray) -> FloatArray:
    """Return what standardised features are multiplied with, shape ``(size,)``.

    A block's squared distance is the mean over its features that vary at all.

    Parameters
    ----------
    varying
        One where a feature varies in the training rows, else zero, shape ``(size,)``.
    """
    factors = np.empty(len(varying))
    start = 0
    for width, weight in zip(blocks.values(), weights, strict=True):
        part = varying[start : start + width]
        factors[start : start + width] = weight / np.sqrt(max(float(part.sum()), 1.0))
        start += width
    return factors


def some_rows(
    groups: Sequence[IntArray], order: IntArray, most: int
) -> tuple[IntArray, list[IntArray]]:
    """Return rows for a search, `most` at most, and their materials counted within them.

    Parameters
    ----------
    order
        Of the materials: the first ones are taken.
    """
    chosen: list[IntArray] = []
    own: list[IntArray] = []
    count = 0
    for number in order:
        # Any of them would do: a material's sites are in no order.
        rows = groups[number][:SITES_PER_MATERIAL]
        if own and count + len(rows) > most:
            break
        chosen.append(rows)
        own.append(np.arange(count, count + len(rows)))
        count += len(rows)
    return np.concatenate(chosen), own


def find_weighting(
    features: FloatArray,
    blocks: Mapping[str, int],
    targets: FloatArray,
    groups: list[IntArray],
    start: Weighting,
    steps: int,
) -> Weighting:
    """Return the weighting that predicts materials left out best.

    Parameters
    ----------
    features
        Standardised, and divided so that a block's squared distance is a mean, shape
        ``(n, size)``.
    targets
        Shape ``(n, outputs)``.
    groups
        Row numbers of each material.
    start
        Where the search begins, and what it falls back on where the rows do not tell.
    steps
        Of the quasi-Newton search (L-BFGS) at most.
    """
    ends = np.cumsum(list(blocks.values()))
    parts = np.split(features.astype(np.float32), ends[:-1], axis=1)
    squared = np.stack([squared_distances(part, part) for part in parts])
    reduced = principal_components(targets)
    share = BELIEF * min(1.0, 100.0 / len(groups))
    origin = np.concatenate([np.log(start.weights), [0.5 * np.log(start.ridge)]])

    def objective(moved: FloatArray) -> tuple[float, FloatArray]:
        at = origin + moved
        loss, slope = _loss(squared, reduced, groups, np.exp(at[:-1]), float(np.exp(2 * at[-1])))
        return loss + share * float(moved @ moved), slope + 2 * share * moved

    found = minimize(
        objective,
        np.zeros_like(origin),
        jac=True,
        method="L-BFGS-B",
        bounds=[(-_BOUND, _BOUND)] * len(origin),
        options={"maxiter": steps, "maxfun": 2 * steps},
    )
    at = origin + found.x
    return Weighting(np.exp(at[:-1]), float(np.exp(2 * at[-1])))


def principal_components(targets: FloatArray) -> FloatArray:
    """Return the leading components, scaled so that a row's squares sum to one on average."""
    centred = targets - targets.mean(axis=0)
    left, size, _ = np.linalg.svd(centred, full_matrices=False)
    components: FloatArray = left[:, :COMPONENTS] * size[:COMPONENTS]
    scale = np.sqrt(np.mean(np.sum(components**2, axis=1)))
    return components / scale if scale > 0 else components


def _loss(
    squared: Float32Array,
    targets: FloatArray,
    groups: list[IntArray],
    weights: FloatArray,
    ridge: float,
) -> tuple[float, FloatArray]:
    """Return the error of some weights, and its slope in the logarithms of all and of the noise."""
    total = np.tensordot((weights**2).astype(np.float32), squared, axes=1)
    loss, slope, by_ridge = left_out_error(total, targets, groups, ridge)
    gradient = 2 * weights**2 * [float(np.vdot(slope, part)) for part in squared]
    return loss, np.array([*gradient, 2 * ridge * by_ridge])


def left_out_error(
    squared: Float32Array, targets: FloatArray, groups: list[IntArray], ridge: float
) -> tuple[float, Float32Array, float]:
    """Return the squared error with each material left out, and its slopes.

    Parameters
    ----------
    squared
        Squared distances in length scales, shape ``(n, n)``.

    Returns
    -------
    tuple
        The error; its slope in the squared distances, shape ``(n, n)``; and in the ridge.

    Notes
    -----
    With ``Q`` the inverse of the kernel matrix K and ``a = Q y``, a material's residual is
    ``r = Q[g, g]^-1 a[g]`` (Rasmussen and Williams, section 5.4.2, for blocks). From
    ``dQ = -Q dK Q`` follows, with ``s = Q[g, g]^-1`` times the slope of the loss in r, the slope
    ``Q (B Q - S a^T)`` in K, B being block-diagonal of ``s r^T`` and S of the rows s.
    """
    scaled = np.sqrt(3.0 * squared.astype(np.float64))
    decay = np.exp(-scaled)
    inverse = ridged_inverse((1.0 + scaled) * decay, ridge)
    solution = inverse @ targets
    mixed = np.empty_like(inverse)
    pulled = np.empty_like(targets)
    loss = 0.0
    for rows in groups:
        own = np.linalg.inv(inverse[np.ix_(rows, rows)])
        residual = own @ solution[rows]
        share = 1.0 / (len(rows) * len(groups))
        loss += share * float(np.sum(residual**2))
        pulled[rows] = 2 * share * own @ residual
        mixed[rows] = (pulled[rows] @ residual.T) @ inverse[rows]
    slope = inverse @ (mixed - pulled @ solution.T)
    return loss, (-1.5 * slope * decay).astype(np.float32), float(np.trace(slope))
