"""Applying models and featurizers to structures that a user names."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from nearedge.errors import StructureError
from nearedge.makers.learning.ahead import computed_ahead
from nearedge.makers.learning.featurize import featurize_structures, featurizer_of
from nearedge.makers.learning.predict import open_model, predict_structures
from nearedge.models.prediction import StructureFeatures, StructurePrediction, describe
from nearedge.plots.figure import Figure
from nearedge.plots.spectra import prediction_figure
from nearedge.schemas import ModelCard
from nearedge.settings import Settings
from nearedge.store.connection import connect
from nearedge.structures.source import LoadedStructure, Refusal
from nearedge.structures.sources import load_structures

Step = Callable[[int], None]

_AT_A_TIME = 2000
"""Structures whose features are held together: of the largest recipe about 500 MB for 20 sites.

The processes that compute them start anew for each so many, and take seconds to.
"""


def read_all(
    items: Sequence[str], absorber: str | None, settings: Settings
) -> list[LoadedStructure]:
    """Read every structure, in the order given.

    Raises
    ------
    StructureError
        If one of them is refused, naming it: an answer that lacks one would be taken for another.
    """
    key = settings.mp_api_key.get_secret_value() if settings.mp_api_key else None
    read = []
    for each in load_structures(items, absorber=absorber, mp_api_key=key):
        if isinstance(each, Refusal):
            raise StructureError(f"{each.label}: {each.reason}")
        read.append(each)
    return read


def predict_all(
    name: str,
    items: Sequence[str],
    absorber: str | None,
    *,
    all_sites: bool,
    settings: Settings,
    step: Step,
    workers: int | None = None,
) -> tuple[ModelCard, list[StructurePrediction]]:
    """Predict the spectra of every structure with a model of the registry or of a folder.

    None of `workers` is the setting `workers`.
    """
    model = open_model(name)
    absorber = absorber or model.card.absorber
    structures = read_all(items, absorber, settings)
    answers = []
    for some in _portions(structures):
        answers += predict_structures(
            model,
            [loaded.structure for loaded in some],
            [loaded.source.label for loaded in some],
            absorber=absorber,
            all_sites=all_sites,
            workers=workers or settings.workers,
        )
        step(len(some))
    return model.card, answers


def _portions(structures: Sequence[LoadedStructure]) -> Iterator[Sequence[LoadedStructure]]:
    """Yield structures some at a time; their features are held together."""
    for start in range(0, len(structures), _AT_A_TIME):
        yield structures[start : start + _AT_A_TIME]


def featurize_all(
    name: str,
    items: Sequence[str],
    absorber: str | None,
    *,
    all_sites: bool,
    settings: Settings,
    step: Step,
    workers: int | None = None,
) -> list[StructureFeatures]:
    """Compute the features of every structure; nothing is stored.

    None of `workers` is the setting `workers`.
    """
    structures = read_all(items, absorber, settings)
    featurizer = featurizer_of(name)
    answers = []
    for some in _portions(structures):
        ready = computed_ahead(
            featurizer, [loaded.structure for loaded in some], workers or settings.workers
        )
        for loaded in some:
            answers.append(
                describe(
                    ready,
                    loaded.structure,
                    absorber,
                    all_sites=all_sites,
                    label=loaded.source.label,
                )
            )
            step(1)
    return answers


def featurize_stored(
    name: str, keys: Sequence[str], settings: Settings, step: Step, *, workers: int | None = None
) -> None:
    """Compute and store the features that stored structures lack; None is the setting `workers`."""
    featurize_structures(
        connect(settings), featurizer_of(name), keys, workers=workers or settings.workers, step=step
    )


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
