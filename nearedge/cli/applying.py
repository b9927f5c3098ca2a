"""Applying models and featurizers to structures that a user names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from nearedge.errors import NearEdgeError, StructureError
from nearedge.models.featurizers import load_featurizer
from nearedge.models.prediction import (
    StructureFeatures,
    StructurePrediction,
    describe,
    predict,
)
from nearedge.models.registry import load_folder
from nearedge.models.trained import TrainedModel
from nearedge.plots.figure import Figure
from nearedge.plots.spectra import prediction_figure
from nearedge.schemas import ModelCard
from nearedge.settings import Settings
from nearedge.store.connection import connect
from nearedge.store.learned import ModelStore
from nearedge.structures.source import LoadedStructure, Refusal
from nearedge.structures.sources import load_structures

Step = Callable[[int], None]


def find_model(name: str, settings: Settings) -> tuple[ModelCard, bytes]:
    """Return a model from an exported folder, or else from the registry.

    A folder needs no database. What looks like a path is never looked up in the registry.
    """
    path = Path(name).expanduser()
    if path.exists() or len(path.parts) > 1:
        return load_folder(path)
    return ModelStore(connect(settings)).get(name)


def read_all(
    items: Sequence[str], absorber: str | None, settings: Settings
) -> list[LoadedStructure]:
    """Read every structure, in the order given.

    Raises
    ------
    StructureError
        If one of them is refused, naming it: an answer in the wrong order would be worse than none.
    """
    key = settings.mp_api_key.get_secret_value() if settings.mp_api_key else None
    loaded = load_structures(items, absorber=absorber, mp_api_key=key)
    for each in loaded:
        if isinstance(each, Refusal):
            raise StructureError(f"{each.label}: {each.reason}")
    return [each for each in loaded if isinstance(each, LoadedStructure)]


def predict_all(
    name: str,
    items: Sequence[str],
    absorber: str | None,
    *,
    all_sites: bool,
    settings: Settings,
    step: Step,
) -> tuple[ModelCard, list[StructurePrediction]]:
    """Predict the spectra of every structure with the model `name`."""
    card, weights = find_model(name, settings)
    structures = read_all(items, absorber or card.absorber, settings)
    model = TrainedModel.from_bytes(card, weights)
    featurizer = load_featurizer(card.featurizer.name, model_path=settings.model_path)
    answers = []
    for loaded in structures:
        with_label = loaded.source.label
        try:
            answer = predict(
                model,
                featurizer,
                loaded.structure,
                absorber or card.absorber,
                all_sites=all_sites,
                label=with_label,
            )
        except StructureError as error:
            raise _named(error, with_label) from None
        answers.append(answer)
        step(1)
    return card, answers


def featurize_all(
    name: str,
    items: Sequence[str],
    absorber: str | None,
    *,
    all_sites: bool,
    settings: Settings,
    step: Step,
) -> list[StructureFeatures]:
    """Compute the features of every structure."""
    structures = read_all(items, absorber, settings)
    featurizer = load_featurizer(name, model_path=settings.model_path)
    answers = []
    for loaded in structures:
        try:
            answer = describe(
                featurizer,
                loaded.structure,
                absorber,
                all_sites=all_sites,
                label=loaded.source.label,
            )
        except StructureError as error:
            raise _named(error, loaded.source.label) from None
        answers.append(answer)
        step(1)
    return answers


def figure_of(card: ModelCard, answer: StructurePrediction) -> Figure:
    """Return a structure's predicted average with its interval."""
    return prediction_figure(
        f"{answer.structure}, {card.absorber} {card.edge} edge",
        np.array(answer.average.energy),
        np.array(answer.average.absorption),
        np.array(answer.average.std),
        card.unit,
        subtitle=f"predicted by {card.name}, trained on {card.code.upper()} {card.protocol}",
    )


def _named(error: NearEdgeError, label: str) -> StructureError:
    text = str(error)
    return StructureError(text if label in text else f"{label}: {text}")
