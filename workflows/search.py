"""Searching a head's options as a fan-out of jobs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from fireworks.core.launchpad import LaunchPad
from jobflow.core.flow import Flow
from jobflow.core.maker import Maker
from jobflow.managers.fireworks import flow_to_workflow
from monty.json import MontyDecoder

from nearedge.errors import DatasetError
from nearedge.launch.fireworks import SPEC_KEY, ensure_launchpad_indexes, job_store, launchpad
from nearedge.launch.queue_state import PENDING
from nearedge.launch.submission import add_workflows, withdraw_torn
from nearedge.makers.learning.search import (
    ChooseMaker,
    SearchOutcome,
    TrialMaker,
    search_id,
    usual_space,
)
from nearedge.makers.learning.train import TrainMaker
from nearedge.models.heads import head_kind
from nearedge.schemas.trial import Dimension
from nearedge.settings import Settings
from nearedge.store.connection import connect
from nearedge.store.learned import DatasetStore
from nearedge.store.operations import database_errors, operation

Submitted = Literal["queued", "put_back", "new"]


@dataclass
class SearchFlowMaker(Maker):
    """Try a head's options in many jobs, train the best, and put it into the registry.

    Parameters
    ----------
    name
        The flow's name.
    train_maker
        What is trained; its options are those that are not varied.
    space
        Options that are varied; empty varies all numbers that have a default above zero.
    trials
        How many.
    budget
        CPU seconds after which no further trial begins; None has no bound.
    """

    name: str = "search"
    train_maker: TrainMaker = field(default_factory=TrainMaker)
    space: list[Dimension] = field(default_factory=list)
    trials: int = 20
    budget: float | None = None

    def make(self, dataset: str | Sequence[str], about: dict[str, str] | None = None) -> Flow:
        """Return the flow.

        Parameters
        ----------
        dataset
            Names or ids of frozen data sets.
        about
            What each job says of itself, so that it is found in the queue.

        Raises
        ------
        DatasetError
            If there is no trial to make.
        """
        if self.trials < 1:
            raise DatasetError("A search has at least one trial.")
        first = TrialMaker(train_maker=self.train_maker, space=self.space, budget=self.budget)
        trials = [replace(first, number=number).make(dataset) for number in range(self.trials)]
        choose = ChooseMaker(train_maker=self.train_maker)
        chosen = choose.make(dataset, [trial.output for trial in trials])
        for number, trial in enumerate(trials):
            trial.name = f"trial {number}"
            trial.update_metadata({SPEC_KEY: {**(about or {}), "kind": "trial"}})
        chosen.update_metadata({SPEC_KEY: {**(about or {}), "kind": "choose"}})
        return Flow([*trials, chosen], name=f"{self.name} {self.train_maker.head}")


def submit_search(
    maker: SearchFlowMaker, dataset: Sequence[str], settings: Settings
) -> tuple[str, Submitted]:
    """Add a search to the queue unless it is there; return its id and what became of it.

    Trials that have ended are not made again: their jobs return what is known.

    Raises
    ------
    DatabaseError
        If a data set is not there.
    ModelError
        If the head has nothing to vary.
    """
    datasets = [DatasetStore(connect(settings)).get(name) for name in dataset]
    train_maker = maker.train_maker
    space = maker.space or usual_space(head_kind(train_maker.head), train_maker.options)
    identifier = search_id(train_maker, datasets, space)
    pad = launchpad(settings)
    ensure_launchpad_indexes(pad)
    flow = replace(maker, space=space).make(
        [each.dataset_id for each in datasets], {"search_id": identifier}
    )
    return identifier, _enqueue(pad, flow, identifier)


@operation
def _enqueue(pad: LaunchPad, flow: Flow, identifier: str) -> Submitted:
    withdraw_torn(pad)
    ours = {f"spec.{SPEC_KEY}.search_id": identifier}
    fizzled = list(pad.fireworks.find(ours | {"state": "FIZZLED"}, {"fw_id": 1}))
    for firework in fizzled:
        pad.rerun_fw(firework["fw_id"])
    if fizzled:
        return "put_back"
    if pad.fireworks.count_documents(ours | {"state": {"$in": list(PENDING)}}):
        return "queued"
    add_workflows(pad, [flow_to_workflow(flow)])
    return "new"


def search_outcome(identifier: str, settings: Settings) -> SearchOutcome | None:
    """Return what the last run of a search came to, or None."""
    store = job_store(settings)
    with database_errors():
        store.connect()
        about = {
            f"metadata.{SPEC_KEY}.search_id": identifier,
            f"metadata.{SPEC_KEY}.kind": "choose",
        }
        found = list(store.query(about, sort={"completed_at": -1}, limit=1))
    if not found:
        return None
    outcome: SearchOutcome = MontyDecoder().process_decoded(found[0]["output"])
    return outcome
