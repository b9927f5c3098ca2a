"""`learn` comes from spectra to judged models, goes on where it stopped, or refuses at once."""

from __future__ import annotations

import jobflow
import pytest

from nearedge.launch.pool import PoolSummary
from nearedge.launch.worker import Worker
from nearedge.makers.learning import train
from nearedge.settings import Settings, get_settings
from nearedge.store.connection import connect
from nearedge.store.learned import ModelStore
from nearedge.store.spectra_store import SpectraStore

from .conftest import Command, fill

pytestmark = pytest.mark.integration

NAMES = ("rutile", "anatase", "TiO", "Ti2O3", "SrTiO3")
LEARN = ("learn", "ti", "--absorber", "Ti", "--split", "all", "--featurizer", "radial")


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the queue be worked in this process: another takes seconds to start."""

    def run_workers(_workers: int, settings: Settings, **_: object) -> PoolSummary:
        before = jobflow.SETTINGS.JOB_STORE
        try:
            Worker(settings).work()
        finally:
            jobflow.SETTINGS.JOB_STORE = before
        return PoolSummary()

    monkeypatch.setattr("nearedge.cli.running.run_workers", run_workers)


@pytest.fixture
def filled(nearedge: Command, ready: None) -> Command:
    fill(SpectraStore.from_settings(get_settings()), NAMES)
    return nearedge


@pytest.mark.usefixtures("here")
def test_what_stopped_at_a_step_goes_on_there_and_ends_with_judged_models(
    filled: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(train, "train_model", full)
        stopped = filled(*LEARN, "--featurize-jobs", 2, "--json")
    assert (stopped.code, stopped.out) == (1, "")
    assert "the same command goes on" in " ".join(stopped.err.split())
    assert ModelStore(connect()).list() == []
    command = (*LEARN, "--featurize-jobs", 2)
    assert filled(*command, "--queue-only", "--json").json["state"] == "put_back"
    assert filled("status", "--json").json["queue"]["READY"] == 1
    assert filled(*command, "--queue-only", "--json").json["state"] == "queued"
    said = filled(*command, "--json")
    assert said.code == 0, said.err
    (judged,) = said.json
    (card,) = ModelStore(connect()).list()
    assert (judged["model_id"], judged["part"], card.name) == (card.model_id, "cv", "ti")
    assert card.training_rows == len(NAMES)
    again = filled(*command)
    assert again.code == 0, again.err
    assert "ti" in again.out
    assert ModelStore(connect()).list() == [card]


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (("--absorber", "Cu"), "No site spectrum"),
        (("--absorber", "Ti,Cu", "--finetune"), "cannot be fine-tuned"),
        (("--absorber", "Ti", "--finetune"), "one data set gives one model"),
        (("--absorber", "Ti,Ti"), "stands twice"),
        (("--absorber", "Ti", "--code", "feff,elk"), "No site spectrum"),
        (("--absorber", "Ti", "--head", "oracle"), "oracle"),
        (("--absorber", "Ti", "--set", "ridge=much"), "ridge"),
        (("--absorber", "Ti", "--head", "residual", "--split", "all"), "would be left to judge"),
        (("--absorber", "Ti", "--featurizer", "tarot"), "tarot"),
    ],
)
def test_what_cannot_come_to_a_model_is_refused_before_anything_is_queued(
    filled: Command, given: tuple[str, ...], reason: str
) -> None:
    said = filled("learn", "ti", "--featurizer", "radial", *given, "--queue-only")
    assert said.code in (1, 2)
    assert reason in " ".join(said.err.split())
    assert filled("status", "--json").json["queue"].get("READY", 0) == 0
