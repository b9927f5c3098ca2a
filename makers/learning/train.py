"""Training a model on frozen data sets."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from jobflow.core.job import job
from jobflow.core.maker import Maker
from pydantic import BaseModel, ConfigDict, Field

from nearedge.makers.learning.end_to_end import fit_end_to_end
from nearedge.makers.learning.featurize import featurize_structures, featurizer_of
from nearedge.makers.learning.plan import END_TO_END, OPTIONS, Given, Plan, plan_training
from nearedge.makers.learning.predict import own_featurizer, stored_model
from nearedge.makers.learning.rows import Recipe, Rows, training_rows
from nearedge.makers.learning.scores import judge
from nearedge.makers.learning.spent import SpentCpu
from nearedge.makers.learning.surroundings import surroundings_of
from nearedge.models.heads import Fitted, Head, HeadPrediction, head_kind
from nearedge.models.left_out import predict_left_out, state_alike, to_bytes
from nearedge.models.trained import make_card, training_set
from nearedge.models.uncertainty.reliability import Reliability, join
from nearedge.schemas import ModelCard
from nearedge.schemas.document import content_hash
from nearedge.schemas.model import Metric
from nearedge.settings import get_settings
from nearedge.store.claims import Claims
from nearedge.store.connection import connect
from nearedge.store.learned import DatasetStore, ModelStore
from nearedge.store.operations import MongoDatabase

CHECKPOINTS = "checkpoints"
"""Folder in the home for what a killed training goes on from."""


class TrainOutcome(BaseModel):
    """What a train job returns; the model is in the store."""

    model_config = ConfigDict(extra="forbid")

    model_id: str
    name: str
    dataset_id: str = Field(description="Several as a,b.")
    training_rows: int
    parent: str | None = None
    known: bool = Field(False, description="It had been trained before, and was not again.")
    without_features: list[str] = Field(
        default_factory=list, description="Labels of rows whose structure the featurizer refuses."
    )
    metrics: dict[str, Metric] = Field(description="`cv_` by materials left out, `val_` on val.")
    cpu_seconds: float = Field(
        description="Of fitting, folds too, without features; of all attempts, if some were killed."
    )
    feature_cpu_seconds: float = Field(description="Of computing features that were missing.")


@dataclass
class TrainMaker(Maker):
    """Train a model on frozen data sets, one for each element and code.

    A training is known by a hash of what it is made of: it is done once, and one that was killed
    goes on from its checkpoints.

    Parameters
    ----------
    name
        The job's name.
    model
        The model's name in the registry; None takes the data set's.
    head
        Kind of model: see `nearedge.models.heads`. With a parent, the parent's.
    options
        Of the head; those not named have its defaults.
    featurizer
        Specification of the features. Those that are missing are computed. With a parent, the
        parent's.
    inputs
        What the head takes beside features: ``element``, ``fidelity``. None takes those in which
        the data sets differ, or what the parent takes.
    parts
        Parts of the data sets to learn from.
    folds
        Kinds that cannot tell by themselves how they predict materials left out are trained so many
        times more to find out; 0 does without.
    seed
        Of every random choice.
    again
        Train although the model is known.
    """

    name: str = "train"
    model: str | None = None
    head: str = "kernel"
    options: dict[str, bool | int | float | str] = field(default_factory=dict)
    featurizer: str = "m3gnet"
    inputs: tuple[str, ...] | None = None
    parts: tuple[str, ...] = ("train",)
    folds: int = 0
    seed: int = 0
    again: bool = False

    @job(output_schema=TrainOutcome)
    def make(
        self,
        dataset: str | Sequence[str],
        parent: str | None = None,
        input_dataset: str | None = None,
        input_model: str | None = None,
    ) -> TrainOutcome:
        """Return the trained model's id and metrics; as a job, when called on a maker.

        Parameters
        ----------
        dataset
            Name or id of a frozen data set, or several of them.
        parent
            Name or id of a model to start from.
        input_dataset
            Data set of another code or protocol whose spectra of the same sites the head takes.
        input_model
            Model that predicts such spectra where they were not computed.

        Raises
        ------
        DatasetError
            If a data set is not what was frozen, lacks a part, or does not go with another.
        ModelError
            If there is too little to learn from, or head, options and parent do not fit.
        """
        return train(self, dataset, parent, given=Given(dataset=input_dataset, model=input_model))


def train(
    maker: TrainMaker,
    dataset: str | Sequence[str],
    parent: str | None = None,
    *,
    given: Given | None = None,
) -> TrainOutcome:
    """Train as a maker says; see `TrainMaker`."""
    database = connect()
    names = [dataset] if isinstance(dataset, str) else list(dataset)
    frozen = [DatasetStore(database).get(name) for name in names]
    started_from = None if parent is None else stored_model(database, parent)
    spec = maker.featurizer if started_from is None else started_from.card.featurizer.name
    featurizer = featurizer_of(spec)
    started = time.process_time()
    keys = sorted({row.structure_key for each in frozen for row in each.rows})
    featurize_structures(database, featurizer, keys)
    feature_seconds = time.process_time() - started
    plan = plan_training(
        database,
        frozen,
        featurizer,
        head=maker.head if started_from is None else started_from.card.head,
        options=maker.options,
        parts=maker.parts,
        parent=started_from,
        inputs=maker.inputs,
        given=given,
        folds=maker.folds,
        seed=maker.seed,
    )
    card, known = train_once(database, plan, maker.model or frozen[0].name, again=maker.again)
    return TrainOutcome(
        model_id=card.model_id,
        name=card.name,
        dataset_id=card.dataset_id,
        training_rows=card.training_rows,
        parent=card.parent,
        known=known,
        without_features=plan.left_aside,
        metrics=card.metrics,
        cpu_seconds=card.cpu_seconds,
        feature_cpu_seconds=feature_seconds,
    )


def train_once(
    database: MongoDatabase, plan: Plan, name: str, *, again: bool = False
) -> tuple[ModelCard, bool]:
    """Return the model that a plan gives, and whether it was known before.

    Two workers that come to the same training meet at its claim: one trains, the other waits and
    takes the result.
    """
    models = ModelStore(database)
    folder = get_settings().home / CHECKPOINTS / plan.training_id
    with Claims(database).hold(plan.training_id) as claim:
        card = None if again else _trained(models, plan.training_id, name)
        known = card is not None
        if card is None:
            claim.progress("train")
            card = train_model(database, plan, name, checkpoints=folder)
        # The model is stored, perhaps by one that was killed before it came here: what a killed
        # training would go on from is of no more use.
        shutil.rmtree(folder, ignore_errors=True)
    return card, known


def _trained(models: ModelStore, training_id: str, name: str) -> ModelCard | None:
    """Return the model of a training under a name, if it has been trained under any."""
    found = models.trained(training_id)
    for card in found:
        if card.name == name:
            return card
    if not found:
        return None
    identifier = content_hash(["model", name, training_id, found[0].weights_sha256])
    return models.renamed(found[0], identifier, name)


def train_model(
    database: MongoDatabase, plan: Plan, name: str, *, checkpoints: Path | None = None
) -> ModelCard:
    """Train, judge and store a model; its features must be in the store.

    Rows without features are left out; the card says how many. Its metrics are ``cv_…`` on the
    training rows, each predicted with its material left out, and ``val_…`` on the part ``val``
    where there is one that was not learned from.
    """
    parts = [
        Rows.gather(database, dataset, plan.recipe, numbers)
        for dataset, numbers in zip(plan.datasets, plan.chosen, strict=True)
    ]
    with SpentCpu(checkpoints) as spent:
        fitted = _fit(database, plan, parts, checkpoints)
        head, left_out = fitted.head, fitted.left_out
        if left_out is None and (by_folds := _by_folds(plan, parts, checkpoints)) is not None:
            head, left_out = state_alike(head, training_rows(parts), by_folds)
    known = _reliability(database, parts, left_out)
    judged = replace(plan, recipe=_recipe(database, plan, head))
    weights = join(head.to_bytes(), known)
    card = make_card(
        head,
        weights,
        plan.datasets,
        judged.recipe.featurizer.ref,
        name=name,
        metrics=_metrics(database, judged, parts, head, left_out, known),
        rows=[len(part.numbers) for part in parts],
        cpu_seconds=spent.seconds,
        choices={
            "parts": ",".join(plan.parts),
            "folds": plan.folds,
            OPTIONS: plan.options.model_dump_json(),
            "rows_without_features": len(plan.left_aside),
        },
        seeds={"training": plan.seed, "intervals": plan.seed},
        training_id=plan.training_id,
        parent=None if plan.parent is None else plan.parent.card.model_id,
        inputs=plan.recipe.inputs,
        fidelities=plan.recipe.fidelities,
        input_dataset=plan.given.dataset,
        input_model=plan.given.model,
    )
    kept = None
    if left_out is not None:
        kept = to_bytes(left_out, [np.array(part.numbers, dtype=np.intp) for part in parts])
    return ModelStore(database).put(card, weights, kept)


def _recipe(database: MongoDatabase, plan: Plan, head: Head) -> Recipe:
    """Return what the trained head takes: a featurizer of its own, if it has one."""
    own = own_featurizer(head)
    if own is None:
        return plan.recipe
    held = zip(plan.datasets, plan.held, strict=True)
    keys = {dataset.rows[number].structure_key for dataset, rows in held for number in rows}
    featurize_structures(database, own, sorted(keys))
    return replace(plan.recipe, featurizer=own)


def _fit(
    database: MongoDatabase, plan: Plan, parts: Sequence[Rows], checkpoints: Path | None
) -> Fitted[Head]:
    if plan.head == END_TO_END:
        return fit_end_to_end(database, plan, parts, checkpoints)
    return head_kind(plan.head).fit(
        training_rows(parts),
        plan.options,
        seed=plan.seed,
        parent=None if plan.parent is None else plan.parent.head,
        checkpoints=None if checkpoints is None else checkpoints / "training",
    )


def _by_folds(plan: Plan, parts: Sequence[Rows], checkpoints: Path | None) -> HeadPrediction | None:
    # A parent has mostly learned from these very materials, so that leaving them out of the second
    # training alone would make it look better than it is.
    if plan.folds == 0 or plan.parent is not None:
        return None
    return predict_left_out(
        head_kind(plan.head),
        training_rows(parts),
        plan.options,
        plan.folds,
        seed=plan.seed,
        checkpoints=checkpoints,
    )


def _metrics(
    database: MongoDatabase,
    plan: Plan,
    parts: Sequence[Rows],
    head: Head,
    left_out: HeadPrediction | None,
    known: Mapping[str, Reliability],
) -> dict[str, Metric]:
    """Judge each data set by itself: elements are not equally hard, nor their spectra as high."""
    metrics: dict[str, Metric] = {}
    every = _by_part(parts, left_out)
    for part, held, mine in zip(parts, plan.held, every, strict=True):
        prefix = plan.prefix(part.dataset)
        mean = part.targets.mean(axis=0)
        if mine is not None:
            # Its error bars were fitted to these very residuals: they prove nothing here.
            found = judge(
                part.targets, mine, mean, part.groups, part.outliers, bars=False, seed=plan.seed
            )
            metrics |= {f"{prefix}cv_{key}": value for key, value in found.items()}
        if held:
            rows = Rows.gather(database, part.dataset, plan.recipe, held)
            found = judge(
                rows.targets,
                head.predict(rows.features),
                mean,
                rows.groups,
                rows.outliers,
                intervals=known[training_set(part.dataset, 0).label].intervals,
                seed=plan.seed,
            )
            metrics |= {f"{prefix}val_{key}": value for key, value in found.items()}
    return metrics


def _reliability(
    database: MongoDatabase, parts: Sequence[Rows], left_out: HeadPrediction | None
) -> dict[str, Reliability]:
    """Learn how far each data set's predictions can be trusted."""
    return {
        training_set(part.dataset, len(part.numbers)).label: Reliability.fit(
            part.targets,
            mine,
            part.groups,
            surroundings_of(database, part.dataset, part.numbers),
        )
        for part, mine in zip(parts, _by_part(parts, left_out), strict=True)
    }


def _by_part(parts: Sequence[Rows], left_out: HeadPrediction | None) -> list[HeadPrediction | None]:
    """Divide predictions of the rows of all data sets among these."""
    if left_out is None:
        return [None] * len(parts)
    ends = np.cumsum([len(part.numbers) for part in parts])[:-1]
    divided = (np.split(array, ends) for array in (left_out.mean, left_out.std, left_out.distance))
    return [HeadPrediction(*arrays) for arrays in zip(*divided, strict=True)]
