"""The figures are those that the field defines."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from nearedge.errors import ModelError
from nearedge.models.metrics import (
    LEVELS,
    by_distance,
    error_deciles,
    eta,
    evaluate,
    learning_steps,
    paired_bootstrap,
    squared_errors,
    without_near_duplicates,
)


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


def test_widths_given_beat_those_of_a_gaussian() -> None:
    targets = np.linspace(-1, 1, 201)[None, :].repeat(20, axis=0)
    zeros = np.zeros_like(targets)
    widths = [zeros + 0.5, zeros + 0.9]
    found = evaluate(targets, zeros, zeros + 9.0, np.ones(201), list(range(20)), half_widths=widths)
    shares = [found[f"coverage_{level}"].value for level in LEVELS]
    assert shares == pytest.approx([0.5, 0.9], abs=0.01)


def test_pairs_tell_models_apart_that_their_own_intervals_do_not() -> None:
    hard = np.random.default_rng(3).lognormal(sigma=1.5, size=120)
    groups = [i // 2 for i in range(120)]
    better, worse = 0.8 * hard, hard
    pair = paired_bootstrap(better, worse, groups)
    assert pair.eta_ratio.value == pytest.approx(1.25)
    assert pair.eta_ratio.low == pytest.approx(1.25)
    assert pair.mean_difference.high is not None
    assert pair.mean_difference.high < 0
    other = paired_bootstrap(worse, better, groups)
    assert other.eta_ratio.value == pytest.approx(0.8)
    with pytest.raises(ModelError, match="same spectra"):
        paired_bootstrap(better, worse[:5], groups)


def test_deciles_run_from_the_best_to_the_worst() -> None:
    errors = np.random.default_rng(4).permutation(101).astype(float)
    assert errors[error_deciles(errors)].tolist() == [10.0 * n for n in range(1, 10)]
    assert error_deciles(np.array([3.0])).tolist() == [0] * 9


def test_near_duplicates_flatter_and_can_be_left_out() -> None:
    distance = np.repeat([0.01, 0.3], 40)
    model, baseline = np.where(distance < 0.1, 1e-6, 0.1), np.ones(80)
    groups = list(range(80))
    bins = by_distance(model, baseline, distance, groups, bins=2)
    assert [each.spectra for each in bins] == [40, 40]
    assert bins[0].eta.value > 1e5
    assert bins[1].eta.value == pytest.approx(10.0)
    left = without_near_duplicates(model, baseline, distance, groups)
    assert (left["spectra"].value, left["eta"].value) == (40, pytest.approx(10.0))
    assert without_near_duplicates(model, baseline, 0 * distance, groups) == {}


def test_a_learning_curve_takes_whole_materials_and_keeps_what_it_had() -> None:
    groups = [f"mp-{i // 3}" for i in range(96)]
    steps = learning_steps(groups, 3)
    assert [len(step) for step in steps] == [24, 48, 96]
    for less, more in pairwise(steps):
        assert set(less.tolist()) < set(more.tolist())
        taken = {groups[row] for row in more}
        assert len(more) == sum(group in taken for group in groups)
