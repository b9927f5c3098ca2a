"""What a training is made of, settled before it begins: it has a hash, and is done once."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from pydantic import BaseModel, ValidationError

from nearedge import __version__
from nearedge.errors import DatasetError, ModelError
from nearedge.makers.learning.materials import learned_materials, materials_of, numbers_of
from nearedge.makers.learning.predict import stored_model
from nearedge.makers.learning.rows import Recipe, check_alike, features_of, part_numbers, unusable
from nearedge.makers.learning.targets import targets_of
from nearedge.models.featurizers import Featurizer
from nearedge.models.heads import Head, head_kind
from nearedge.models.inputs import ELEMENT, FIDELITY, SPECTRUM
from nearedge.models.left_out import from_bytes
from nearedge.models.trained import TrainedModel, training_set
from nearedge.schemas import DatasetDoc
from nearedge.schemas.document import content_hash
from nearedge.schemas.model import ModelCard, TrainingSet
from nearedge.spectra.spectrum import FloatArray
from nearedge.store.learned import DatasetStore, ModelStore
from nearedge.store.operations import MongoDatabase

Scalar = bool | int | float | str
END_TO_END = "end_to_end"
OPTIONS = "options"
"""Under which a card has what the head was asked for, as JSON: beside it is what it then found."""


@dataclass(frozen=True)
class Given:
    """Where spectra come from that a head takes as an input: both may be named.

    Parameters
    ----------
    dataset
        Name or id of the data set of computed ones.
    model
        Name or id of the model that predicts them where none were computed.
    """

    dataset: str | None = None
    model: str | None = None


@dataclass(frozen=True, eq=False)
class Plan:
    """A training, settled.

    Parameters
    ----------
    datasets
        One for each element and fidelity.
    recipe
        What the head takes of each site.
    head, options
        Kind of head, and all its options.
    parts
        Parts of the data sets to learn from.
    chosen, held
        Row numbers in each data set to learn from, and to judge on: of materials that are learned
        from no data set, nor by the parent.
    left_aside
        Labels of rows that the head cannot take.
    parent
        What it starts from.
    given
        Ids of what gives the spectra that are an input.
    folds, seed
        As `TrainMaker` has them.
    """

    datasets: list[DatasetDoc]
    recipe: Recipe
    head: str
    options: BaseModel
    parts: tuple[str, ...]
    chosen: list[list[int]]
    held: list[list[int]]
    left_aside: list[str]
    parent: TrainedModel | None = None
    given: Given = field(default_factory=Given)
    folds: int = 0
    seed: int = 0

    @property
    def training_id(self) -> str:
        """Hash of all that decides what is learned.

        NearEdge's version stands for its source: two installs of a release share trainings. Who
        changes the source between releases trains with `TrainMaker.again`.
        """
        return content_hash(
            [
                "training",
                __version__,
                [dataset.dataset_id for dataset in self.datasets],
                self.chosen,
                self.recipe.featurizer.ref.model_dump(),
                [[name, width] for name, width in self.recipe.inputs.items()],
                self.recipe.fidelities,
                self.head,
                self.options.model_dump(mode="json"),
                None if self.parent is None else self.parent.card.model_id,
                [self.given.dataset, self.given.model],
                self.folds,
                self.seed,
            ]
        )

    def prefix(self, dataset: DatasetDoc) -> str:
        """Return what stands before the names of a data set's figures on the card."""
        return figures_prefix([training_set(each, 0) for each in self.datasets], dataset)


def figures_prefix(learned: Sequence[TrainingSet], dataset: DatasetDoc) -> str:
    """Return what stands before a data set's figures on the card of a model of `learned`.

    As much of its element, code and protocol as tells it from the others.
    """
    if len(learned) == 1:
        return ""
    of_element = [each for each in learned if each.absorber == dataset.absorber]
    if len(of_element) == 1:
        return f"{dataset.absorber}_"
    if sum(each.code == dataset.code for each in of_element) == 1:
        return f"{dataset.absorber}_{dataset.code}_"
    # A name with a dot in it would be a path to the database.
    protocol = dataset.protocol.replace(".", "_")
    return f"{dataset.absorber}_{dataset.code}_{protocol}_"


def plan_training(
    database: MongoDatabase,
    datasets: Sequence[DatasetDoc],
    featurizer: Featurizer,
    *,
    head: str = "kernel",
    options: Mapping[str, Scalar | None] | None = None,
    parts: Sequence[str] = ("train",),
    parent: TrainedModel | None = None,
    inputs: Sequence[str] | None = None,
    given: Given | None = None,
    folds: int = 0,
    seed: int = 0,
) -> Plan:
    """Settle a training; the parameters are those of `TrainMaker`. Features must be in the store.

    Raises
    ------
    DatasetError
        If the data sets do not go together, or lack a part.
    ModelError
        If head, options, inputs and parent do not fit, or no row can be used.
    """
    if not datasets or not parts:
        raise DatasetError("There is nothing to learn from: name a data set and a part of it.")
    check_alike(datasets)
    kind = checked_head(head, options or {}, folds)
    given = _resolved(database, given or Given(), parent)
    recipe = _recipe(database, datasets, featurizer, parent, inputs, given)
    recipe = replace(recipe, spectra=input_spectra(database, datasets, recipe, given))
    learned = set() if parent is None else learned_materials(database, parent.card)
    for dataset in datasets:
        learned |= materials_of(dataset, part_numbers(dataset, parts))
    chosen, held, aside = [], [], []
    for dataset in datasets:
        useless = unusable(database, dataset, recipe)
        wanted = part_numbers(dataset, parts)
        chosen.append([number for number in wanted if number not in useless])
        # A material of this part may be one to learn from in another data set, or the parent's.
        val = set(dataset.split.get("val", [])) - numbers_of(dataset, learned)
        held.append(sorted(val - useless))
        aside += [dataset.rows[number].label for number in sorted(useless)]
        if not chosen[-1]:
            raise ModelError(
                f"{featurizer.ref.name} describes no structure of the data set {dataset.name}, or "
                "no site has the spectrum that is an input: choose other features or inputs."
            )
    return Plan(
        datasets=list(datasets),
        recipe=recipe,
        head=head,
        options=_options(kind, options or {}, datasets, parent),
        parts=tuple(parts),
        chosen=chosen,
        held=held,
        left_aside=aside,
        parent=parent,
        given=given,
        folds=folds,
        seed=seed,
    )


def checked_head(head: str, options: Mapping[str, Scalar | None], folds: int) -> type[Head]:
    """Return the kind of head of a training that its options do not rule out.

    Raises
    ------
    ModelError
        If there is no such kind or option, or it is to be trained with folds and cannot.
    """
    kind = head_kind(head)
    checked_options(kind, options)
    if folds and head == END_TO_END:
        raise ModelError(
            f"An {END_TO_END} model cannot be trained with folds: leave folds at 0, and freeze a "
            "part to judge it on."
        )
    return kind


def options_of(card: ModelCard) -> BaseModel:
    """Return the options that a model was trained with; of an older release's, the kind's defaults.

    Raises
    ------
    ModelError
        If this version has other options.
    """
    kind = head_kind(card.head)
    recorded = json.loads(str(card.hyperparameters.get(OPTIONS, "{}")))
    return checked_options(kind, recorded)


def checked_options(kind: type[Head], given: Mapping[str, Scalar | None]) -> BaseModel:
    """Return a head's options with those given, numbers also as text.

    Raises
    ------
    ModelError
        If there is no such option, or its value is of another kind or out of range.
    """
    try:
        return kind.options.model_validate(dict(given))
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        name = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            raise ModelError(
                f"The head {kind.name} has no option {name!r}, only "
                f"{', '.join(kind.options.model_fields)}."
            ) from None
        raise ModelError(f"The option {name} of the head {kind.name}: {first['msg']}.") from None


def _options(
    kind: type[Head],
    given: Mapping[str, Scalar | None],
    datasets: Sequence[DatasetDoc],
    parent: TrainedModel | None,
) -> BaseModel:
    """Return all options; what a paper has for the element comes before the kind's defaults."""
    published = getattr(kind.options, "published", None)
    if published is None or parent is not None or len(datasets) != 1:
        return checked_options(kind, given)
    (dataset,) = datasets
    usual: BaseModel = published(dataset.absorber, dataset.code)
    return checked_options(kind, {**usual.model_dump(exclude_unset=True), **given})


def _resolved(database: MongoDatabase, given: Given, parent: TrainedModel | None) -> Given:
    """Return ids, the parent's where nothing else is named."""
    if parent is not None and given == Given():
        return Given(parent.card.input_dataset, parent.card.input_model)
    return Given(
        given.dataset and DatasetStore(database).get(given.dataset).dataset_id,
        given.model and ModelStore(database).card(given.model).model_id,
    )


def _recipe(
    database: MongoDatabase,
    datasets: Sequence[DatasetDoc],
    featurizer: Featurizer,
    parent: TrainedModel | None,
    inputs: Sequence[str] | None,
    given: Given,
) -> Recipe:
    """Return which blocks stand beside the features, without their content."""
    known = [] if parent is None else parent.card.fidelities
    mine = [training_set(dataset, 0).fidelity for dataset in datasets]
    fidelities = list(dict.fromkeys([*known, *mine]))
    if parent is not None:
        widths = dict(parent.card.inputs)
    else:
        if inputs is None:
            inputs = [ELEMENT] * (len({d.absorber for d in datasets}) > 1)
            inputs += [FIDELITY] * (len(fidelities) > 1)
        if strange := set(inputs) - {ELEMENT, FIDELITY}:
            raise ModelError(
                f"There is no input {min(strange)!r}: choose {ELEMENT} and {FIDELITY}; spectra "
                "are named by their data set or model."
            )
        widths = dict.fromkeys(inputs, 1)
        if (code := _code(database, given)) is not None:
            widths[f"{SPECTRUM}{code}"] = datasets[0].grid.points
    return Recipe(featurizer, widths, fidelities if FIDELITY in widths else [])


def _code(database: MongoDatabase, given: Given) -> str | None:
    if given.dataset is not None:
        return DatasetStore(database).get(given.dataset).code
    if given.model is not None:
        return ModelStore(database).card(given.model).code
    return None


def input_spectra(
    database: MongoDatabase, datasets: Sequence[DatasetDoc], recipe: Recipe, given: Given
) -> dict[str, FloatArray]:
    """Return the spectra that are an input by site: computed ones, else predicted ones.

    Raises
    ------
    ModelError
        If they have another number of points, or the model that predicts them other features.
    """
    if not recipe.takes_spectra:
        return {}
    found: dict[str, FloatArray] = {}
    if given.model is not None:
        model = stored_model(database, given.model)
        found |= _predicted(database, model, datasets, recipe.featurizer)
    if given.dataset is not None:
        frozen = DatasetStore(database).get(given.dataset)
        computed = targets_of(database, frozen)
        found |= {row.site: v for row, v in zip(frozen.rows, computed, strict=True)}
    points = datasets[0].grid.points
    if any(len(spectrum) != points for spectrum in found.values()):
        raise ModelError(
            f"The spectra that are an input do not have the {points} points of the data set "
            f"{datasets[0].name}: freeze them on a grid of as many."
        )
    return found


def _predicted(
    database: MongoDatabase,
    model: TrainedModel,
    datasets: Sequence[DatasetDoc],
    featurizer: Featurizer,
) -> dict[str, FloatArray]:
    """Predict the spectra of all sites; of sites that the model learned, as if it had not.

    A head that learned from what its input model was trained on would trust it too much.
    """
    if model.card.featurizer != featurizer.ref:
        raise ModelError(
            f"The model {model.card.name} takes {model.card.featurizer.name} features, and this "
            f"training {featurizer.ref.name}: use one featurizer for both."
        )
    learned = _left_out_spectra(database, model)
    found: dict[str, FloatArray] = {}
    for dataset in datasets:
        useless = unusable(database, dataset, Recipe(featurizer))
        numbers = [n for n in range(len(dataset.rows)) if n not in useless]
        features = features_of(database, dataset, featurizer.ref, numbers)
        inputs = model.inputs_for(features, dataset.absorber)
        for number, spectrum in zip(numbers, model.head.predict(inputs).mean, strict=True):
            site = dataset.rows[number].site
            found[site] = learned.get(site, spectrum)
    return found


def _left_out_spectra(database: MongoDatabase, model: TrainedModel) -> dict[str, FloatArray]:
    """Return by site what a model says of its training rows with their material left out."""
    kept = ModelStore(database).left_out(model.card)
    if kept is None:
        raise ModelError(
            f"The model {model.card.name} does not know what it says of materials left out, which "
            "its spectra as an input are trained with: train it with folds."
        )
    found: dict[str, FloatArray] = {}
    for number, (rows, predicted) in from_bytes(kept).items():
        dataset = DatasetStore(database).get(model.card.learned_from[number].dataset_id)
        sites = [dataset.rows[row].site for row in np.asarray(rows)]
        found |= dict(zip(sites, predicted.mean, strict=True))
    return found
