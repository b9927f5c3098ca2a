"""Training a model on a frozen data set."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jobflow.core.job import job
from jobflow.core.maker import Maker
from pydantic import BaseModel, ConfigDict, Field

from nearedge.errors import DatasetError, ModelError
from nearedge.makers.featurize import featurize_structures, featurizer_of
from nearedge.makers.freeze import targets_of
from nearedge.models.featurizers import Featurizer
from nearedge.models.heads import KernelHead, TrainingRows
from nearedge.models.heads.kernel import KernelOptions
from nearedge.models.metrics import error_metrics, evaluate
from nearedge.models.trained import make_card
from nearedge.schemas import DatasetDoc, ModelCard
from nearedge.schemas.model import FeaturizerRef, Metric
from nearedge.spectra.spectrum import FloatArray
from nearedge.store.connection import connect
from nearedge.store.features import FeatureStore
from nearedge.store.learned import DatasetStore, ModelStore
from nearedge.store.operations import MongoDatabase


class TrainOutcome(BaseModel):
    """What a train job returns; the model is in the store."""

    model_config = ConfigDict(extra="forbid")

    model_id: str
    name: str
    dataset_id: str
    training_rows: int
    without_features: list[str] = Field(
        default_factory=list, description="Labels of rows whose structure the featurizer refuses."
    )
    metrics: dict[str, Metric] = Field(description="`cv_` by materials left out, `val_` on val.")
    cpu_seconds: float = Field(description="Of fitting, without features.")
    feature_cpu_seconds: float = Field(description="Of computing features that were missing.")


@dataclass
class TrainMaker(Maker):
    """Train the kernel model on a frozen data set.

    Parameters
    ----------
    name
        The job's name.
    model
        The model's name in the registry; None takes the data set's.
    featurizer
        ``m3gnet`` or ``chgnet``. Features that are missing are computed.
    parts
        Parts of the data set to learn from.
    length
        Length of the kernel; None finds it by leaving materials out.
    seed
        Of every random choice.
    """

    name: str = "train"
    model: str | None = None
    featurizer: str = "m3gnet"
    parts: tuple[str, ...] = field(default=("train",))
    length: float | None = None
    seed: int = 0

    @job(output_schema=TrainOutcome)
    def make(self, dataset: str) -> TrainOutcome:
        """Return the trained model's id and metrics; as a job, when called on a maker.

        Parameters
        ----------
        dataset
            Name or id of a frozen data set.

        Raises
        ------
        DatasetError
            If the data set is not what was frozen, or lacks a part.
        ModelError
            If there is too little to learn from.
        """
        database = connect()
        frozen = DatasetStore(database).get(dataset)
        featurizer = featurizer_of(self.featurizer)
        started = time.process_time()
        featurize_structures(
            database, featurizer, sorted({row.structure_key for row in frozen.rows})
        )
        feature_seconds = time.process_time() - started
        lacking = without_features(database, frozen, featurizer.ref)
        if len(lacking) == len(frozen.rows):
            raise ModelError(
                f"{featurizer.ref.name} describes no structure of the data set {frozen.name}: "
                "choose another featurizer."
            )
        card = train_model(
            database,
            frozen,
            featurizer,
            name=self.model or frozen.name,
            parts=self.parts,
            length=self.length,
            seed=self.seed,
        )
        return TrainOutcome(
            model_id=card.model_id,
            name=card.name,
            dataset_id=card.dataset_id,
            training_rows=card.training_rows,
            without_features=[frozen.rows[number].label for number in lacking],
            metrics=card.metrics,
            cpu_seconds=card.cpu_seconds,
            feature_cpu_seconds=feature_seconds,
        )


def train_model(
    database: MongoDatabase,
    dataset: DatasetDoc,
    featurizer: Featurizer,
    *,
    name: str,
    parts: Sequence[str] = ("train",),
    length: float | None = None,
    seed: int = 0,
) -> ModelCard:
    """Train, judge and store a model; its features must be in the store.

    Rows without features are left out; the card says how many. Its metrics are ``cv_…`` on the
    training rows, each predicted with its material left out, and ``val_…`` on the part ``val``
    where there is one that was not learned from.
    """
    targets = targets_of(database, dataset)
    groups = [row.group for row in dataset.rows]
    lacking = set(without_features(database, dataset, featurizer.ref))
    chosen = [number for number in part_numbers(dataset, parts) if number not in lacking]
    chosen_groups = [groups[number] for number in chosen]
    rows = TrainingRows(
        features_of(database, dataset, featurizer.ref, chosen),
        targets[chosen],
        chosen_groups,
        step=dataset.grid.step,
    )
    started = time.process_time()
    fitted = KernelHead.fit(rows, KernelOptions(length=length), seed=seed)
    cpu_seconds = time.process_time() - started
    head, left_out = fitted.head, fitted.left_out
    assert left_out is not None  # a kernel always tells
    judged = error_metrics(targets[chosen], left_out.mean, head.mean, chosen_groups, seed=seed)
    metrics = {f"cv_{key}": value for key, value in judged.items()}
    val = [n for n in dataset.split.get("val", []) if n not in lacking and n not in chosen]
    if val:
        found = head.predict(features_of(database, dataset, featurizer.ref, val))
        val_groups = [groups[number] for number in val]
        judged = evaluate(targets[val], found.mean, found.std, head.mean, val_groups, seed=seed)
        metrics |= {f"val_{key}": value for key, value in judged.items()}
    weights = head.to_bytes()
    card = make_card(
        head,
        weights,
        dataset,
        featurizer.ref,
        name=name,
        metrics=metrics,
        choices={
            "seed": seed,
            "parts": ",".join(parts),
            "rows_without_features": len(lacking.intersection(part_numbers(dataset, parts))),
        },
        training_rows=len(chosen),
        cpu_seconds=cpu_seconds,
    )
    return ModelStore(database).put(card, weights)


def without_features(
    database: MongoDatabase, dataset: DatasetDoc, featurizer: FeaturizerRef
) -> list[int]:
    """Return the numbers of a data set's rows whose structure has no features in the store."""
    keys = {row.structure_key for row in dataset.rows}
    stored = FeatureStore(database).get_many(keys, featurizer)
    return [n for n, row in enumerate(dataset.rows) if row.structure_key not in stored]


def part_numbers(dataset: DatasetDoc, parts: Sequence[str]) -> list[int]:
    """Return the row numbers of some parts of a data set, ascending.

    Raises
    ------
    DatasetError
        If it has no such part.
    """
    for part in parts:
        if part not in dataset.split:
            raise DatasetError(
                f"The data set {dataset.name} has no part {part!r}, only "
                f"{', '.join(dataset.split)}."
            )
    return sorted({number for part in parts for number in dataset.split[part]})


def features_of(
    database: MongoDatabase,
    dataset: DatasetDoc,
    featurizer: FeaturizerRef,
    numbers: Sequence[int] | None = None,
) -> FloatArray:
    """Return the features of a data set's absorbing sites, shape ``(rows, featurizer.size)``.

    Parameters
    ----------
    numbers
        Row numbers; None takes all.

    Raises
    ------
    ModelError
        If a structure has no features in the store.
    """
    rows = dataset.rows if numbers is None else [dataset.rows[number] for number in numbers]
    stored = FeatureStore(database).get_many({row.structure_key for row in rows}, featurizer)
    lacking = [row.label for row in rows if row.structure_key not in stored]
    if lacking:
        raise ModelError(
            f"{len(lacking)} rows of the data set {dataset.name} have no {featurizer.name} "
            f"features, {lacking[0]} being the first: the featurizer refused the structure, or was "
            "not run on it."
        )
    chosen = [stored[row.structure_key][row.absorbing_index] for row in rows]
    features: FloatArray = np.stack(chosen).astype(np.float64)
    return features
