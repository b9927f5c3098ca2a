"""Styles follow descriptors; a killed training comes to the same end; weights come back whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nearedge.errors import ModelError
from nearedge.models.styles import (
    StyleModel,
    StyleOptions,
    StyleRows,
    judge,
    track,
    train_styles,
    training,
)
from nearedge.spectra.spectrum import FloatArray

NAMES = ("CN", "RSTD")
QUICK = StyleOptions(
    styles=3,
    width=16,
    layers=3,
    discriminator_layers=2,
    points=0,
    epochs=80,
    batch=50,
    dropout=0.0,
    learning_rate=0.02,
    reconstruction_weight=60.0,
)


def rows(count: int = 200, seed: int = 0, points: int = 41) -> StyleRows:
    """Edges whose peak grows with one descriptor and whose wiggles lengthen with the other."""
    generator = np.random.default_rng(seed)
    first, second, third = generator.normal(size=(3, count, 1))
    energy = np.linspace(0.0, 10.0, points)
    edge = 2.0 / (1.0 + np.exp(-4.0 * (energy - 2.0)))
    peak = np.exp(-((energy - 3.0) ** 2)) * (0.6 + 0.2 * first)
    wiggle = 0.2 * np.sin(energy * (1.0 + 0.2 * second)) + 0.05 * third * np.cos(energy)
    descriptors = np.hstack([np.round(2 * first), second])
    descriptors[::9, 1] = np.nan
    return StyleRows(100.0 * edge * (1.0 + peak + wiggle), descriptors, NAMES)


@pytest.fixture(scope="module")
def trained() -> tuple[StyleModel, dict[str, list[float]]]:
    return train_styles(rows(), QUICK, seed=1)


def test_styles_follow_their_descriptors_on_materials_that_were_not_seen(
    trained: tuple[StyleModel, dict[str, list[float]]],
) -> None:
    model, history = trained
    unseen = rows(100, seed=5)
    verdict = judge(model, unseen, list(range(100)))
    for name in NAMES:
        metric = verdict.metrics[f"spearman_{name}"]
        assert metric.value > 0.8
        assert metric.low is not None
        assert metric.low < metric.value
    nothing_known = np.abs(unseen.spectra - rows().spectra.mean(axis=0)).mean() / model.scale
    assert verdict.metrics["mae"].value < 0.7 * nothing_known
    assert verdict.metrics["inter_style"].value < 0.5
    assert verdict.correlations.shape == (3, 3)
    assert history["reconstruction"][-1] < 0.2 * history["reconstruction"][0]


def test_styles_of_descriptors_that_hang_together_are_kept_apart() -> None:
    generator = np.random.default_rng(0)
    base = rows()
    twin = base.descriptors[:, :1] + 0.5 * generator.normal(size=(len(base.spectra), 1))
    both = StyleRows(base.spectra, np.hstack([base.descriptors[:, :1], twin]), NAMES)
    found = []
    for weight in (0.0, 5.0):
        options = QUICK.model_copy(
            update={"epochs": 10, "adversary_weight": 0.0, "independence_weight": weight}
        )
        model, _ = train_styles(both, options)
        styles = model.encode(both.spectra)
        found.append(abs(np.corrcoef(styles[:, 0], styles[:, 1])[0, 1]))
    free, held_apart = found
    assert free > 0.5
    assert held_apart < 0.25


def test_along_a_style_its_descriptor_grows_and_the_spectrum_with_it(
    trained: tuple[StyleModel, dict[str, list[float]]],
) -> None:
    model, _ = trained
    found = track(model, rows(), 0, steps=5)
    assert np.all(np.diff(found.values) > 0)
    assert found.descriptor[-1] > found.descriptor[0]
    peak = slice(10, 15)  # 2.5 to 3.5 eV, where the first descriptor acts
    assert found.decoded[-1, peak].mean() > found.decoded[0, peak].mean()
    assert found.observed[-1, peak].mean() > found.observed[0, peak].mean()
    assert np.isnan(track(model, rows(), 2).descriptor).all()


def test_weights_come_back_with_everything(
    trained: tuple[StyleModel, dict[str, list[float]]],
) -> None:
    model, _ = trained
    weights = model.to_bytes()
    again = StyleModel.from_bytes(weights)
    assert again.to_bytes() == weights
    assert again.style_names == ("CN", "RSTD", "free")
    styles = model.encode(rows().spectra)
    np.testing.assert_array_equal(again.encode(rows().spectra), styles)
    np.testing.assert_array_equal(again.decode(styles), model.decode(styles))


def test_damaged_weights_are_refused(trained: tuple[StyleModel, dict[str, list[float]]]) -> None:
    weights = trained[0].to_bytes()
    for damaged in (weights[:-100], b"nonsense", b""):
        with pytest.raises(ModelError, match="no weights of styles"):
            StyleModel.from_bytes(damaged)


def test_a_killed_training_goes_on_to_the_very_same_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = QUICK.model_copy(update={"epochs": 5, "dropout": 0.1})
    monkeypatch.setattr(training, "EPOCHS_BETWEEN_CHECKPOINTS", 2)
    expected, losses = train_styles(rows(), options, seed=3)
    run_epoch = training._Training.run_epoch

    def killed(self: training._Training, *args: object) -> None:
        if self.epoch == 3:
            raise KeyboardInterrupt
        run_epoch(self, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(training._Training, "run_epoch", killed)
    with pytest.raises(KeyboardInterrupt):
        train_styles(rows(), options, seed=3, checkpoints=tmp_path)
    seen: list[int] = []

    def counted(self: training._Training, *args: object) -> None:
        seen.append(self.epoch)
        run_epoch(self, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(training._Training, "run_epoch", counted)
    found, history = train_styles(rows(), options, seed=3, checkpoints=tmp_path)
    assert seen == [2, 3, 4]
    assert history == losses
    assert found.to_bytes() == expected.to_bytes()
    assert not list(tmp_path.iterdir()), "what is done leaves no checkpoint"
    # Another seed, other spectra or other options never go on from it.
    monkeypatch.setattr(training._Training, "run_epoch", killed)
    with pytest.raises(KeyboardInterrupt):
        train_styles(rows(), options, seed=3, checkpoints=tmp_path)
    monkeypatch.setattr(training._Training, "run_epoch", counted)
    seen.clear()
    train_styles(rows(), options, seed=4, checkpoints=tmp_path)
    assert seen == [0, 1, 2, 3, 4]


def test_spectra_are_resampled_and_come_back_on_their_own_grid() -> None:
    options = QUICK.model_copy(update={"points": 64, "epochs": 1})
    model, _ = train_styles(rows(60), options)
    assert model.decode(model.encode(rows(60).spectra)).shape == (60, 41)
    assert model.scale == pytest.approx(rows(60).spectra[:, -8:].mean())
    with pytest.raises(ModelError, match="spectra with 41 energies"):
        model.encode(rows(60, points=50).spectra)


def with_descriptor(value: float) -> StyleRows:
    spectra: FloatArray = rows(20).spectra
    return StyleRows(spectra, np.full((20, 1), value), ("CT",))


@pytest.mark.parametrize("value", [2.0, np.nan])
def test_a_descriptor_that_never_differs_is_refused(value: float) -> None:
    with pytest.raises(ModelError, match="CT has fewer than two different values"):
        train_styles(with_descriptor(value), QUICK)


def test_fewer_styles_than_descriptors_are_refused() -> None:
    with pytest.raises(ModelError, match="need as many styles"):
        train_styles(rows(), QUICK.model_copy(update={"styles": 1}))
