"""The kernel head predicts, knows how wrong it is, and refuses what it cannot use."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from pydantic import ValidationError

from nearedge.errors import ModelError
from nearedge.models.heads import KernelHead, TrainingRows, head_from_bytes
from nearedge.models.heads.kernel import KernelOptions
from nearedge.models.heads.kernel_training import (
    LENGTH_PER_FEATURE,
    OTHER_BLOCK,
    left_out_groups,
)
from nearedge.models.heads.posterior import Exact

Make = Callable[..., tuple[np.ndarray, np.ndarray, list[str]]]


def test_it_beats_the_mean_on_materials_not_seen(make_synthetic: Make) -> None:
    features, targets, groups = make_synthetic(150)
    new, truth, _ = make_synthetic(40, seed=1)
    head = KernelHead.fit(TrainingRows(features, targets, groups)).head
    model = np.mean((head.predict(new).mean - truth) ** 2)
    baseline = np.mean((targets.mean(axis=0) - truth) ** 2)
    assert model < 0.4 * baseline


def test_intervals_cover_what_they_say_on_materials_not_seen(make_synthetic: Make) -> None:
    features, targets, groups = make_synthetic(150)
    new, truth, _ = make_synthetic(300, seed=2)
    found = KernelHead.fit(TrainingRows(features, targets, groups)).head.predict(new)
    error = np.abs(found.mean - truth)
    assert np.mean(error <= found.std) == pytest.approx(0.68, abs=0.06)
    assert np.mean(error <= 1.96 * found.std) == pytest.approx(0.95, abs=0.03)


def test_one_site_far_from_training_gets_wider_intervals_and_a_larger_distance(
    make_synthetic: Make,
) -> None:
    features, targets, groups = make_synthetic(60)
    head = KernelHead.fit(TrainingRows(features, targets, groups)).head
    near, far = head.predict(features[:1]), head.predict(features[:1] + 30)
    assert far.std.mean() > 1.5 * near.std.mean()
    assert near.distance[0] == pytest.approx(0, abs=1e-12)
    assert far.distance[0] > 5


@pytest.mark.parametrize("rows", [2, 3, 5])
def test_a_handful_of_spectra_gives_sensible_intervals(make_synthetic: Make, rows: int) -> None:
    features, targets, groups = make_synthetic(rows, sites=1)
    found = KernelHead.fit(TrainingRows(features, targets, groups)).head.predict(
        make_synthetic(50, seed=3)[0]
    )
    assert np.all(np.isfinite(found.mean))
    spread = targets.std(axis=0)
    # With so few the spectra's own spread is all that is known: bars of that size, not smaller.
    assert np.all(found.std.mean(axis=0) > 0.5 * spread)
    assert np.all(found.std < 20 * spread.max())


def test_equal_features_and_equal_spectra_do_no_harm() -> None:
    features, targets = np.ones((4, 3)), np.full((4, 5), 2.0)
    found = KernelHead.fit(TrainingRows(features, targets, list("abcd"))).head.predict(
        np.array([[1.0, 1.0, 2.0]])
    )
    assert found.mean == pytest.approx(2.0)
    assert np.all(found.std > 0)


def test_rows_of_a_single_material_are_left_out_one_by_one(make_synthetic: Make) -> None:
    features, targets, _ = make_synthetic(4)
    found = KernelHead.fit(TrainingRows(features, targets, ["mp-1"] * 8)).head.predict(features)
    assert np.all(np.isfinite(found.std))
    assert np.all(found.std > 0)


@pytest.mark.parametrize("rows", [0, 1])
def test_fewer_than_two_rows_are_refused_with_their_number(rows: int) -> None:
    with pytest.raises(ModelError, match=rf"at least two spectra .* has {rows}"):
        TrainingRows(np.zeros((rows, 3)), np.zeros((rows, 5)), ["a"] * rows)


def test_training_on_what_is_not_finite_is_refused(make_synthetic: Make) -> None:
    features, targets, groups = make_synthetic(4)
    targets[2, 3] = np.nan
    with pytest.raises(ModelError, match="not a finite number"):
        TrainingRows(features, targets, groups)


def test_absorption_is_never_negative() -> None:
    generator = np.random.default_rng(0)
    features = generator.normal(size=(30, 4))
    targets = np.maximum(features @ generator.normal(size=(4, 6)), 0.0)
    head = KernelHead.fit(TrainingRows(features, targets, list(range(30)))).head
    assert head.predict(generator.normal(size=(200, 4)) * 2).mean.min() >= 0.0


def test_defaults_are_kept_where_materials_are_few(make_synthetic: Make) -> None:
    features, targets, groups = make_synthetic(10)
    head = KernelHead.fit(TrainingRows(features, targets, groups)).head
    assert head.length == pytest.approx(LENGTH_PER_FEATURE * features.shape[1])


def test_leaving_a_material_out_in_closed_form_equals_training_without_it(
    make_synthetic: Make,
) -> None:
    features, targets, groups = make_synthetic(12, sites=3)
    kernel = np.exp(-np.abs(features[:, None] - features[None]).sum(axis=2) / 5.0)
    residuals = Exact.of(kernel, 0.01, left_out_groups(groups)).left_out(targets)
    out = np.arange(3, 6)
    rest = np.setdiff1d(np.arange(len(features)), out)
    inner = np.linalg.inv(kernel[np.ix_(rest, rest)] + 0.01 * np.eye(len(rest)))
    cross = kernel[np.ix_(out, rest)]
    mean = targets[rest].mean(axis=0)
    assert residuals.errors[out] == pytest.approx(
        targets[out] - mean - cross @ inner @ (targets[rest] - mean)
    )
    variance = 1.01 - np.einsum("ij,jk,ik->i", cross, inner, cross)
    assert residuals.variance[out] == pytest.approx(variance)


def test_equivalent_sites_err_together_and_distant_ones_do_not(make_synthetic: Make) -> None:
    features, targets, groups = make_synthetic(60)
    head = KernelHead.fit(TrainingRows(features, targets, groups)).head
    points = np.stack([features[0] + 3, features[0] + 3, features[40] - 9])
    correlation = head.correlation(points)
    assert correlation[0, 1] == pytest.approx(1.0)
    assert abs(correlation[0, 2]) < 0.5


def test_saved_and_loaded_it_predicts_the_same(weights: bytes, make_synthetic: Make) -> None:
    head = head_from_bytes("kernel", weights)
    again = KernelHead.from_bytes(head.to_bytes())
    points = make_synthetic(3, seed=5)[0]
    assert head.to_bytes() == weights
    assert np.array_equal(head.predict(points).mean, again.predict(points).mean)
    assert np.array_equal(head.predict(points).std, again.predict(points).std)


def test_weights_cut_anywhere_are_refused(weights: bytes) -> None:
    for length in (0, 5, 100, len(weights) // 2, len(weights) - 1):
        with pytest.raises(ModelError, match="cut short or damaged"):
            KernelHead.from_bytes(weights[:length])


def test_weights_of_shapes_that_do_not_fit_are_refused(weights: bytes) -> None:
    from safetensors.numpy import load, save  # noqa: PLC0415

    arrays = load(weights)
    with pytest.raises(ModelError, match="do not fit together"):
        KernelHead.from_bytes(save({**arrays, "center": arrays["center"][:-1]}))
    with pytest.raises(ModelError, match="do not fit together"):
        KernelHead.from_bytes(save({**arrays, "solution": arrays["solution"] * np.nan}))


def test_features_of_another_featurizer_are_refused(weights: bytes) -> None:
    with pytest.raises(ModelError, match="takes 6 features per site"):
        KernelHead.from_bytes(weights).predict(np.zeros((2, 7)))


def test_a_head_that_this_version_lacks_is_named(weights: bytes) -> None:
    with pytest.raises(ModelError, match="no head 'network'"):
        head_from_bytes("network", weights)


def test_left_out_predictions_are_those_of_a_head_trained_without_the_material(
    make_synthetic: Make,
) -> None:
    features, targets, groups = make_synthetic(20)
    rows = TrainingRows(features, targets, groups)
    left_out = KernelHead.fit(rows).left_out
    assert left_out is not None
    others = np.arange(2, len(features))
    # Standardised by their own mean and spread, which the closed form keeps: nearly the same.
    without = KernelHead.fit(rows.take(others)).head.predict(features[:2])
    assert left_out.mean[:2] == pytest.approx(without.mean, abs=0.02)
    assert left_out.distance[:2] == pytest.approx(without.distance, rel=0.05)
    assert left_out.std[:2].mean() == pytest.approx(without.std.mean(), rel=0.3)


def test_a_kernel_model_has_no_parent(make_synthetic: Make) -> None:
    rows = TrainingRows(*make_synthetic(4))
    with pytest.raises(ModelError, match="solved at once"):
        KernelHead.fit(rows, parent=KernelHead.fit(rows).head)


def blocks_and_edges(
    make: Make, materials: int, *, seed: int = 0
) -> tuple[TrainingRows, np.ndarray]:
    """Spectra that three of nine features decide, moved by an edge that a fourth one decides."""
    features, targets, groups = make(materials, seed=seed)
    noise = np.random.default_rng(seed + 10).normal(size=(len(features), 3))
    fine = np.linspace(0, 8, 33)
    shapes = np.stack([np.interp(fine, np.arange(9), row) for row in targets])
    edges = 2.0 + 0.8 * features[:, 0]
    moved_by = np.stack(
        [np.interp(fine - edge, fine, row) for edge, row in zip(edges, shapes, strict=True)]
    )
    rows = TrainingRows(
        np.hstack([features, noise]),
        moved_by,
        groups,
        step=0.25,
        blocks={"useful": 6, "noise": 3},
        edges=edges,
    )
    return rows, edges


def test_several_blocks_are_weighed_and_noise_counts_least(make_synthetic: Make) -> None:
    rows, _ = blocks_and_edges(make_synthetic, 80)
    process = KernelHead.fit(rows).head.process
    assert process.kernel == "matern32"
    assert process.factors[:6].min() > 3 * process.factors[6:].max()


def test_spectra_aligned_by_their_edge_are_predicted_better(make_synthetic: Make) -> None:
    rows, _ = blocks_and_edges(make_synthetic, 80)
    new, _ = blocks_and_edges(make_synthetic, 60, seed=1)
    error = {
        shares: np.mean(
            (
                KernelHead.fit(rows, KernelOptions(search_steps=3, edge_share=1, alignments=shares))
                .head.predict(new.features)
                .mean
                - new.targets
            )
            ** 2
        )
        for shares in ("", "1", "0.5,1")
    }
    assert error["1"] < 0.8 * error[""]
    assert error["0.5,1"] < error[""]


def test_blocks_of_few_spectra_keep_the_usual_weights(make_synthetic: Make) -> None:
    rows, _ = blocks_and_edges(make_synthetic, 2)
    fitted = KernelHead.fit(rows)
    assert fitted.head.edge is None
    assert fitted.head.process.factors[0] ** 2 * 6 == pytest.approx(OTHER_BLOCK**2)
    assert np.all(np.isfinite(fitted.head.predict(rows.features).std))


def test_where_one_spectrum_states_no_edge_none_is_moved(make_synthetic: Make) -> None:
    rows, edges = blocks_and_edges(make_synthetic, 60)
    edges[3] = np.nan
    assert KernelHead.fit(rows, KernelOptions(search_steps=2)).head.edge is None


def test_many_rows_speak_through_some_of_them(make_synthetic: Make) -> None:
    rows, _ = blocks_and_edges(make_synthetic, 150)
    new, _ = blocks_and_edges(make_synthetic, 60, seed=1)
    fitted = KernelHead.fit(rows, KernelOptions(search_steps=3, exact_rows=100, inducing_rows=60))
    assert len(fitted.head.process.train) == 60
    found = fitted.head.predict(new.features)
    baseline = np.mean((fitted.head.mean - new.targets) ** 2)
    assert np.mean((found.mean - new.targets) ** 2) < 0.5 * baseline
    assert np.mean(np.abs(found.mean - new.targets) <= found.std) == pytest.approx(0.68, abs=0.12)
    assert fitted.left_out is not None
    assert fitted.left_out.std.shape == rows.targets.shape


def test_all_rows_as_inducing_rows_give_the_exact_process(make_synthetic: Make) -> None:
    rows, _ = blocks_and_edges(make_synthetic, 30)
    exact_one = KernelHead.fit(rows, KernelOptions(search_steps=0))
    same = KernelHead.fit(
        rows, KernelOptions(search_steps=0, exact_rows=2, inducing_rows=len(rows.targets))
    )
    points = rows.features[:7] + 0.3
    one, other = exact_one.head.predict(points), same.head.predict(points)
    assert other.mean == pytest.approx(one.mean, abs=2e-3)
    assert other.std == pytest.approx(one.std, rel=0.02)
    assert same.left_out is not None
    assert exact_one.left_out is not None
    assert same.left_out.mean == pytest.approx(exact_one.left_out.mean, abs=0.02)
    assert same.head.correlation(points) == pytest.approx(
        exact_one.head.correlation(points), abs=0.02
    )


@pytest.mark.parametrize("options", [{}, {"exact_rows": 50, "inducing_rows": 40}])
def test_an_aligned_head_saved_and_loaded_predicts_the_same(
    make_synthetic: Make, options: dict[str, int]
) -> None:
    rows, _ = blocks_and_edges(make_synthetic, 60)
    head = KernelHead.fit(rows, KernelOptions(search_steps=2, **options)).head
    again = KernelHead.from_bytes(head.to_bytes())
    assert again.to_bytes() == head.to_bytes()
    points = rows.features[:5] + 0.1
    one, other = head.predict(points), again.predict(points)
    assert np.array_equal(one.mean, other.mean)
    assert np.array_equal(one.std, other.std)
    assert again.hyperparameters == head.hyperparameters


def test_a_file_of_the_first_version_is_a_laplacian_without_alignment(
    weights: bytes, make_synthetic: Make
) -> None:
    from safetensors.numpy import load  # noqa: PLC0415

    arrays = load(weights)
    # Exactly the arrays that version 1 wrote.
    assert set(arrays) == {
        *("center", "scale", "train", "solution", "mean", "length", "ridge"),
        *("error_energy_scale", "error_exponent", "error_local"),
    }
    points = make_synthetic(3, seed=5)[0] * 10 + 30
    standard = (points - arrays["center"]) / arrays["scale"]
    distance = np.abs(standard[:, None] - arrays["train"][None]).sum(axis=2)
    expected = np.exp(-distance / arrays["length"]) @ arrays["solution"] + arrays["mean"]
    assert KernelHead.from_bytes(weights).predict(points).mean == pytest.approx(expected)


def test_alignments_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(ValidationError, match="numbers joined by commas"):
        KernelOptions(alignments="0.4;1")
    with pytest.raises(ValidationError, match="beyond 2"):
        KernelOptions(alignments="9")
