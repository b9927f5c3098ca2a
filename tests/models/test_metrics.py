"""The figures are those that the field defines."""

from __future__ import annotations

import numpy as np
import pytest

from nearedge.errors import ModelError
from nearedge.models.metrics import LEVELS, eta, evaluate, squared_errors


def test_eta_is_the_ratio_of_medians() -> None:
    assert eta(np.array([1.0, 4.0, 100.0]), np.array([0.5, 0.1, 9.0])) == pytest.approx(8.0)


def test_a_model_that_says_the_mean_scores_one() -> None:
    generator = np.random.default_rng(0)
    targets = generator.normal(size=(50, 7))
    mean = np.zeros(7)
    predicted = np.zeros_like(targets)
    found = evaluate(targets, predicted, np.ones_like(targets), mean, list(range(50)))
    assert found["eta"].value == pytest.approx(1.0)
    assert found["eta"].low == pytest.approx(1.0)


def test_intervals_contain_the_value_and_grow_when_sites_share_a_material() -> None:
    generator = np.random.default_rng(1)
    size = np.repeat(generator.lognormal(size=30), 10)
    targets = generator.normal(size=(300, 5)) * size[:, None]
    zeros, ones = np.zeros_like(targets), np.ones_like(targets)
    alone = evaluate(targets, zeros, ones, np.ones(5), list(range(300)))["mean_mse"]
    together = evaluate(targets, zeros, ones, np.ones(5), [i // 10 for i in range(300)])["mean_mse"]
    assert alone.low is not None
    assert alone.high is not None
    assert together.low is not None
    assert together.high is not None
    assert alone.low < alone.value < alone.high
    assert together.high - together.low > 1.5 * (alone.high - alone.low)


def test_coverage_of_a_true_gaussian_is_its_level() -> None:
    targets = np.random.default_rng(2).normal(size=(200, 100)) * 3
    zeros = np.zeros_like(targets)
    found = evaluate(targets, zeros, zeros + 3.0, np.ones(100), list(range(200)))
    for level in LEVELS:
        assert found[f"coverage_{level}"].value == pytest.approx(level / 100, abs=0.01)


def test_errors_are_means_over_energies() -> None:
    assert squared_errors(np.array([[1.0, 3.0]]), np.zeros((1, 2))) == pytest.approx([5.0])


def test_nothing_to_judge_on_is_refused() -> None:
    with pytest.raises(ModelError, match="no spectrum to judge"):
        evaluate(np.zeros((0, 3)), np.zeros((0, 3)), np.zeros((0, 3)), np.zeros(3), [])
