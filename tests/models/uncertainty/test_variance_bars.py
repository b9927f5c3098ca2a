"""Quantiles and error levels behave as their definitions say."""

from __future__ import annotations

import numpy as np
import pytest

from nearedge.models.uncertainty.residuals import Residuals
from nearedge.models.uncertainty.variance_bars import ErrorModel, weighted_quantile


def test_a_quantile_with_equal_weights_is_the_usual_one() -> None:
    values = np.random.default_rng(0).normal(size=(2001, 3))
    found = weighted_quantile(values, np.full(2001, 1 / 2001), 0.95)
    assert found == pytest.approx(np.quantile(values, 0.95, axis=0), abs=0.02)


def test_a_material_with_many_sites_counts_as_one() -> None:
    groups = [np.arange(90), *(np.array([i]) for i in range(90, 100))]
    weights = Residuals(np.zeros((100, 1)), np.ones(100), groups).row_weights
    assert weights.sum() == pytest.approx(1.0)
    assert weights[:90].sum() == pytest.approx(1 / 11)


def test_the_local_level_finds_the_region_where_errors_are_large() -> None:
    generator = np.random.default_rng(1)
    place = generator.uniform(-1, 1, size=400)
    size = np.where(place > 0, 1.0, 0.1)
    errors = generator.normal(size=(400, 20)) * size[:, None]
    kernel = np.exp(-np.abs(place[:, None] - place[None]))
    residuals = Residuals(errors, np.full(400, 0.5), [np.array([i]) for i in range(400)])
    model, _ = ErrorModel.fit(residuals, kernel, np.ones(20))
    cross = np.exp(-np.abs(np.array([[-0.5], [0.5]]) - place[None]))
    quiet, loud = model.std(np.full(2, 0.5), cross).mean(axis=1)
    assert quiet == pytest.approx(0.1, rel=0.4)
    assert loud == pytest.approx(1.0, rel=0.4)
