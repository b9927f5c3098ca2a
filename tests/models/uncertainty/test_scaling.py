import numpy as np
import pytest

from nearedge.errors import ModelError
from nearedge.models.uncertainty.conformal import conformal_quantile, rows_of_groups
from nearedge.models.uncertainty.scaling import IntervalScale

POINTS = 12


def world(materials: int, seed: int) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """Errors with heavy tails and materials of their own, under deviations in a wrong unit."""
    generator = np.random.default_rng(seed)
    sizes = generator.integers(1, 6, size=materials)
    groups = np.repeat(np.arange(materials), sizes)
    level = np.exp(0.4 * generator.normal(size=materials))[groups]
    std = np.exp(generator.normal(size=len(groups)))[:, None] * np.ones(POINTS)
    profile = np.linspace(0.5, 3.0, POINTS)
    errors = generator.standard_t(4, size=(len(groups), POINTS)) * level[:, None] * std * profile
    return errors, 7.0 * std, groups.tolist()


def share_inside(scale: IntervalScale, level: float, seed: int) -> float:
    errors, std, groups = world(400, seed)
    inside = np.abs(errors) <= scale.half_width(std, level)
    return float(np.mean([inside[rows].mean() for rows in rows_of_groups(groups)]))


@pytest.mark.parametrize("materials", [30, 60, 400])
def test_intervals_hold_for_materials_not_seen_at_both_levels(materials):
    shares = [
        [share_inside(scale, level, 1000 + seed) for level in (0.68, 0.95)]
        for seed in range(5)
        for scale in [IntervalScale.fit(*world(materials, seed))]
    ]
    found = np.mean(shares, axis=0)
    # The material to come counts as one that may be anything: few make intervals wider.
    assert np.all(found > [0.66, 0.93])
    assert np.all(found < np.array([0.70, 0.97]) + 1 / materials)


def test_with_very_few_materials_intervals_are_rather_too_wide():
    shares = [share_inside(IntervalScale.fit(*world(5, seed)), 0.95, seed) for seed in range(8)]
    assert 0.92 < np.mean(shares) <= 1.0


def test_energies_that_are_harder_get_wider_intervals():
    factors = IntervalScale.fit(*world(600, 3)).factors
    assert factors[:, -1] / factors[:, 0] == pytest.approx([6.0, 6.0], rel=0.25)
    assert np.all(factors[1] > factors[0])


def test_a_material_counts_once_however_many_sites_it_has():
    errors = np.concatenate([np.full((90, 1), 50.0), np.arange(1.0, 31.0)[:, None]])
    groups = ["large"] * 90 + [f"small {n}" for n in range(30)]
    rows = rows_of_groups(groups)
    assert conformal_quantile(errors, rows, 0.68)[0] == 22.0


def test_deviations_of_zero_and_single_rows_are_no_trouble():
    errors = np.full((1, 3), 0.1)
    assert np.all(np.isfinite(IntervalScale.fit(errors, np.zeros((1, 3)), ["a"]).factors))
    with pytest.raises(ModelError, match="do not belong together"):
        IntervalScale.fit(errors, np.zeros((1, 2)), ["a"])


def test_arrays_carry_it():
    scale = IntervalScale.fit(*world(40, 1))
    again = IntervalScale.from_arrays(scale.to_arrays())
    np.testing.assert_array_equal(again.factors, scale.factors)
