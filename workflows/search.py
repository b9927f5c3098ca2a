"""Searching a head's options as a fan-out of jobs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from jobflow.core.flow import Flow
from jobflow.core.maker import Maker
from monty.json import MontyDecoder

from nearedge.errors import DatasetError, ModelError
from nearedge.launch.fireworks import SPEC_KEY
from nearedge.launch.queue_state import JobKind
from nearedge.makers.learning.plan import END_TO_END, checked_head
from nearedge.makers.learning.rows import part_numbers
from nearedge.makers.learning.search import (
    ChooseMaker,
    SearchOutcome,
    TrialMaker,
    search_id,
    usual_space,
)
from nearedge.makers.learning.train import TrainMaker
from nearedge.schemas.trial import Dimension
from nearedge.settings import Settings
from nearedge.store.connection import connect
from nearedge.store.learned import DatasetStore
from nearedge.workflows.once import Submitted, outputs_of, submit_once


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
            trial.update_metadata({SPEC_KEY: {**(about or {}), "kind": JobKind.TRIAL.value}})
        chosen.update_metadata({SPEC_KEY: {**(about or {}), "kind": JobKind.CHOOSE.value}})
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
    DatasetError
        If a data set lacks a part.
    ModelError
        If there is no such head or option, or the head has nothing to vary or cannot be searched.
    """
    datasets = [DatasetStore(connect(settings)).get(name) for name in dataset]
    train_maker = maker.train_maker
    kind = checked_head(train_maker.head, train_maker.options, train_maker.folds)
    if kind.name == END_TO_END:
        raise ModelError(
            f"The options of an {END_TO_END} model cannot be searched: it is not trained with "
            "materials left out."
        )
    for each in datasets:
        part_numbers(each, train_maker.parts)
    space = maker.space or usual_space(kind, train_maker.options)
    identifier = search_id(train_maker, datasets, space)
    flow = replace(maker, space=space).make(
        [each.dataset_id for each in datasets], {"search_id": identifier}
    )
    return identifier, submit_once(flow, ("search_id", identifier), settings)


def search_outcome(identifier: str, settings: Settings) -> SearchOutcome | None:
    """Return what the last run of a search came to, or None."""
    found = outputs_of({"search_id": identifier, "kind": JobKind.CHOOSE.value}, settings, limit=1)
    if not found:
        return None
    outcome: SearchOutcome = MontyDecoder().process_decoded(found[0])
    return outcome
