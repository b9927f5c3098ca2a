"""From stored spectra to judged models: featurize → freeze → train → fine-tune → evaluate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from jobflow.core.flow import Flow
from jobflow.core.job import Job
from jobflow.core.maker import Maker
from jobflow.core.reference import OutputReference
from monty.json import MontyDecoder, jsanitize

from nearedge.errors import DatasetError, ModelError
from nearedge.launch.fireworks import SPEC_KEY
from nearedge.launch.queue_state import JobKind
from nearedge.makers.learning.evaluate import HELD_OUT, EvaluateMaker, EvaluateOutcome
from nearedge.makers.learning.featurize import FeaturizeMaker, featurizer_of
from nearedge.makers.learning.freeze import FreezeMaker, expected_parts, frozen_listing
from nearedge.makers.learning.plan import checked_head, checked_options
from nearedge.makers.learning.train import TrainMaker
from nearedge.schemas.document import content_hash
from nearedge.settings import Settings
from nearedge.store.connection import connect
from nearedge.store.learned import DatasetStore
from nearedge.store.operations import MongoDatabase
from nearedge.store.queries import SpectrumQuery
from nearedge.workflows.once import Submitted, outputs_of, submit_once


@dataclass
class LearnFlowMaker(Maker):
    """Learn from the spectra that answer a query, or several.

    Every job may be repeated at any moment: features, data sets and models are stored under hashes
    of their content, and what is there already is not computed again.

    Parameters
    ----------
    name
        The flow's name.
    featurize_maker, freeze_maker, train_maker, evaluate_maker
        The steps. The models take the features that are computed first.
    finetune_maker
        Of several queries, starts from the model of all of them and goes on with each alone; None
        leaves it at the one model of all.
    featurize_jobs
        Jobs that share the structures of a query to featurize.
    """

    name: str = "learn"
    featurize_maker: FeaturizeMaker = field(default_factory=FeaturizeMaker)
    freeze_maker: FreezeMaker = field(default_factory=FreezeMaker)
    train_maker: TrainMaker = field(default_factory=TrainMaker)
    finetune_maker: TrainMaker | None = None
    evaluate_maker: EvaluateMaker = field(default_factory=EvaluateMaker)
    featurize_jobs: int = 1

    def make(
        self, query: SpectrumQuery | Sequence[SpectrumQuery], about: dict[str, str] | None = None
    ) -> Flow:
        """Return the flow.

        Parameters
        ----------
        query
            Which spectra to learn from: of one absorber, edge, code and protocol. Of several, one
            universal model is trained, and fine-tuned for each; data sets and fine-tuned models are
            named after the absorber, and the code where they differ in that.
        about
            What each job says of itself, so that it is found in the queue.

        Raises
        ------
        DatasetError
            If of several queries two have the same absorber and code, or one names no absorber.
        """
        queries = [query] if isinstance(query, SpectrumQuery) else list(query)
        names = _names(self.freeze_maker.dataset, queries)
        jobs: list[Job] = []
        frozen: list[Job] = []
        for each, name in zip(queries, names, strict=True):
            featurize = [
                replace(self.featurize_maker, part=part, parts=self.featurize_jobs).make(query=each)
                for part in range(self.featurize_jobs)
            ]
            outputs = [job.output for job in featurize]
            freeze = replace(self.freeze_maker, dataset=name).make(each, featurized=outputs)
            jobs += [*featurize, freeze]
            frozen.append(freeze)
        jobs += self._learn(frozen, names)
        for job in jobs:
            kind = job.name.split()[0]
            job.update_metadata({SPEC_KEY: {**(about or {}), "kind": kind}})
        return Flow([*jobs], name=f"{self.name} {self.freeze_maker.dataset}")

    def _learn(self, frozen: Sequence[Job], names: Sequence[str]) -> list[Job]:
        """Return the jobs that train and judge."""
        featurizer = self.featurize_maker.featurizer
        model = self.train_maker.model or self.freeze_maker.dataset
        train_maker = replace(self.train_maker, featurizer=featurizer, model=model)
        ids = [freeze.output.dataset_id for freeze in frozen]
        train = train_maker.make(ids[0] if len(ids) == 1 else ids)
        pairs = list(zip(ids, names, strict=True))
        jobs = [train]
        jobs += [self._evaluate(train, each, name) for each, name in pairs]
        if self.finetune_maker is None or len(ids) == 1:
            return jobs
        for each, name in pairs:
            label = name.removeprefix(self.freeze_maker.dataset)
            tune_maker = replace(self.finetune_maker, model=f"{model}{label}")
            tune = tune_maker.make(each, parent=train.output.model_id)
            tune.name = f"fine-tune {name}"
            jobs += [tune, self._evaluate(tune, each, name)]
        return jobs

    def _evaluate(self, train: Job, dataset_id: OutputReference, name: str) -> Job:
        evaluate = self.evaluate_maker.make(train.output.model_id, dataset_id)
        if name != self.freeze_maker.dataset:
            evaluate.name = f"{self.evaluate_maker.name} {name}"
        return evaluate


def submit_learning(
    maker: LearnFlowMaker, queries: Sequence[SpectrumQuery], settings: Settings
) -> tuple[str, Submitted]:
    """Add a learning flow to the queue unless it is there; return its id and what became of it.

    What cannot come to a model is refused before anything is queued.

    Raises
    ------
    DatasetError
        If a query finds no spectra, or spectra that do not make one data set.
    ModelError
        If there is no such head, featurizer or option, or the head cannot be fine-tuned.
    WeightsError
        If the featurizer's weights are missing or damaged.
    """
    trained = maker.train_maker
    kind = checked_head(trained.head, trained.options, trained.folds)
    if maker.finetune_maker is not None and not kind.fine_tunes:
        raise ModelError(
            f"A {kind.name} model cannot be fine-tuned: take a network such as residual, or leave "
            "it at the one model of all."
        )
    featurizer_of(maker.featurize_maker.featurizer)
    database = connect(settings)
    # Whether each model can be judged: a fine-tuned one is not trained with folds.
    judges_itself = kind.tells_left_out(checked_options(kind, trained.options)) or (
        trained.folds > 0 and maker.finetune_maker is None
    )
    for query in queries:
        frozen_listing(database, query)
        if not judges_itself:
            _check_judged(database, query, maker)
    asked = [query.model_dump(mode="json") for query in queries]
    identifier = content_hash(["learn", jsanitize(maker.as_dict(), strict=True), asked])[:16]
    flow = maker.make(queries, {"learn_id": identifier})
    return identifier, submit_once(flow, ("learn_id", identifier), settings)


def _check_judged(database: MongoDatabase, query: SpectrumQuery, maker: LearnFlowMaker) -> None:
    parts = expected_parts(database, query, maker.freeze_maker.split)
    if not set(parts) & {maker.evaluate_maker.part, *HELD_OUT}:
        tuned = maker.finetune_maker is not None
        raise ModelError(
            f"Nothing of {query.absorber} would be left to judge a {maker.train_maker.head} model "
            "by, which cannot tell by itself how it predicts materials left out: choose a split "
            f"that keeps some{'' if tuned else ', or train with folds'}."
        )


def learning_outcomes(identifier: str, settings: Settings) -> list[EvaluateOutcome]:
    """Return how good the models of a learning flow are: the newest judgement of each.

    After new spectra, that on the newest data set of an element and code.
    """
    datasets = DatasetStore(connect(settings))
    newest: dict[tuple[str, str, str], EvaluateOutcome] = {}
    for each in outputs_of({"learn_id": identifier, "kind": JobKind.EVALUATE.value}, settings):
        outcome: EvaluateOutcome = MontyDecoder().process_decoded(each)
        dataset = datasets.get(outcome.dataset_id)
        newest.setdefault((outcome.name, dataset.absorber, dataset.code), outcome)
    return list(reversed(newest.values()))


def _names(dataset: str, queries: Sequence[SpectrumQuery]) -> list[str]:
    """Return the names of the data sets."""
    if len(queries) == 1:
        return [dataset]
    if not queries or any(query.absorber is None for query in queries):
        raise DatasetError("Of several queries to learn from, each names its absorber.")
    several = len({query.code for query in queries}) > 1
    names = [
        "-".join(filter(None, [dataset, query.absorber, query.code if several else None]))
        for query in queries
    ]
    if twice := [name for name in names if names.count(name) > 1]:
        raise DatasetError(f"Two of the queries to learn from are {twice[0]}: make one of both.")
    return names
