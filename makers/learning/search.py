"""Searching a head's options: each trial is a job, and all that is known is in the database.

A trial asks which options to try, given what other trials found, writes that down, trains with
materials left out, and writes down how good it was. Optuna's sampler is made anew for each from the
trials that have ended, so nothing is lost with a process and no file is left over.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import optuna
from jobflow.core.job import job
from jobflow.core.maker import Maker
from monty.json import jsanitize
from pydantic import BaseModel, ConfigDict, Field

from nearedge import __version__
from nearedge.errors import ModelError
from nearedge.makers.learning.featurize import featurize_structures, featurizer_of
from nearedge.makers.learning.plan import Plan, checked_options, plan_training
from nearedge.makers.learning.rows import Rows, training_rows
from nearedge.makers.learning.train import CHECKPOINTS, TrainMaker, TrainOutcome, train
from nearedge.models.heads import Head, HeadPrediction, TrainingRows, head_kind
from nearedge.models.left_out import predict_left_out
from nearedge.models.metrics import squared_errors
from nearedge.models.uncertainty.conformal import row_weights, rows_of_groups
from nearedge.schemas import DatasetDoc
from nearedge.schemas.document import content_hash
from nearedge.schemas.trial import Dimension, Scalar, TrialDoc, trial_id
from nearedge.settings import get_settings
from nearedge.store.connection import connect
from nearedge.store.learned import DatasetStore
from nearedge.store.operations import MongoDatabase
from nearedge.store.trials import TrialStore

_RANGES = (optuna.distributions.FloatDistribution, optuna.distributions.IntDistribution)
FOLDS = 5
"""For kinds of heads that cannot tell by themselves how they predict materials left out."""
_AROUND = 4.0
"""A number is varied by so much up and down from its default where no range is given."""


class TrialOutcome(BaseModel):
    """What a trial returns."""

    model_config = ConfigDict(extra="forbid")

    search_id: str
    number: int
    state: Literal["completed", "failed", "over_budget"]
    asked: dict[str, Scalar | None] = Field(default_factory=dict)
    score: float | None = Field(None, description="Mean squared error; lower is better.")
    cpu_seconds: float = 0.0
    message: str = ""


class SearchOutcome(BaseModel):
    """What a search returns; the best model is in the store."""

    model_config = ConfigDict(extra="forbid")

    search_id: str
    completed: int
    failed: int
    over_budget: int = Field(description="Trials that were not begun.")
    cpu_seconds: float
    best: TrialOutcome
    trained: TrainOutcome


@dataclass
class TrialMaker(Maker):
    """Try one choice of options.

    Parameters
    ----------
    name
        The job's name.
    train_maker
        What is trained; its options are those that are not varied.
    space
        Options that are varied; empty varies all numbers that have a default above zero.
    number
        Of the trial. The first tries the defaults.
    budget
        CPU seconds of all trials of the search, after which no further one begins; None has no
        bound. Of a trial that is under way nothing is known, so several workers may go beyond it by
        a trial each.
    """

    name: str = "trial"
    train_maker: TrainMaker = field(default_factory=TrainMaker)
    space: list[Dimension] = field(default_factory=list)
    number: int = 0
    budget: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the maker with its options as dictionaries: FireWorks would store them as text."""
        sanitized: dict[str, Any] = jsanitize(super().as_dict(), strict=True, enum_values=True)
        return sanitized

    @job(output_schema=TrialOutcome)
    def make(self, dataset: str | Sequence[str]) -> TrialOutcome:
        """Return how good the options were; as a job, when called on a maker.

        Parameters
        ----------
        dataset
            Names or ids of frozen data sets.

        Raises
        ------
        ModelError
            If the head has no such options.
        """
        database = connect()
        names = [dataset] if isinstance(dataset, str) else list(dataset)
        datasets = [DatasetStore(database).get(name) for name in names]
        maker = self.train_maker
        space = self.space or usual_space(head_kind(maker.head), maker.options)
        identifier = search_id(maker, datasets, space)
        store = TrialStore(database)
        known = store.of_search(identifier)
        mine = next((trial for trial in known if trial.number == self.number), None)
        if mine is None:
            spent = sum(trial.cpu_seconds for trial in known)
            if self.budget is not None and spent >= self.budget:
                return TrialOutcome(
                    search_id=identifier,
                    number=self.number,
                    state="over_budget",
                    message=f"{spent:.0f} CPU seconds were spent of {self.budget:.0f}.",
                )
            asked = _ask(known, space, self.number, maker)
            mine = store.ask(_trial(identifier, self.number, datasets, maker, asked))
        if not mine.ended:
            mine = _tried(database, maker, datasets, mine)
            store.tell(mine)
        # Perhaps it had been told by one that was killed before it came here.
        shutil.rmtree(_folder(mine), ignore_errors=True)
        return _outcome(mine)


@dataclass
class ChooseMaker(Maker):
    """Train the best of the trials and put it into the registry.

    Parameters
    ----------
    name
        The job's name.
    train_maker
        As the trials had it.
    """

    name: str = "choose"
    train_maker: TrainMaker = field(default_factory=TrainMaker)

    @job(output_schema=SearchOutcome)
    def make(self, dataset: str | Sequence[str], trials: Sequence[TrialOutcome]) -> SearchOutcome:
        """Return the best trial and its model; as a job, when called on a maker.

        Parameters
        ----------
        dataset
            Names or ids of the trials' data sets.
        trials
            What they returned.

        Raises
        ------
        ModelError
            If no trial succeeded.
        """
        done = [trial for trial in trials if trial.score is not None]
        if not done:
            reason = next((trial.message for trial in trials if trial.message), "there was none")
            raise ModelError(f"No trial of the search gave a model: {reason}")
        best = min(done, key=lambda trial: (trial.score, trial.number))
        # None is a default, which needs no naming.
        found = {name: value for name, value in best.asked.items() if value is not None}
        options = {**self.train_maker.options, **found}
        maker = replace(self.train_maker, options=options)
        return SearchOutcome(
            search_id=best.search_id,
            completed=len(done),
            failed=sum(trial.state == "failed" for trial in trials),
            over_budget=sum(trial.state == "over_budget" for trial in trials),
            cpu_seconds=sum(trial.cpu_seconds for trial in trials),
            best=best,
            trained=train(maker, dataset),
        )


def search_id(maker: TrainMaker, datasets: Sequence[DatasetDoc], space: Sequence[Dimension]) -> str:
    """Return one value for all trials that may learn from each other.

    The number of trials and the budget are not in it: a search may be extended.
    """
    return content_hash(
        [
            "search",
            __version__,
            [dataset.dataset_id for dataset in datasets],
            maker.featurizer,
            maker.head,
            dict(maker.options),
            None if maker.inputs is None else list(maker.inputs),
            list(maker.parts),
            maker.folds,
            maker.seed,
            [dimension.model_dump() for dimension in space],
        ]
    )


def usual_space(kind: type[Head], given: Mapping[str, Scalar | None]) -> list[Dimension]:
    """Return ranges for the numbers of a head that are not given: a factor of four either way.

    Raises
    ------
    ModelError
        If the head has none.
    """
    space = []
    for name, described in kind.options.model_fields.items():
        default = described.default
        if name in given or not isinstance(default, float) or default <= 0:
            continue
        low, high = default / _AROUND, default * _AROUND
        for bound in described.metadata:
            low = max(low, getattr(bound, "ge", None) or low)
            high = min(high, getattr(bound, "le", None) or high)
            # Below one that is excluded, as for a share: half-way to it.
            if (excluded := getattr(bound, "lt", None)) is not None and high >= excluded:
                high = (default + excluded) / 2
        space.append(Dimension(name=name, low=low, high=high, log=True))
    if not space:
        raise ModelError(f"The head {kind.name} has no number to vary by itself: name options.")
    return space


def _trial(
    identifier: str,
    number: int,
    datasets: Sequence[DatasetDoc],
    maker: TrainMaker,
    asked: dict[str, Scalar | None],
) -> TrialDoc:
    return TrialDoc(
        trial_id=trial_id(identifier, number),
        search_id=identifier,
        number=number,
        dataset_ids=[dataset.dataset_id for dataset in datasets],
        head=maker.head,
        featurizer=maker.featurizer,
        asked=asked,
    )


def _ask(
    known: Sequence[TrialDoc], space: Sequence[Dimension], number: int, maker: TrainMaker
) -> dict[str, Scalar | None]:
    """Return the options to try, given what was found so far."""
    usual = checked_options(head_kind(maker.head), maker.options).model_dump()
    if missing := [dimension.name for dimension in space if dimension.name not in usual]:
        raise ModelError(f"The head {maker.head} has no option {missing[0]!r} to vary.")
    if number == 0:
        return {dimension.name: usual[dimension.name] for dimension in space}
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    distributions = {dimension.name: _distribution(dimension) for dimension in space}
    # A seed for each number: trials that begin together must not try the same.
    sampler = optuna.samplers.TPESampler(seed=(maker.seed * 100_003 + number) % 2**32)
    study = optuna.create_study(sampler=sampler, direction="minimize")
    for trial in known:
        if trial.score is not None and _within(trial.asked, distributions):
            study.add_trial(
                optuna.trial.create_trial(
                    params=dict(trial.asked), distributions=distributions, value=trial.score
                )
            )
    return dict(study.ask(fixed_distributions=distributions).params)


def _distribution(dimension: Dimension) -> optuna.distributions.BaseDistribution:
    if dimension.choices:
        return optuna.distributions.CategoricalDistribution(dimension.choices)
    low, high = float(dimension.low or 0.0), float(dimension.high or 0.0)
    if dimension.whole:
        return optuna.distributions.IntDistribution(int(low), int(high), log=dimension.log)
    return optuna.distributions.FloatDistribution(low, high, log=dimension.log)


def _within(
    asked: Mapping[str, Scalar | None],
    distributions: Mapping[str, optuna.distributions.BaseDistribution],
) -> bool:
    """Tell whether a trial lies in the space: the defaults that the first one has need not."""
    return all(_lies_in(asked[name], distribution) for name, distribution in distributions.items())


def _lies_in(value: Scalar | None, of: optuna.distributions.BaseDistribution) -> bool:
    if isinstance(of, optuna.distributions.CategoricalDistribution):
        return value in of.choices
    if isinstance(
        of, optuna.distributions.FloatDistribution | optuna.distributions.IntDistribution
    ):
        return isinstance(value, int | float) and of.low <= value <= of.high
    return False


def _tried(
    database: MongoDatabase, maker: TrainMaker, datasets: Sequence[DatasetDoc], trial: TrialDoc
) -> TrialDoc:
    """Return a trial that has ended."""
    featurizer = featurizer_of(maker.featurizer)
    keys = sorted({row.structure_key for dataset in datasets for row in dataset.rows})
    featurize_structures(database, featurizer, keys)
    started = time.process_time()
    ended: dict[str, object] = {"state": "failed"}
    try:
        plan = plan_training(
            database,
            datasets,
            featurizer,
            head=maker.head,
            options={**maker.options, **trial.asked},
            parts=maker.parts,
            inputs=maker.inputs,
            seed=maker.seed,
        )
        parts = [
            Rows.gather(database, dataset, plan.recipe, numbers)
            for dataset, numbers in zip(plan.datasets, plan.chosen, strict=True)
        ]
        rows = training_rows(parts)
        started = time.process_time()  # reading rows is no part of what options cost
        score = _score(rows, _left_out(plan, rows, maker.folds, _folder(trial)))
        ended = {"state": "completed", "score": score}
    except ModelError as error:
        ended["message"] = str(error)
    return trial.model_copy(update=ended | {"cpu_seconds": time.process_time() - started})


def _score(rows: TrainingRows, found: HeadPrediction) -> float:
    weights = row_weights(rows_of_groups(rows.groups))
    score = float(weights @ squared_errors(rows.targets, found.mean))
    if not np.isfinite(score):
        raise ModelError("The predictions are not finite numbers.")
    return score


def _left_out(plan: Plan, rows: TrainingRows, folds: int, folder: Path) -> HeadPrediction:
    kind = head_kind(plan.head)
    # Of a head that cannot tell, a training on all rows would say nothing.
    if folds == 0 and kind.tells_left_out(plan.options):
        fitted = kind.fit(rows, plan.options, seed=plan.seed, checkpoints=folder / "training")
        if fitted.left_out is not None:
            return fitted.left_out
    return predict_left_out(
        kind, rows, plan.options, folds or FOLDS, seed=plan.seed, checkpoints=folder
    )


def _folder(trial: TrialDoc) -> Path:
    return get_settings().home / CHECKPOINTS / trial.trial_id


def _outcome(trial: TrialDoc) -> TrialOutcome:
    return TrialOutcome(
        search_id=trial.search_id,
        number=trial.number,
        state="completed" if trial.state == "completed" else "failed",
        asked=trial.asked,
        score=trial.score,
        cpu_seconds=trial.cpu_seconds,
        message=trial.message,
    )
