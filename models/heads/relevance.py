"""How much each single feature counts: found by leaving materials out, a few at a time.

Thousands of length scales cannot be found on the rows that a dozen are found on: they would fit
those. So each step looks at other materials, and there are few steps.
"""

from __future__ import annotations

import numpy as np

from nearedge.models.heads.kernels import squared_distances
from nearedge.models.heads.weighting import left_out_error, principal_components, some_rows
from nearedge.models.uncertainty.conformal import IntArray
from nearedge.spectra.spectrum import FloatArray

ENOUGH_ROWS = 1000
"""Below this many, there are too few materials for every step to look at others."""
STEP_ROWS = 600
RATE = 0.08
_MOMENTUM = 0.9
_SQUARES = 0.95
_TINY = 1e-12


def find_relevance(
    features: FloatArray,
    targets: FloatArray,
    groups: list[IntArray],
    ridge: float,
    steps: int,
    seed: int,
) -> FloatArray:
    """Return what features are multiplied with so that materials left out are predicted better.

    Parameters
    ----------
    features
        In length scales, shape ``(n, size)``.
    targets
        Shape ``(n, outputs)``.
    groups
        Row numbers of each material.
    ridge
        Variance of noise, in units of the signal's.
    steps
        Of Adam (arXiv:1412.6980), on the logarithms, its rate falling to zero.
    seed
        For the order in which materials are looked at.
    """
    generator = np.random.default_rng(seed)
    points = features.astype(np.float32)
    wanted = principal_components(targets)
    at = np.zeros(features.shape[1])
    momentum, squares = np.zeros_like(at), np.zeros_like(at)
    order = generator.permutation(len(groups))
    for step in range(steps):
        chosen, own = some_rows(groups, order, STEP_ROWS)
        order = np.roll(order, -len(own))
        scaled = points[chosen] * np.exp(at).astype(np.float32)
        squared = squared_distances(scaled, scaled)
        _, slope, _ = left_out_error(squared, wanted[chosen], own, ridge)
        slope = slope + slope.T
        # From d2[i, k] = sum_j (x[i, j] - x[k, j])^2, each x being multiplied with exp(at[j]).
        gradient = 2 * np.einsum("ij,ij->j", scaled, slope.sum(axis=1)[:, None] * scaled)
        gradient -= 2 * np.einsum("ij,ij->j", scaled, slope @ scaled)
        momentum = _MOMENTUM * momentum + (1 - _MOMENTUM) * gradient
        squares = _SQUARES * squares + (1 - _SQUARES) * gradient.astype(np.float64) ** 2
        mean = momentum / (1 - _MOMENTUM ** (step + 1))
        size = np.sqrt(squares / (1 - _SQUARES ** (step + 1)))
        at -= RATE * (1 - step / steps) * mean / (size + _TINY)
    relevance: FloatArray = np.exp(at)
    return relevance
