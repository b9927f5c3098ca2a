"""Ensembles and averages: better than their members, honest about what they left out."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from nearedge.errors import ModelError
from nearedge.models.heads import KernelHead, TrainingRows, head_from_bytes
from nearedge.models.heads.average import AverageHead, AverageOptions
from nearedge.models.heads.base import Fitted, Head
from nearedge.models.heads.ensemble import EnsembleHead, EnsembleOptions
from nearedge.models.heads.residual import ResidualHead, ResidualOptions

Make = Callable[..., tuple[np.ndarray, np.ndarray, list[str]]]

MEMBER = {"width": 16, "depth": 1, "learning_rate": 1e-2, "max_epochs": 10, "dropout": 0.0}
KERNELS = EnsembleOptions(kind="kernel", folds=3, members=6)
NETWORKS = EnsembleOptions(settings=json.dumps(MEMBER), folds=2, members=2)


def mse(head: Head, features: np.ndarray, truth: np.ndarray) -> float:
    return float(np.mean((head.predict(features).mean - truth) ** 2))


@pytest.fixture(scope="module")
def kept() -> dict[str, Fitted[EnsembleHead]]:
    return {}


def networks(
    kept: dict[str, Fitted[EnsembleHead]], make: Make
) -> tuple[Fitted[EnsembleHead], TrainingRows]:
    rows = TrainingRows(*make(100))
    if "networks" not in kept:
        kept["networks"] = EnsembleHead.fit(rows, NETWORKS)
    return kept["networks"], rows


def test_an_ensemble_errs_less_than_its_members(
    make_synthetic: Make, kept: dict[str, Fitted[EnsembleHead]]
) -> None:
    head = networks(kept, make_synthetic)[0].head
    new, truth, _ = make_synthetic(100, seed=2)
    assert mse(head, new, truth) < np.mean([mse(member, new, truth) for member in head.members])
    spread = head.spread(new)
    one, other = (member.predict(new).mean for member in head.members)
    assert spread == pytest.approx(np.abs(one - other) / np.sqrt(2))


def test_left_out_rows_are_predicted_by_the_members_that_did_not_see_them(
    make_synthetic: Make, kept: dict[str, Fitted[EnsembleHead]]
) -> None:
    fitted, rows = networks(kept, make_synthetic)
    assert fitted.left_out is not None
    members = [member.predict(rows.features).mean for member in fitted.head.members]
    by = np.array(
        [
            [np.array_equal(fitted.left_out.mean[row], mean[row]) for mean in members]
            for row in range(len(rows.features))
        ]
    )
    assert np.all(by.sum(axis=1) == 1)
    # The two rows of a material are left out together.
    assert np.array_equal(by[::2], by[1::2])
    assert np.mean((fitted.left_out.mean - rows.targets) ** 2) > mse(
        fitted.head, rows.features, rows.targets
    )
    assert set(fitted.history) == {
        f"{number}.{name}" for number in (0, 1) for name in ("train_loss", "validation_loss")
    }


def test_intervals_of_an_ensemble_hold_on_materials_not_seen(make_synthetic: Make) -> None:
    fitted = EnsembleHead.fit(TrainingRows(*make_synthetic(150)), KERNELS)
    new, truth, _ = make_synthetic(300, seed=3)
    found = fitted.head.predict(new)
    error = np.abs(found.mean - truth)
    assert np.mean(error <= found.std) == pytest.approx(0.68, abs=0.06)
    assert np.mean(error <= 1.96 * found.std) == pytest.approx(0.95, abs=0.03)
    assert fitted.head.predict(new[:1] + 30).std.mean() > 1.5 * found.std.mean()


def test_intervals_are_on_the_wide_side_where_each_row_is_left_out_once(
    make_synthetic: Make,
) -> None:
    once = KERNELS.model_copy(update={"members": 3})
    fitted = EnsembleHead.fit(TrainingRows(*make_synthetic(80)), once)
    new, truth, _ = make_synthetic(300, seed=3)
    found = fitted.head.predict(new)
    assert 0.94 < np.mean(np.abs(found.mean - truth) <= 1.96 * found.std) < 0.995


def test_members_may_differ_by_seed_alone(make_synthetic: Make) -> None:
    options = NETWORKS.model_copy(update={"folds": 0})
    fitted = EnsembleHead.fit(TrainingRows(*make_synthetic(20)), options)
    assert fitted.left_out is None
    found = fitted.head.predict(make_synthetic(5, seed=4)[0])
    assert np.all(found.std > 0)
    assert np.all(fitted.head.spread(make_synthetic(5, seed=4)[0]) > 0)


def test_a_stored_ensemble_predicts_the_same_and_a_damaged_one_is_refused(
    make_synthetic: Make, kept: dict[str, Fitted[EnsembleHead]]
) -> None:
    head = networks(kept, make_synthetic)[0].head
    weights = head.to_bytes()
    again = head_from_bytes("ensemble", weights)
    features = make_synthetic(10, seed=5)[0]
    one, other = head.predict(features), again.predict(features)
    for name in ("mean", "std", "distance"):
        assert np.array_equal(getattr(one, name), getattr(other, name))
    assert again.to_bytes() == weights
    assert np.array_equal(head.correlation(features), again.correlation(features))
    for damaged in (
        weights[:-40],
        KernelHead.fit(TrainingRows(*make_synthetic(5))).head.to_bytes(),
    ):
        with pytest.raises(ModelError, match="cannot be read"):
            head_from_bytes("ensemble", damaged)


def test_an_ensemble_is_fine_tuned_member_by_member(
    make_synthetic: Make, kept: dict[str, Fitted[EnsembleHead]]
) -> None:
    parent = networks(kept, make_synthetic)[0].head
    features, targets, groups = make_synthetic(12, seed=9)
    rows = TrainingRows(features, targets + 0.2, groups)
    child = EnsembleHead.fit(rows, NETWORKS, parent=parent).head
    assert all(member.hyperparameters["fine_tuned"] for member in child.members)
    both = TrainingRows(*make_synthetic(100))
    again = EnsembleHead.fit(both, NETWORKS, parent=parent, seed=5)
    assert again.left_out is not None
    for member, before in zip(again.head.members, parent.members, strict=True):
        # What a member learned from, its parent had too: what it left out, the parent had not.
        assert np.array_equal(member.known, before.known)
    alone = EnsembleHead.fit(rows, NETWORKS, parent=parent.members[0])
    assert alone.left_out is None
    with pytest.raises(ModelError, match="take as many"):
        EnsembleHead.fit(rows, KERNELS, parent=parent)


def test_members_that_are_trained_already_are_not_trained_again(
    make_synthetic: Make, tmp_path: Path
) -> None:
    rows = TrainingRows(*make_synthetic(20))
    first = EnsembleHead.fit(rows, NETWORKS, checkpoints=tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "1"]
    (tmp_path / "1" / "training.ckpt").unlink()
    again = EnsembleHead.fit(rows, NETWORKS, checkpoints=tmp_path)
    assert again.head.to_bytes() == first.head.to_bytes()
    assert again.history == first.history


def test_an_average_weighs_its_kinds_by_materials_left_out(
    make_synthetic: Make, tmp_path: Path
) -> None:
    rows = TrainingRows(*make_synthetic(60))
    options = AverageOptions(settings=json.dumps({"ensemble": NETWORKS.model_dump()}))
    fitted = AverageHead.fit(rows, options, checkpoints=tmp_path)
    assert fitted.left_out is not None
    head = fitted.head
    assert head.weights.sum() == pytest.approx(1)
    left_out = np.mean((fitted.left_out.mean - rows.targets) ** 2)
    kernel = KernelHead.fit(rows).left_out
    assert kernel is not None
    assert left_out <= np.mean((kernel.mean - rows.targets) ** 2) * (1 + 1e-9)
    new = make_synthetic(20, seed=3)[0]
    parts = [member.predict(new).mean for member in head.members.values()]
    expected = head.weights[0] * parts[0] + head.weights[1] * parts[1]
    assert head.predict(new).mean == pytest.approx(expected)
    again = head_from_bytes("average", head.to_bytes())
    assert np.array_equal(again.predict(new).std, head.predict(new).std)
    with pytest.raises(ModelError, match="no parent"):
        AverageHead.fit(rows, options, parent=head)


def test_kinds_that_tell_nothing_of_left_out_rows_weigh_the_same(make_synthetic: Make) -> None:
    rows = TrainingRows(*make_synthetic(20))
    short = ResidualOptions(**{**MEMBER, "max_epochs": 2})
    options = AverageOptions(
        kinds="kernel,residual", settings=json.dumps({"residual": short.model_dump()})
    )
    fitted = AverageHead.fit(rows, options)
    assert fitted.left_out is None
    assert fitted.head.weights == pytest.approx([0.5, 0.5])
    alone = ResidualHead.fit(rows, short).head
    new = make_synthetic(5, seed=3)[0]
    assert np.array_equal(
        fitted.head.members["residual"].predict(new).mean, alone.predict(new).mean
    )


def test_options_that_fit_no_member_are_refused(make_synthetic: Make) -> None:
    with pytest.raises(ValidationError, match="cannot share"):
        EnsembleOptions(folds=3, members=5)
    with pytest.raises(ValidationError, match="JSON"):
        EnsembleOptions(settings="[1]")
    with pytest.raises(ValidationError, match="two kinds"):
        AverageOptions(kinds="kernel")
    options = EnsembleOptions(settings='{"depht": 3}')
    with pytest.raises(ModelError, match="no such option"):
        EnsembleHead.fit(TrainingRows(*make_synthetic(5)), options)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"kinds": "kernel,oracle"}, "no head 'oracle' to average"),
        ({"kinds": "kernel,end_to_end"}, "no head 'end_to_end' to average"),
        ({"settings": '{"kernal": {"ridge": 0.1}}'}, "not of 'kernal'"),
        ({"settings": '{"kernel": {"rigde": 0.1}}'}, "rigde"),
        ({"settings": '{"kernel": 3}'}, "settings"),
    ],
)
def test_a_wrong_kind_or_setting_of_an_average_is_found_before_anything_is_trained(
    options: dict[str, str], reason: str
) -> None:
    with pytest.raises(ValidationError, match=reason):
        AverageOptions(**options)


def test_a_head_says_whether_it_will_tell_of_materials_left_out() -> None:
    assert KernelHead.tells_left_out()
    assert EnsembleHead.tells_left_out()
    assert not EnsembleHead.tells_left_out(EnsembleOptions(folds=0))
    assert AverageHead.tells_left_out()
    assert not AverageHead.tells_left_out(AverageOptions(kinds="kernel,residual"))
