"""Features that decide the spectra come to count more than those that do not."""

from __future__ import annotations

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from nearedge.models.heads.relevance import find_relevance


def test_features_that_decide_the_spectra_count_more() -> None:
    generator = np.random.default_rng(0)
    features = generator.normal(size=(120, 6))
    targets = np.tanh(features[:, :2] @ generator.normal(size=(2, 5)))
    groups = [np.arange(start, start + 2) for start in range(0, 120, 2)]
    with threadpool_limits(limits=1):
        found = find_relevance(0.3 * features, targets, groups, 1e-3, 20, seed=0)
        again = find_relevance(0.3 * features, targets, groups, 1e-3, 20, seed=0)
    assert found[:2].min() > 1.5 * found[2:].max()
    assert np.array_equal(found, again)


def test_no_steps_change_nothing() -> None:
    groups = [np.array([0]), np.array([1])]
    found = find_relevance(np.eye(2), np.eye(2), groups, 1e-3, 0, seed=0)
    assert found == pytest.approx(1.0)
