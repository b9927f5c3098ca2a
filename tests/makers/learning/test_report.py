"""The arrays behind the page about models are those that its figures come from."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from nearedge.errors import ModelError
from nearedge.makers.learning.evaluate import evaluate_model
from nearedge.makers.learning.freeze import freeze_dataset
from nearedge.makers.learning.plan import options_of
from nearedge.makers.learning.predict import stored_model
from nearedge.makers.learning.report import comparisons, judged_models
from nearedge.makers.learning.splits import Split
from nearedge.makers.learning.train import TrainMaker
from nearedge.models.heads import KernelHead
from nearedge.models.heads.kernel_options import KernelOptions
from nearedge.schemas.judged import LEFT_OUT
from nearedge.store.learned import DatasetStore

from .copper import QUERY, LatticeFeaturizer, add, record

SPLIT = Split(kind="random", validation=0.25, test=0.0, seed=0)


@pytest.fixture
def learned(database: Any) -> Any:
    """A model called `cu`, with a quarter of its data set kept from it."""
    freeze_dataset(database, "cu", QUERY, split=SPLIT)
    maker = TrainMaker(model="cu")
    maker.make.original(maker, "cu")
    return database


def test_a_page_s_figures_are_those_of_an_evaluation(learned: Any) -> None:
    ((outcome, judged),) = judged_models(learned, ["cu"], curve_steps=2)
    dataset = DatasetStore(learned).get("cu")
    plain = evaluate_model(learned, stored_model(learned, "cu"), dataset, LatticeFeaturizer())
    assert outcome == plain
    assert judged.part == "val"
    assert np.mean(judged.errors) == pytest.approx(outcome.metrics["mean_mse"].value)
    assert judged.bound is not None
    assert judged.half_widths is not None
    assert [point.rows for point in judged.curve] == [4, 9]
    assert judged.curve[-1].eta.value == pytest.approx(outcome.metrics["eta"].value, rel=1e-6)


def test_training_rows_are_judged_with_their_material_left_out(learned: Any) -> None:
    ((outcome, judged),) = judged_models(learned, ["cu"], part=LEFT_OUT)
    assert len(judged.labels) == 9
    assert "coverage_95" not in outcome.metrics
    card = stored_model(learned, "cu").card
    assert outcome.metrics["eta"].value == pytest.approx(card.metrics["cv_eta"].value, rel=1e-4)
    with pytest.raises(ModelError, match="no learning curve of cu"):
        judged_models(learned, ["cu"], part=LEFT_OUT, curve_steps=2)


def test_models_are_compared_on_the_spectra_that_both_were_judged_on(learned: Any) -> None:
    ((_, one),) = judged_models(learned, ["cu"])
    shuffled = [2, 0]
    other = replace(
        one,
        name="other",
        labels=[one.labels[n] for n in shuffled],
        groups=[one.groups[n] for n in shuffled],
        errors=2 * one.errors[shuffled],
    )
    ((first, second, found),) = comparisons([one, other])
    assert (first, second) == ("cu (Cu FEFF)", "other")
    assert found.eta_ratio.value == pytest.approx(2.0)
    assert comparisons([one, replace(other, part="test")]) == []


def test_a_learning_curve_is_of_the_options_that_were_asked_for(
    learned: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    maker = TrainMaker(model="asked", options={"feature_steps": 0, "ridge": 0.01})
    maker.make.original(maker, "cu")
    seen: list[KernelOptions] = []
    fit = KernelHead.fit.__func__  # type: ignore[attr-defined]

    def watched(cls: type[KernelHead], rows: Any, options: KernelOptions, **more: Any) -> Any:
        seen.append(options)
        return fit(cls, rows, options, **more)

    monkeypatch.setattr(KernelHead, "fit", classmethod(watched))
    judged_models(learned, ["asked"], curve_steps=2)
    assert seen == [KernelOptions(feature_steps=0, ridge=0.01)] * 2, "no length that was found"
    card = stored_model(learned, "asked").card
    facts = {k: v for k, v in card.hyperparameters.items() if k != "options"}
    old = card.model_copy(update={"hyperparameters": facts})
    assert options_of(old) == KernelOptions()


def test_a_page_names_the_rows_left_aside_and_takes_a_model_s_own_features(
    learned: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(learned, record("mp-99", 6.0, "Po"))
    labels = [row.label for row in DatasetStore(learned).get("cu").rows]
    split = Split(kind="labels", labels={"train": labels[3:], "val": [*labels[:3], "mp-99_000"]})
    freeze_dataset(learned, "po", QUERY, split=split)
    maker = TrainMaker(model="po")
    maker.make.original(maker, "po")
    own = LatticeFeaturizer()
    monkeypatch.setattr("nearedge.makers.learning.report.featurizer_for", lambda model: own)
    ((outcome, _),) = judged_models(learned, ["po"])
    assert outcome.left_aside == ["mp-99_000"]


def test_an_end_to_end_model_has_no_learning_curve(
    learned: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = stored_model(learned, "cu")
    both = replace(model, card=model.card.model_copy(update={"head": "end_to_end"}))
    monkeypatch.setattr("nearedge.makers.learning.report.stored_model", lambda *_: both)
    with pytest.raises(ModelError, match="no learning curve of cu: an end_to_end"):
        judged_models(learned, ["cu"], curve_steps=2)
