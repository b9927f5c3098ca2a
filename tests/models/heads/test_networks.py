"""Heads that are networks: they learn, know their limits, are fine-tuned, stored and refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from pydantic import ValidationError

from nearedge.errors import ModelError
from nearedge.models.heads import KernelHead, TrainingRows, head_from_bytes, head_kind
from nearedge.models.heads.network import NetworkHead
from nearedge.models.heads.residual import ResidualHead, ResidualOptions
from nearedge.models.heads.xasblock import PUBLISHED, XASBlockHead, XASBlockOptions
from nearedge.models.training.options import TrainingOptions

Make = Callable[..., tuple[np.ndarray, np.ndarray, list[str]]]

SMALL_BLOCK = XASBlockOptions(
    widths="32-32", dropout=0.1, learning_rate=1e-2, max_epochs=25, batch_size=64
)
SMALL_RESIDUAL = ResidualOptions(
    width=32, depth=1, dropout=0.0, learning_rate=1e-2, max_epochs=25, embedding=4
)
KINDS = [(XASBlockHead, SMALL_BLOCK), (ResidualHead, SMALL_RESIDUAL)]


def rows_of(make: Make, materials: int, **more: int) -> TrainingRows:
    return TrainingRows(*make(materials, **more))


def with_element(rows: TrainingRows, number: int) -> TrainingRows:
    """Put the atomic number before the features."""
    column = np.full((len(rows.features), 1), float(number))
    return replace(
        rows,
        features=np.hstack([column, rows.features]),
        blocks={"element": 1, "other": rows.features.shape[1]},
    )


@pytest.fixture(scope="module")
def fitted() -> dict[str, NetworkHead]:
    """One trained head of each kind, which tests only read."""
    return {}


def trained(kept: dict[str, NetworkHead], make: Make, kind: type[NetworkHead]) -> NetworkHead:
    if kind.name not in kept:
        options = dict(KINDS)[kind]
        kept[kind.name] = kind.fit(rows_of(make, 200), options).head
    return kept[kind.name]


@pytest.mark.parametrize("kind", [XASBlockHead, ResidualHead])
def test_it_beats_the_mean_on_materials_not_seen_and_its_intervals_hold(
    make_synthetic: Make, fitted: dict[str, NetworkHead], kind: type[NetworkHead]
) -> None:
    head = trained(fitted, make_synthetic, kind)
    new, truth, _ = make_synthetic(300, seed=2)
    found = head.predict(new)
    error = np.abs(found.mean - truth)
    assert np.mean(error**2) < 0.3 * np.mean((head.mean - truth) ** 2)
    assert np.mean(error <= found.std) == pytest.approx(0.68, abs=0.12)
    assert np.mean(error <= 1.96 * found.std) == pytest.approx(0.95, abs=0.05)


@pytest.mark.parametrize("kind", [XASBlockHead, ResidualHead])
def test_far_from_training_is_far_and_unsure(
    make_synthetic: Make, fitted: dict[str, NetworkHead], kind: type[NetworkHead]
) -> None:
    head = trained(fitted, make_synthetic, kind)
    features = make_synthetic(200)[0]
    near, far = head.predict(features), head.predict(features[:1] + 30)
    assert np.median(near.distance) == pytest.approx(0, abs=1e-7)
    assert far.distance[0] > 5
    assert far.std.mean() > 1.5 * near.std.mean()


@pytest.mark.parametrize("kind", [XASBlockHead, ResidualHead])
def test_a_stored_head_predicts_the_same_and_a_damaged_one_is_refused(
    make_synthetic: Make, fitted: dict[str, NetworkHead], kind: type[NetworkHead]
) -> None:
    head = trained(fitted, make_synthetic, kind)
    weights = head.to_bytes()
    again = head_from_bytes(kind.name, weights)
    features = make_synthetic(20, seed=5)[0]
    one, other = head.predict(features), again.predict(features)
    for name in ("mean", "std", "distance"):
        assert np.array_equal(getattr(one, name), getattr(other, name))
    assert again.to_bytes() == weights
    assert again.hyperparameters == head.hyperparameters
    other_kind = next(name for name in ("xasblock", "residual") if name != kind.name)
    for damaged, name in ((weights[:-50], kind.name), (weights, other_kind), (b"", kind.name)):
        with pytest.raises(ModelError, match="cannot be read"):
            head_from_bytes(name, damaged)


@pytest.mark.parametrize(("kind", "options"), KINDS)
def test_the_same_seed_gives_the_same_head(
    make_synthetic: Make, kind: type[NetworkHead], options: TrainingOptions
) -> None:
    rows, short = rows_of(make_synthetic, 30), options.model_copy(update={"max_epochs": 2})
    first, second, other = (kind.fit(rows, short, seed=seed).head for seed in (4, 4, 5))
    assert first.to_bytes() == second.to_bytes() != other.to_bytes()


@pytest.mark.parametrize(("kind", "options"), KINDS)
def test_a_head_fine_tuned_starts_where_its_parent_ended(
    make_synthetic: Make,
    fitted: dict[str, NetworkHead],
    kind: type[NetworkHead],
    options: TrainingOptions,
) -> None:
    parent = trained(fitted, make_synthetic, kind)
    rows = rows_of(make_synthetic, 12, seed=9)
    rows = replace(rows, targets=rows.targets + 0.2)
    few = options.model_copy(update={"max_epochs": 10, "fine_tuning_rate": 3e-3})
    before = parent.to_bytes()
    child = kind.fit(rows, few, parent=parent).head
    alone = kind.fit(rows, few).head
    new, truth, _ = make_synthetic(50, seed=10)
    error = {
        name: np.mean((head.predict(new).mean - truth - 0.2) ** 2)
        for name, head in (("child", child), ("alone", alone), ("parent", parent))
    }
    assert error["child"] < min(error["alone"], error["parent"])
    assert child.hyperparameters["fine_tuned"] is True
    other = kind.fit(rows, few, parent=parent, seed=7).head
    assert other.hyperparameters["held_out_seed"] == parent.hyperparameters["held_out_seed"]
    assert parent.to_bytes() == before


def test_parents_of_another_kind_or_shape_are_refused(
    make_synthetic: Make, fitted: dict[str, NetworkHead]
) -> None:
    rows = rows_of(make_synthetic, 10)
    kernel = KernelHead.fit(rows).head
    with pytest.raises(ModelError, match="cannot be fine-tuned from a kernel"):
        XASBlockHead.fit(rows, SMALL_BLOCK, parent=kernel)
    parent = trained(fitted, make_synthetic, XASBlockHead)
    with pytest.raises(ModelError, match="6 features into 9"):
        XASBlockHead.fit(with_element(rows, 22), SMALL_BLOCK, parent=parent)


@pytest.mark.parametrize("rows", [2, 3, 5])
def test_a_handful_of_spectra_gives_sensible_intervals(make_synthetic: Make, rows: int) -> None:
    few = rows_of(make_synthetic, rows, sites=1)
    for kind, options in KINDS:
        found = kind.fit(few, options.model_copy(update={"max_epochs": 3})).head.predict(
            make_synthetic(50, seed=3)[0]
        )
        assert np.all(np.isfinite(found.mean))
        assert np.all(found.std.mean(axis=0) > 0.5 * few.targets.std(axis=0))


def test_spectra_in_any_unit_are_learned_alike(make_synthetic: Make) -> None:
    rows = rows_of(make_synthetic, 30)
    tiny = replace(rows, targets=rows.targets * 1e-3)
    short = SMALL_BLOCK.model_copy(update={"max_epochs": 2})
    large, small = (XASBlockHead.fit(r, short).head for r in (rows, tiny))
    assert small.predict(rows.features).mean == pytest.approx(
        large.predict(rows.features).mean * 1e-3, rel=1e-5
    )


def test_one_residual_network_tells_elements_apart_and_learns_new_ones(
    make_synthetic: Make,
) -> None:
    rows = rows_of(make_synthetic, 60)
    one, two = with_element(rows, 22), with_element(rows, 29)
    both = replace(
        one,
        features=np.vstack([one.features, two.features]),
        targets=np.vstack([one.targets, two.targets + 1.0]),
        groups=[*one.groups, *(f"other-{group}" for group in two.groups)],
    )
    head = ResidualHead.fit(both, SMALL_RESIDUAL).head
    apart = head.predict(two.features).mean - head.predict(one.features).mean
    assert apart.mean() == pytest.approx(1.0, abs=0.15)
    never_seen = head.predict(with_element(rows, 26).features).mean
    assert np.all(np.isfinite(never_seen))
    third = replace(with_element(rows, 26), targets=rows.targets + 2.0)
    few = SMALL_RESIDUAL.model_copy(update={"fine_tuning_rate": 1e-2})
    child = ResidualHead.fit(third, few, parent=head).head
    assert child.hyperparameters["element"] == "22-29-26"
    again = ResidualHead.from_bytes(child.to_bytes())
    assert np.array_equal(again.predict(third.features).mean, child.predict(third.features).mean)
    assert np.mean((child.predict(third.features).mean - third.targets) ** 2) < 0.1


def test_the_published_experts_can_be_named() -> None:
    assert XASBlockOptions.published("Cu").widths == "600-600-400"
    assert XASBlockOptions.published("Cu", "vasp").batch_size == 64
    assert XASBlockOptions.published("Zn").widths == "500-500-550"
    assert {code for _, code in PUBLISHED} == {"feff", "vasp"}
    with pytest.raises(ValidationError, match="write them as"):
        XASBlockOptions(widths="600x400")


def test_every_kind_can_be_found_by_name() -> None:
    assert head_kind("xasblock") is XASBlockHead
    assert head_kind("residual") is ResidualHead
