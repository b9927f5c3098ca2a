"""Applying a model to structures that nobody computed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jobflow.core.job import job
from jobflow.core.maker import Maker
from pymatgen.core.structure import Structure

from nearedge.errors import ModelError
from nearedge.makers.learning.ahead import computed_ahead
from nearedge.makers.learning.featurize import featurizer_of
from nearedge.makers.learning.lower_fidelity import stored_inputs
from nearedge.models.featurizers import Featurizer
from nearedge.models.heads import Head
from nearedge.models.prediction import StructurePrediction, predict
from nearedge.models.registry import is_model_folder, load_model
from nearedge.models.trained import TrainedModel
from nearedge.store.connection import connect
from nearedge.store.learned import ModelStore
from nearedge.store.operations import MongoDatabase


@dataclass
class PredictMaker(Maker):
    """Predict spectra of structures.

    Parameters
    ----------
    name
        The job's name.
    absorber
        The absorbing element; None takes the model's.
    all_sites
        Every site instead of the symmetry-unique ones.
    """

    name: str = "predict"
    absorber: str | None = None
    all_sites: bool = False

    @job
    def make(
        self, model: str, structures: Sequence[Structure], labels: Sequence[str] | None = None
    ) -> list[StructurePrediction]:
        """Return one prediction per structure, in order; as a job, when called on a maker.

        Parameters
        ----------
        model
            Name or id in the registry, or an exported folder.
        structures
            Ordered structures.
        labels
            What to call them; None takes formulas.

        Raises
        ------
        ModelError
            If there is no such model, or it was trained for another element.
        """
        return predict_structures(
            open_model(model), structures, labels, absorber=self.absorber, all_sites=self.all_sites
        )


def open_model(reference: str) -> TrainedModel:
    """Return a model by its exported folder, else by its name or id in the database.

    Raises
    ------
    ModelError
        If the folder is no intact model, or `reference` looks like a path and is none.
    DatabaseError
        If the database has no such model.
    """
    path = Path(reference).expanduser()
    if is_model_folder(path):
        return load_model(path)
    if "/" in reference:
        raise ModelError(f"{reference} is no folder that a model was exported to.")
    return stored_model(connect(), reference)


def stored_model(database: MongoDatabase, reference: str) -> TrainedModel:
    """Return a model of the registry by name or id, with the model behind its input, if any.

    Raises
    ------
    ModelError
        If card and weights do not belong together.
    DatabaseError
        If there is no such model, or its card or weights are damaged.
    """
    card, weights = ModelStore(database).get(reference)
    below = None if card.input_model is None else stored_model(database, card.input_model)
    return TrainedModel.from_bytes(card, weights, below)


def featurizer_for(model: TrainedModel) -> Featurizer:
    """Return what computes a model's features: what its card names, or its own."""
    return own_featurizer(model.head) or featurizer_of(model.card.featurizer.name)


def own_featurizer(head: Head) -> Featurizer | None:
    """Return the featurizer that is inside a head's weights, where it was trained with it."""
    own: Featurizer | None = getattr(head, "featurizer", None)
    return own


def predict_structures(
    model: TrainedModel,
    structures: Sequence[Structure],
    labels: Sequence[str] | None = None,
    *,
    absorber: str | None = None,
    all_sites: bool = False,
    workers: int = 1,
) -> list[StructurePrediction]:
    """Predict with the featurizer that the model's card names; see `PredictMaker`.

    Parameters
    ----------
    workers
        Processes that compute features; a featurizer inside the model's weights takes one.
    """
    if labels is None:
        labels = [structure.composition.reduced_formula for structure in structures]
    featurizer = featurizer_for(model)
    if own_featurizer(model.head) is None:
        featurizer = computed_ahead(featurizer, structures, workers)
    absorber = absorber or model.card.absorber
    inputs = stored_inputs(model, structures, labels, absorber, all_sites=all_sites)
    return [
        predict(
            model,
            featurizer,
            structure,
            absorber,
            all_sites=all_sites,
            label=label,
            spectra=spectra,
        )
        for structure, label, spectra in zip(structures, labels, inputs, strict=True)
    ]
