"""Bad luck: a worker is killed while it learns; the next goes on, and nothing is there twice."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest
from jobflow.managers.fireworks import flow_to_workflow

from nearedge.launch.fireworks import ensure_launchpad_indexes, job_store
from nearedge.launch.submission import add_workflows
from nearedge.makers.learning.evaluate import EvaluateMaker
from nearedge.makers.learning.featurize import FeaturizeMaker
from nearedge.makers.learning.freeze import FreezeMaker
from nearedge.makers.learning.splits import Split
from nearedge.makers.learning.train import CHECKPOINTS, TrainMaker
from nearedge.schemas import GridDoc
from nearedge.store.connection import connect
from nearedge.store.learned import DatasetStore, ModelStore
from nearedge.store.queries import SpectrumQuery
from nearedge.workflows.learn import LearnFlowMaker
from tests.makers.learning.copper import record

if TYPE_CHECKING:
    from jobflow import Flow

    from tests.faults.conftest import Site

pytestmark = pytest.mark.integration

GRID = GridDoc(start=8985.0, step=0.5, points=60)
SPLIT = Split(kind="random", validation=0.25, test=0.0, seed=1)

_KILLED_AFTER_THE_MODEL = """
import os
from nearedge.store.learned import ModelStore
put = ModelStore.put
def put_and_die(self, *given):
    put(self, *given)
    os.kill(os.getpid(), 9)
ModelStore.put = put_and_die
"""
_KILLED_IN_THE_SECOND_TRAINING = """
import os
import lightning.pytorch
from nearedge.makers.learning import train
from nearedge.models.training import progress
progress.SAVE_SECONDS = 0.0
once, count = train.train_model, []
class Dies(lightning.pytorch.Callback):
    def on_train_epoch_end(self, trainer, module):
        if trainer.current_epoch == 4:
            os.kill(os.getpid(), 9)
def train_model(*given, **more):
    count.append(1)
    if len(count) == 2:
        own = lightning.pytorch.Trainer.__init__
        def init(self, *args, callbacks=None, **others):
            own(self, *args, callbacks=[*(callbacks or []), Dies()], **others)
        lightning.pytorch.Trainer.__init__ = init
    return once(*given, **more)
train.train_model = train_model
"""


def queue(site: Site, flow: Flow) -> None:
    ensure_launchpad_indexes(site.pad)
    add_workflows(site.pad, [flow_to_workflow(flow)])


def flow_of_copper() -> Flow:
    """Options that are documents must come back as such from what FireWorks stores."""
    return LearnFlowMaker(
        featurize_maker=FeaturizeMaker(featurizer="acsf"),
        freeze_maker=FreezeMaker(dataset="cu", grid=GRID, split=SPLIT),
        train_maker=TrainMaker(model="cu-kernel", options={"ridge": 0.01}),
        evaluate_maker=EvaluateMaker(part="val"),
        featurize_jobs=2,
    ).make(SpectrumQuery(absorber="Cu"))


def test_killed_after_its_model_was_stored_the_training_is_known_to_the_next_worker(
    site: Site,
) -> None:
    site.store.record_many(record(f"mp-{i}", round(4.1 + 0.05 * i, 3)) for i in range(8))
    flow = flow_of_copper()
    queue(site, flow)
    worker = site.start_worker(_KILLED_AFTER_THE_MODEL)
    assert worker.wait(timeout=900) == -signal.SIGKILL
    database = connect(site.settings)
    (before,) = ModelStore(database).list()
    assert site.status().queue["COMPLETED"] == 3
    queue(site, flow_of_copper())  # and asked for a second time meanwhile
    done = site.run()
    assert (done.completed, done.failed) == (2 + 5, 0), done.messages
    assert ModelStore(database).list() == [before]
    assert before.grid == GRID
    assert before.hyperparameters["ridge"] == 0.01
    assert len(DatasetStore(database).list()) == 1
    store = job_store(site.settings)
    store.connect()
    train = store.get_output(flow.jobs[-2].uuid)
    assert (train["model_id"], train["known"]) == (before.model_id, True)
    judged = store.get_output(flow.jobs[-1].uuid)
    assert judged["metrics"]["eta"]["value"] == pytest.approx(before.metrics["val_eta"].value)


@pytest.mark.slow
def test_killed_while_it_fine_tunes_the_next_worker_goes_on_and_all_models_are_there_once(
    site: Site,
) -> None:
    site.store.record_many(record(f"mp-{i}", round(4.1 + 0.05 * i, 3)) for i in range(12))
    site.store.record_many(
        record(f"mp-{200 + i}", round(3.8 + 0.05 * i, 3), absorber="Ni", zero=-651.0)
        for i in range(12)
    )
    network = TrainMaker(
        model="all", head="residual", options={"width": 16, "max_epochs": 8, "patience": 8}
    )
    flow = LearnFlowMaker(
        featurize_maker=FeaturizeMaker(featurizer="acsf"),
        freeze_maker=FreezeMaker(dataset="oxides", split=SPLIT),
        train_maker=network,
        finetune_maker=network,
    ).make([SpectrumQuery(absorber="Cu"), SpectrumQuery(absorber="Ni")])
    queue(site, flow)
    worker = site.start_worker(_KILLED_IN_THE_SECOND_TRAINING)
    assert worker.wait(timeout=1800) == -signal.SIGKILL  # minutes on a busy machine
    kept = site.settings.home / CHECKPOINTS
    assert any(kept.rglob("*.ckpt")), "what it can go on from is there"
    done = site.run()
    assert done.failed == 0, done.messages
    assert set(site.status().queue) == {"COMPLETED"}
    cards = {card.name: card for card in ModelStore(connect(site.settings)).list()}
    assert set(cards) == {"all", "all-Cu", "all-Ni"}
    assert cards["all-Ni"].parent == cards["all-Cu"].parent == cards["all"].model_id
    assert "val_eta" in cards["all-Cu"].metrics
    assert not kept.exists() or not any(kept.iterdir())
