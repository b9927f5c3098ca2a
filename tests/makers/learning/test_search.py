"""A search tries what it is told to, within its budget, goes on where it was stopped, and ends."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from jobflow import JobStore, run_locally
from maggma.stores import MemoryStore

from nearedge.errors import DatasetError, ModelError
from nearedge.makers.learning import search
from nearedge.makers.learning.freeze import freeze_dataset
from nearedge.makers.learning.search import ChooseMaker, SearchOutcome, TrialMaker, usual_space
from nearedge.makers.learning.train import CHECKPOINTS, TrainMaker
from nearedge.models.heads import KernelHead
from nearedge.schemas.trial import Dimension, TrialDoc
from nearedge.settings import get_settings
from nearedge.store.learned import ModelStore
from nearedge.store.trials import TrialStore
from nearedge.workflows.search import SearchFlowMaker, submit_search

from .copper import QUERY

SPACE = [Dimension(name="ridge", low=1e-6, high=10.0, log=True)]
MAKER = TrainMaker(model="found")


@pytest.fixture
def frozen(database: Any) -> Any:
    freeze_dataset(database, "cu", QUERY)
    return database


def trial(number: int, budget: float | None = None) -> search.TrialOutcome:
    maker = TrialMaker(train_maker=MAKER, space=SPACE, number=number, budget=budget)
    outcome: search.TrialOutcome = maker.make.original(maker, "cu")
    return outcome


def test_the_best_of_the_trials_is_trained_and_registered(frozen: Any) -> None:
    flow = SearchFlowMaker(train_maker=MAKER, space=SPACE, trials=6).make("cu")
    outputs = run_locally(flow, store=JobStore(MemoryStore()), ensure_success=True, log=False)
    outcome: SearchOutcome = outputs[flow.jobs[-1].uuid][1].output
    trials = TrialStore(frozen).of_search(outcome.search_id)
    assert [each.number for each in trials] == list(range(6))
    assert (outcome.completed, outcome.failed, outcome.over_budget) == (6, 0, 0)
    scores = {each.score: each for each in trials}
    assert outcome.best.score == min(s for s in scores if s is not None)
    assert outcome.best.score <= trials[0].score, "the first tries the default"
    card = ModelStore(frozen).card("found")
    assert card.hyperparameters["ridge"] == outcome.best.asked["ridge"]
    assert card.model_id == outcome.trained.model_id
    assert trials[0].asked == {"ridge": KernelHead.options().model_dump()["ridge"]}
    assert not list(get_settings().home.rglob("*.*")), "no file is left over"


def test_a_search_that_was_stopped_goes_on_with_what_it_had_asked(
    frozen: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = [trial(number) for number in range(2)]

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(search, "_left_out", killed)
        with pytest.raises(KeyboardInterrupt):
            trial(2)
    (asked,) = [t for t in TrialStore(frozen).of_search(first[0].search_id) if t.number == 2]
    assert asked.state == "asked"
    done = trial(2)
    assert done.asked == asked.asked
    with monkeypatch.context() as patch:
        patch.setattr(search, "_left_out", killed)  # nothing is computed a second time
        assert [trial(number) for number in range(3)] == [*first, done]


def test_who_finds_a_trial_told_by_one_that_was_killed_clears_its_checkpoints_away(
    frozen: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    tell, kept = TrialStore.tell, list[Path]()

    def tell_and_die(self: TrialStore, told: TrialDoc) -> None:
        tell(self, told)
        kept.append(get_settings().home / CHECKPOINTS / told.trial_id)
        kept[0].mkdir(parents=True)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(TrialStore, "tell", tell_and_die)
        with pytest.raises(KeyboardInterrupt):
            trial(0)
    assert trial(0).state == "completed"
    assert not kept[0].exists()


def test_what_is_asked_hangs_on_seed_and_number_and_what_was_found(frozen: Any) -> None:
    outcomes = [trial(number) for number in range(3)]
    asked = {each.asked["ridge"] for each in outcomes}
    assert len(asked) == 3
    frozen["trials"].delete_many({})
    assert [trial(number).asked for number in range(3)] == [each.asked for each in outcomes]


def test_no_trial_begins_once_the_budget_is_spent(frozen: Any) -> None:
    done = trial(0)
    assert done.cpu_seconds > 0
    late = trial(1, budget=done.cpu_seconds / 2)
    assert (late.state, late.score) == ("over_budget", None)
    assert len(TrialStore(frozen).of_search(done.search_id)) == 1
    maker = ChooseMaker(train_maker=MAKER)
    outcome = maker.make.original(maker, "cu", [done, late])
    assert (outcome.completed, outcome.over_budget) == (1, 1)
    # With a larger one the same search goes on.
    assert trial(1, budget=1e6).state == "completed"


def test_options_that_fail_are_told_and_stop_nothing(frozen: Any) -> None:
    space = [Dimension(name="ridge", choices=[-1.0, 1e-3])]
    maker = TrialMaker(train_maker=MAKER, space=space)
    outcomes = []
    for number in range(5):
        maker.number = number
        outcomes.append(maker.make.original(maker, "cu"))
    failed = [each for each in outcomes if each.state == "failed"]
    assert failed
    assert all("ridge" in each.message for each in failed)
    choose = ChooseMaker(train_maker=MAKER)
    with pytest.raises(ModelError, match=r"No trial of the search gave a model: .*ridge"):
        choose.make.original(choose, "cu", failed)


def test_without_a_space_every_number_is_varied_around_its_default() -> None:
    for dimension in usual_space(KernelHead, {}):
        default = KernelHead.options.model_fields[dimension.name].default
        assert dimension.low < default < dimension.high
    names = {dimension.name for dimension in usual_space(KernelHead, {})}
    assert "ridge" in names
    with pytest.raises(ModelError, match="no number to vary"):
        usual_space(KernelHead, dict.fromkeys(names, 1.0))


@pytest.mark.parametrize(
    "given",
    [{}, {"low": 2.0, "high": 1.0}, {"low": 0.0, "high": 1.0, "log": True},
     {"low": 0.0, "high": 1.0, "choices": [1]}],
)  # fmt: skip
def test_a_range_that_is_none_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="range"):
        Dimension(name="ridge", **given)


def test_nothing_is_written_outside_the_database(frozen: Any, tmp_path: Path) -> None:
    trial(1)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_head_that_cannot_tell_is_trained_by_folds_alone(
    frozen: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    fits: list[int] = []
    fit = KernelHead.fit.__func__  # type: ignore[attr-defined]

    def counted(cls: type[KernelHead], rows: Any, *given: Any, **more: Any) -> Any:
        fits.append(len(rows.features))
        return fit(cls, rows, *given, **more)

    monkeypatch.setattr(KernelHead, "fit", classmethod(counted))
    monkeypatch.setattr(KernelHead, "tells_left_out", classmethod(lambda *_: False))
    assert trial(0).state == "completed"
    assert len(fits) == search.FOLDS
    assert max(fits) < 12


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"options": {"rigde": 1}}, "no option 'rigde'"),
        ({"parts": ("learn",)}, "no part 'learn'"),
        ({"head": "end_to_end"}, "cannot be searched"),
    ],
)
def test_a_search_that_cannot_come_to_anything_is_refused_before_it_is_queued(
    frozen: Any, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], reason: str
) -> None:
    monkeypatch.setattr("nearedge.workflows.search.connect", lambda _: frozen)
    queued: list[object] = []
    monkeypatch.setattr("nearedge.workflows.search.submit_once", lambda *a: queued.append(a))
    maker = SearchFlowMaker(train_maker=TrainMaker(**change), space=SPACE)
    with pytest.raises((ModelError, DatasetError), match=reason):
        submit_search(maker, ["cu"], get_settings())
    assert not queued
