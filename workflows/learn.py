"""From stored spectra to judged models: featurize → freeze → train → fine-tune → evaluate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from jobflow.core.flow import Flow
from jobflow.core.job import Job
from jobflow.core.maker import Maker
from jobflow.core.reference import OutputReference

from nearedge.errors import DatasetError
from nearedge.makers.learning.evaluate import EvaluateMaker
from nearedge.makers.learning.featurize import FeaturizeMaker
from nearedge.makers.learning.freeze import FreezeMaker
from nearedge.makers.learning.train import TrainMaker
from nearedge.store.queries import SpectrumQuery


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

    def make(self, query: SpectrumQuery | Sequence[SpectrumQuery]) -> Flow:
        """Return the flow.

        Parameters
        ----------
        query
            Which spectra to learn from: of one absorber, edge, code and protocol. Of several, one
            universal model is trained, and fine-tuned for each; data sets and fine-tuned models are
            named after the absorber, and the code where they differ in that.

        Raises
        ------
        DatasetError
            If of several queries two have the same absorber and code, or one names no absorber.
        """
        queries = [query] if isinstance(query, SpectrumQuery) else list(query)
        names = _names(self.freeze_maker.dataset, queries)
        jobs: list[Flow | Job] = []
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
        return Flow(jobs, name=f"{self.name} {self.freeze_maker.dataset}")

    def _learn(self, frozen: Sequence[Job], names: Sequence[str]) -> list[Flow | Job]:
        """Return the jobs that train and judge."""
        featurizer = self.featurize_maker.featurizer
        model = self.train_maker.model or self.freeze_maker.dataset
        train_maker = replace(self.train_maker, featurizer=featurizer, model=model)
        ids = [freeze.output.dataset_id for freeze in frozen]
        train = train_maker.make(ids[0] if len(ids) == 1 else ids)
        pairs = list(zip(ids, names, strict=True))
        jobs: list[Flow | Job] = [train]
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
    if len(set(names)) < len(names):
        raise DatasetError(f"Two of the queries to learn from are {names[0]}: make one of both.")
    return names
