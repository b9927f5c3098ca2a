"""Models and what they say of spectra that they have not learned, for the page about them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from nearedge.errors import ModelError
from nearedge.makers.learning.evaluate import EvaluateOutcome, held_rows, training_mean, usual_part
from nearedge.makers.learning.materials import parts_of
from nearedge.makers.learning.plan import END_TO_END, options_of
from nearedge.makers.learning.predict import featurizer_for, stored_model
from nearedge.makers.learning.rows import (
    Recipe,
    Rows,
    SomeRows,
    part_numbers,
    training_rows,
    unusable,
)
from nearedge.makers.learning.scores import judge
from nearedge.makers.learning.surroundings import surroundings_of
from nearedge.makers.learning.targets import targets_of
from nearedge.models.heads import HeadPrediction, head_kind
from nearedge.models.left_out import from_bytes
from nearedge.models.metrics import (
    by_distance,
    error_deciles,
    error_metrics,
    learning_steps,
    paired_bootstrap,
    squared_errors,
    without_near_duplicates,
)
from nearedge.models.trained import TrainedModel
from nearedge.models.uncertainty.scaling import LEVELS
from nearedge.schemas import DatasetDoc
from nearedge.schemas.evaluation import Comparison, LearningPoint
from nearedge.schemas.judged import LEFT_OUT, JudgedModel
from nearedge.spectra.grid import Grid
from nearedge.spectra.spectrum import FloatArray
from nearedge.store.learned import DatasetStore, ModelStore
from nearedge.store.operations import MongoDatabase


@dataclass(frozen=True, eq=False)
class _Said(SomeRows):
    """Rows of a data set, and what a model says of them."""

    part: str
    targets: FloatArray
    found: HeadPrediction
    held: Rows | None = None
    left_aside: list[str] = field(default_factory=list)


def judged_models(
    database: MongoDatabase,
    references: Sequence[str],
    dataset: str | None = None,
    part: str | None = None,
    *,
    curve_steps: int = 0,
    seed: int = 0,
) -> list[tuple[EvaluateOutcome, JudgedModel]]:
    """Judge models, each on every data set that it learned from.

    Parameters
    ----------
    references
        Names or ids in the registry.
    dataset
        Judge on this one instead.
    part
        None takes ``val``, then ``test``, and where a data set has neither the training rows, each
        predicted with its material left out.
    curve_steps
        Train so many models on ever more rows for a learning curve; 0 trains none.
    seed
        Of bootstrap and learning curve.

    Raises
    ------
    ModelError
        If a model does not fit a data set, or has learned the part.
    DatasetError
        If a data set has no such part.
    """
    found = []
    for reference in references:
        model = stored_model(database, reference)
        ids = [dataset] if dataset else [each.dataset_id for each in model.card.learned_from]
        for each in ids:
            frozen = DatasetStore(database).get(each)
            said = _said(database, model, frozen, part)
            curve = _curve(database, model, said, curve_steps, seed) if curve_steps else []
            judged = _judged(database, model, said, curve, seed)
            outcome = EvaluateOutcome(
                model_id=model.card.model_id,
                name=model.card.name,
                dataset_id=frozen.dataset_id,
                part=said.part,
                left_aside=said.left_aside,
                metrics=dict(judged.metrics),
            )
            found.append((outcome, judged))
    return found


def comparisons(models: Sequence[JudgedModel], seed: int = 0) -> list[tuple[str, str, Comparison]]:
    """Compare every two models that were judged on the same spectra."""
    found = []
    for first, second in combinations(models, 2):
        if (first.dataset, first.part) != (second.dataset, second.part):
            continue
        place = {label: number for number, label in enumerate(second.labels)}
        own = [number for number, label in enumerate(first.labels) if label in place]
        if not own:
            continue
        other = [place[first.labels[number]] for number in own]
        groups = [first.groups[number] for number in own]
        found.append(
            (
                f"{first.name} ({first.kind})",
                second.name,
                paired_bootstrap(first.errors[own], second.errors[other], groups, seed=seed),
            )
        )
    return found


def _said(
    database: MongoDatabase, model: TrainedModel, dataset: DatasetDoc, part: str | None
) -> _Said:
    part = part or usual_part(database, model, dataset) or LEFT_OUT
    if part == LEFT_OUT:
        return _left_out(database, model, dataset)
    rows, aside = held_rows(database, model, dataset, featurizer_for(model), part)
    found = model.head.predict(rows.features)
    return _Said(dataset, rows.numbers, part, rows.targets, found, rows, aside)


def _left_out(database: MongoDatabase, model: TrainedModel, dataset: DatasetDoc) -> _Said:
    kept = ModelStore(database).left_out(model.card)
    ids = [each.dataset_id for each in model.card.learned_from]
    if kept is None or dataset.dataset_id not in ids:
        raise ModelError(
            f"The model {model.card.name} does not know what it says of materials left out of "
            f"{dataset.name}, which has no part kept from it: train it with folds, or freeze one."
        )
    numbers, found = from_bytes(kept)[ids.index(dataset.dataset_id)]
    chosen = numbers.tolist()
    return _Said(dataset, chosen, LEFT_OUT, targets_of(database, dataset, chosen), found)


def _judged(
    database: MongoDatabase,
    model: TrainedModel,
    said: _Said,
    curve: Sequence[LearningPoint],
    seed: int,
) -> JudgedModel:
    dataset, found = said.dataset, said.found
    known = model.reliability_on(dataset)
    mean = training_mean(database, model, dataset)
    errors = squared_errors(said.targets, found.mean)
    baseline = squared_errors(said.targets, np.broadcast_to(mean, said.targets.shape))
    widths = None
    if known.intervals is not None:
        widths = [known.intervals.half_width(found.std, level) for level in LEVELS]
    groups, grid = said.groups, dataset.grid
    return JudgedModel(
        name=model.card.name,
        element=dataset.absorber,
        code=dataset.code,
        head=model.card.head,
        dataset=dataset.name,
        part=said.part,
        unit=dataset.unit,
        energies=Grid(grid.start, grid.step, grid.points).energies,
        labels=[dataset.rows[number].label for number in said.numbers],
        groups=groups,
        targets=said.targets,
        mean=found.mean,
        std=found.std,
        half_widths=widths,
        errors=errors,
        distance=found.distance,
        bound=None if known.bound is None else known.bound.bound(found),
        outside=_outside(database, model, said),
        rows=model.card.training_rows,
        metrics=judge(
            said.targets,
            found,
            mean,
            groups,
            said.outliers,
            # Error bars were fitted to what is left of training rows: they prove nothing there.
            bars=said.part != LEFT_OUT,
            intervals=known.intervals,
            seed=seed,
        ),
        apart=without_near_duplicates(errors, baseline, found.distance, groups, seed=seed),
        bins=by_distance(errors, baseline, found.distance, groups, seed=seed),
        deciles=error_deciles(errors).tolist(),
        curve=curve,
    )


def _outside(database: MongoDatabase, model: TrainedModel, said: _Said) -> NDArray[np.bool_]:
    domain = model.reliability_on(said.dataset).domain
    if domain is None:
        return np.zeros(len(said.numbers), dtype=bool)
    if said.part == LEFT_OUT:  # what surrounds them was seen: only the distance can tell
        return said.found.distance > domain.distance
    sites = surroundings_of(database, said.dataset, said.numbers)
    verdicts = [
        domain.judge(site, float(distance))
        for site, distance in zip(sites, said.found.distance, strict=True)
    ]
    return np.array([bool(verdict.outside) for verdict in verdicts], dtype=bool)


def _curve(
    database: MongoDatabase, model: TrainedModel, said: _Said, steps: int, seed: int
) -> list[LearningPoint]:
    """Train the model's kind on ever more of its rows, and judge each on the same spectra."""
    card = model.card
    if card.head == END_TO_END:
        raise ModelError(
            f"There is no learning curve of {card.name}: an {END_TO_END} model learns from "
            "structures, which takes long; leave the curve out."
        )
    if said.held is None or len(card.learned_from) > 1 or card.parent or card.inputs:
        raise ModelError(
            f"There is no learning curve of {card.name}: it takes a model that learned one data "
            "set from scratch, with no input beside features, and a part kept from it."
        )
    recipe = Recipe(featurizer_for(model))
    useless = unusable(database, said.dataset, recipe)
    numbers = [n for n in part_numbers(said.dataset, parts_of(card)) if n not in useless]
    rows = training_rows([Rows.gather(database, said.dataset, recipe, numbers)])
    kind, options = head_kind(card.head), options_of(card)
    points = []
    for step in learning_steps(rows.groups, steps, seed=seed):
        part = rows.take(step)
        head = kind.fit(part, options, seed=card.seeds.get("training", seed)).head
        metrics = error_metrics(
            said.targets,
            head.predict(said.held.features).mean,
            head.mean,
            said.groups,
            seed=seed,
        )
        points.append(
            LearningPoint(
                rows=len(step),
                materials=len(set(part.groups)),
                eta=metrics["eta"],
                mean_mse=metrics["mean_mse"],
            )
        )
    return points
