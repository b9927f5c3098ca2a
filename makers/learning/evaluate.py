"""Judging a model on spectra that it has not seen."""

from __future__ import annotations

from dataclasses import dataclass, replace

from jobflow.core.job import job
from jobflow.core.maker import Maker
from pydantic import BaseModel, ConfigDict, Field

from nearedge.errors import DatasetError, ModelError
from nearedge.makers.learning.featurize import featurize_structures
from nearedge.makers.learning.materials import learned_materials, numbers_of, parts_of
from nearedge.makers.learning.plan import Given, figures_prefix, input_spectra
from nearedge.makers.learning.predict import featurizer_for, stored_model
from nearedge.makers.learning.rows import Recipe, Rows, part_numbers, unusable
from nearedge.makers.learning.scores import judge
from nearedge.makers.learning.targets import targets_of
from nearedge.models.featurizers import Featurizer
from nearedge.models.prediction import check_usable
from nearedge.models.trained import TrainedModel
from nearedge.schemas import DatasetDoc
from nearedge.schemas.model import Metric
from nearedge.spectra.spectrum import FloatArray
from nearedge.store.connection import connect
from nearedge.store.learned import DatasetStore
from nearedge.store.operations import MongoDatabase

HELD_OUT = ("val", "test")


class EvaluateOutcome(BaseModel):
    """How good a model is."""

    model_config = ConfigDict(extra="forbid")

    model_id: str
    name: str
    dataset_id: str
    part: str = Field(description="Judged on; `cv` is the training rows, left out in turn.")
    left_aside: list[str] = Field(
        default_factory=list,
        description="Labels of rows that the model cannot take, or whose material it has learned "
        "from another data set or by its parent.",
    )
    metrics: dict[str, Metric]


@dataclass
class EvaluateMaker(Maker):
    """Judge a model on a part of a data set.

    Parameters
    ----------
    name
        The job's name.
    part
        None takes ``val``, then ``test``, and where neither has a material that is new to the
        model the figures of the card, from training rows predicted with their material left out.
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
        trained = stored_model(database, model)
        frozen = DatasetStore(database).get(dataset or only_dataset(trained))
        return evaluate_model(
            database,
            trained,
            frozen,
            featurizer_for(trained),
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
    _check_fits(model, dataset)
    part = part or usual_part(database, model, dataset)
    left_aside: list[str] = []
    if part is None:
        part = "cv"
        metrics = _of_card(model, dataset)
    else:
        rows, left_aside = held_rows(database, model, dataset, featurizer, part)
        metrics = judge(
            rows.targets,
            model.head.predict(rows.features),
            training_mean(database, model, dataset),
            rows.groups,
            rows.outliers,
            intervals=model.reliability_on(dataset).intervals,
            seed=seed,
        )
    return EvaluateOutcome(
        model_id=card.model_id,
        name=card.name,
        dataset_id=dataset.dataset_id,
        part=part,
        left_aside=left_aside,
        metrics=metrics,
    )


def usual_part(database: MongoDatabase, model: TrainedModel, dataset: DatasetDoc) -> str | None:
    """Return the first of ``val`` and ``test`` with a material that the model has not learned."""
    learned = numbers_of(dataset, learned_materials(database, model.card))
    return next((name for name in HELD_OUT if set(dataset.split.get(name, [])) - learned), None)


def held_rows(
    database: MongoDatabase,
    model: TrainedModel,
    dataset: DatasetDoc,
    featurizer: Featurizer,
    part: str,
) -> tuple[Rows, list[str]]:
    """Return the rows of a part as the model takes them, and labels of those left aside.

    Left aside is what it cannot take, and what it or a parent learned the material of.

    Raises
    ------
    ModelError
        If the model does not fit the data set, has learned from the part or all its materials, or
        can take no row.
    DatasetError
        If there is no such part.
    """
    _check_fits(model, dataset)
    _check_not_learned(model, dataset, part)
    check_usable(model, featurizer, dataset.absorber)
    every = part_numbers(dataset, [part])
    learned = numbers_of(dataset, learned_materials(database, model.card))
    numbers = [number for number in every if number not in learned]
    if not numbers:
        raise ModelError(
            f"The model {model.card.name}, or one that it was fine-tuned from, learned all "
            f"materials of the part {part!r} of {dataset.name}: judge it on other materials."
        )
    keys = {dataset.rows[number].structure_key for number in numbers}
    featurize_structures(database, featurizer, sorted(keys))
    recipe = Recipe(featurizer, dict(model.card.inputs), list(model.card.fidelities))
    spectra = input_spectra(
        database, [dataset], recipe, Given(model.card.input_dataset, model.card.input_model)
    )
    recipe = replace(recipe, spectra=spectra)
    useless = unusable(database, dataset, recipe)
    usable = [number for number in numbers if number not in useless]
    if not usable:
        raise ModelError(
            f"The model {model.card.name} can take no row of the part {part!r} of {dataset.name}: "
            "its features or input spectra are not to be had for them."
        )
    left_aside = [dataset.rows[number].label for number in every if number in useless | learned]
    return Rows.gather(database, dataset, recipe, usable), left_aside


def training_mean(database: MongoDatabase, model: TrainedModel, dataset: DatasetDoc) -> FloatArray:
    """Return the mean spectrum that a model must beat on a data set, shape ``(points,)``.

    Of what the model learned from this data set; of one that it did not learn from, the mean of all
    its training spectra.
    """
    learned = [each.dataset_id for each in model.card.learned_from]
    if len(learned) == 1 or dataset.dataset_id not in learned:
        return model.head.mean
    numbers = part_numbers(dataset, parts_of(model.card))
    mean: FloatArray = targets_of(database, dataset, numbers).mean(axis=0)
    return mean


def only_dataset(model: TrainedModel) -> str:
    """Return the id of the data set that a model was trained on.

    Raises
    ------
    ModelError
        If there are several.
    """
    learned = model.card.learned_from
    if len(learned) > 1:
        ids = ", ".join(f"{each.dataset_id} ({each.absorber})" for each in learned)
        raise ModelError(
            f"The model {model.card.name} was trained on several data sets: name one of {ids}."
        )
    return learned[0].dataset_id


def _of_card(model: TrainedModel, dataset: DatasetDoc) -> dict[str, Metric]:
    """Return the figures on the card for training rows with their material left out."""
    card = model.card
    if dataset.dataset_id not in [each.dataset_id for each in card.learned_from]:
        raise DatasetError(
            f"The data set {dataset.name} has neither in {' nor in '.join(HELD_OUT)} a material "
            f"that {card.name} has not learned: name the part to judge on."
        )
    start = f"{figures_prefix(card.learned_from, dataset)}cv_"
    found = {k.removeprefix(start): v for k, v in card.metrics.items() if k.startswith(start)}
    if found:
        return found
    raise ModelError(
        f"The model {card.name} does not know what it says of materials left out, and the data set "
        f"{dataset.name} has no material kept from it: train it with folds, or freeze a part."
    )


def _check_fits(model: TrainedModel, dataset: DatasetDoc) -> None:
    card = model.card
    like = model.like_dataset(dataset)
    for what, mine, theirs in (
        ("edge", card.edge, dataset.edge),
        ("unit", card.unit, dataset.unit),
        ("grid", like.grid, dataset.grid),
    ):
        if mine != theirs:
            raise ModelError(
                f"The model {card.name} was trained for the {what} {mine}, and the data set "
                f"{dataset.name} has {theirs}: freeze it anew with the model's."
            )


def _check_not_learned(model: TrainedModel, dataset: DatasetDoc, part: str) -> None:
    learned = [each.dataset_id for each in model.card.learned_from]
    if dataset.dataset_id in learned and part in parts_of(model.card):
        raise ModelError(
            f"The model {model.card.name} learned from the part {part!r}, so it cannot be judged "
            "on it: its card has the figures for those rows with their material left out."
        )
