"""The search for block weights goes down the slope that it believes in."""

from __future__ import annotations

import numpy as np
import pytest

from nearedge.models.heads.kernels import squared_distances
from nearedge.models.heads.weighting import _loss


def test_the_slope_is_the_slope_of_the_loss() -> None:
    generator = np.random.default_rng(0)
    features = generator.normal(size=(30, 4))
    targets = generator.normal(size=(30, 5))
    squared = np.stack([squared_distances(part, part) for part in np.split(features, 2, axis=1)])
    groups = [np.arange(start, start + 3) for start in range(0, 30, 3)]
    at = np.log(np.array([0.4, 0.7, 0.2]))

    def loss(point: np.ndarray) -> tuple[float, np.ndarray]:
        return _loss(squared, targets, groups, np.exp(point[:2]), float(np.exp(2 * point[2])))

    _, slope = loss(at)
    for k in range(3):
        step = 1e-2 * np.eye(3)[k]
        numeric = (loss(at + step)[0] - loss(at - step)[0]) / 2e-2
        assert slope[k] == pytest.approx(numeric, rel=2e-3, abs=1e-4)
