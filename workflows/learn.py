"""From stored spectra to a judged model: featurize → freeze → train → evaluate."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from jobflow.core.flow import Flow
from jobflow.core.maker import Maker

from nearedge.makers.evaluate import EvaluateMaker
from nearedge.makers.featurize import FeaturizeMaker
from nearedge.makers.freeze import FreezeMaker
from nearedge.makers.train import TrainMaker
from nearedge.store.queries import SpectrumQuery


@dataclass
class LearnFlowMaker(Maker):
    """Learn from the spectra that answer a query.

    Every job may be repeated at any moment: features, data sets and models are stored under hashes
    of their content.

    Parameters
    ----------
    name
        The flow's name.
    featurize_maker, freeze_maker, train_maker, evaluate_maker
        The steps. Training computes the features that are still missing, so it must name the same
        featurizer.
    featurize_jobs
        Jobs that share the structures to featurize.
    """

    name: str = "learn"
    featurize_maker: FeaturizeMaker = field(default_factory=FeaturizeMaker)
    freeze_maker: FreezeMaker = field(default_factory=FreezeMaker)
    train_maker: TrainMaker = field(default_factory=TrainMaker)
    evaluate_maker: EvaluateMaker = field(default_factory=EvaluateMaker)
    featurize_jobs: int = 1

    def make(self, query: SpectrumQuery) -> Flow:
        """Return the flow.

        Parameters
        ----------
        query
            Which spectra to learn from: of one absorber, edge, code and protocol.
        """
        featurize = [
            replace(self.featurize_maker, part=part, parts=self.featurize_jobs).make(query=query)
            for part in range(self.featurize_jobs)
        ]
        freeze = self.freeze_maker.make(query, featurized=[each.output for each in featurize])
        train_maker = replace(self.train_maker, featurizer=self.featurize_maker.featurizer)
        train = train_maker.make(freeze.output.dataset_id)
        evaluate = self.evaluate_maker.make(train.output.model_id)
        return Flow(
            [*featurize, freeze, train, evaluate], name=f"{self.name} {self.freeze_maker.dataset}"
        )
