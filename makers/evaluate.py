"""Judging a model on spectra that it has not seen."""

from __future__ import annotations

from dataclasses import dataclass

from jobflow.core.job import job
from jobflow.core.maker import Maker
from pydantic import BaseModel, ConfigDict, Field

from nearedge.errors import DatasetError, ModelError
from nearedge.makers.featurize import featurize_structures, featurizer_of
from nearedge.makers.freeze import targets_of
from nearedge.makers.train import features_of, part_numbers
from nearedge.models.featurizers import Featurizer
from nearedge.models.metrics import evaluate
from nearedge.models.prediction import check_usable
from nearedge.models.trained import TrainedModel
from nearedge.schemas import DatasetDoc
from nearedge.schemas.model import Metric
from nearedge.store.connection import connect
from nearedge.store.learned import DatasetStore, ModelStore
from nearedge.store.operations import MongoDatabase

HELD_OUT = ("val", "test")


class EvaluateOutcome(BaseModel):
    """How good a model is."""

    model_config = ConfigDict(extra="forbid")

    model_id: str
    name: str
    dataset_id: str
    part: str = Field(description="Judged on; `cv` is the training rows, left out in turn.")
    metrics: dict[str, Metric]


@dataclass
class EvaluateMaker(Maker):
    """Judge a model on a part of a data set.

    Parameters
    ----------
    name
        The job's name.
    part
        None takes ``val``, then ``test``, and where the data set has neither the figures of the
        card, from training rows predicted with their material left out.
    seed
        Of the bootstrap.
    """

    name: str = "evaluate"
    part: str | None = None
    seed: int = 0

    @job(output_schema=EvaluateOutcome)
    def make(self, model: str, dataset: str | None = None) -> EvaluateOutcome:
        """Return the figures; as a job, when called on a maker.

        Parameters
        ----------
        model
            Name or id in the registry.
        dataset
            Name or id; None takes the one that the model was trained on.

        Raises
        ------
        ModelError
            If the model does not fit the data set.
        DatasetError
            If the data set has no such part.
        """
        database = connect()
        trained = TrainedModel.from_bytes(*ModelStore(database).get(model))
        frozen = DatasetStore(database).get(dataset or trained.card.dataset_id)
        return evaluate_model(
            database,
            trained,
            frozen,
            featurizer_of(trained.card.featurizer.name),
            part=self.part,
            seed=self.seed,
        )


def evaluate_model(
    database: MongoDatabase,
    model: TrainedModel,
    dataset: DatasetDoc,
    featurizer: Featurizer,
    *,
    part: str | None = None,
    seed: int = 0,
) -> EvaluateOutcome:
    """Judge a model; see `EvaluateMaker`."""
    card = model.card
    part = part or next((name for name in HELD_OUT if name in dataset.split), None)
    metrics: dict[str, Metric]
    if part is None:
        if dataset.dataset_id != card.dataset_id:
            raise DatasetError(
                f"The data set {dataset.name} has neither {' nor '.join(HELD_OUT)}: name the part "
                "to judge on."
            )
        part = "cv"
        metrics = {
            key.removeprefix("cv_"): value
            for key, value in card.metrics.items()
            if key.startswith("cv_")
        }
    else:
        _check_fits(model, dataset)
        _check_not_learned(model, dataset, part)
        check_usable(model, featurizer, dataset.absorber)
        numbers = part_numbers(dataset, [part])
        rows = [dataset.rows[number] for number in numbers]
        featurize_structures(database, featurizer, sorted({row.structure_key for row in rows}))
        found = model.head.predict(features_of(database, dataset, featurizer.ref, numbers))
        metrics = evaluate(
            targets_of(database, dataset, numbers),
            found.mean,
            found.std,
            model.head.mean,
            [row.group for row in rows],
            seed=seed,
        )
    return EvaluateOutcome(
        model_id=card.model_id,
        name=card.name,
        dataset_id=dataset.dataset_id,
        part=part,
        metrics=metrics,
    )


def _check_fits(model: TrainedModel, dataset: DatasetDoc) -> None:
    card = model.card
    for what in ("absorber", "edge", "unit", "grid"):
        mine, theirs = getattr(card, what), getattr(dataset, what)
        if mine != theirs:
            raise ModelError(
                f"The model {card.name} was trained for the {what} {mine}, and the data set "
                f"{dataset.name} has {theirs}: freeze it anew with the model's."
            )


def _check_not_learned(model: TrainedModel, dataset: DatasetDoc, part: str) -> None:
    learned = str(model.card.hyperparameters.get("parts", "")).split(",")
    if dataset.dataset_id == model.card.dataset_id and part in learned:
        raise ModelError(
            f"The model {model.card.name} learned from the part {part!r}, so it cannot be judged "
            "on it: its card has the figures for those rows with their material left out."
        )
