"""A trained model: its card and its head, which belong together by hash."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np

from nearedge import __version__
from nearedge.errors import ModelError
from nearedge.models.heads import Head, head_from_bytes
from nearedge.models.inputs import input_columns
from nearedge.models.licences import licences_of
from nearedge.models.uncertainty.reliability import Reliability, separate
from nearedge.schemas.dataset import DatasetDoc
from nearedge.schemas.document import content_hash
from nearedge.schemas.model import FeaturizerRef, Metric, ModelCard, TrainingSet
from nearedge.spectra.grid import Grid
from nearedge.spectra.spectrum import FloatArray


@dataclass(frozen=True, eq=False)
class TrainedModel:
    """A model that can be applied.

    Parameters
    ----------
    card
        What it is and where it comes from.
    head
        What computes.
    input_model
        Predicts the spectra that the head takes as an input, where it takes any.
    reliability
        What is known of its errors and of where its training ends, by `TrainingSet.label`.
    """

    card: ModelCard
    head: Head
    input_model: TrainedModel | None = None
    reliability: Mapping[str, Reliability] = field(default_factory=dict)

    @property
    def energies(self) -> FloatArray:
        """Energies of its spectra in eV, shape ``(points,)``: the first element's of several."""
        return self.energies_of(self.card.learned_from[0].absorber)

    def energies_of(self, absorber: str, code: str | None = None) -> FloatArray:
        """Energies of its spectra of an element in eV, shape ``(points,)``."""
        grid = self.like(absorber, code).grid
        return Grid(grid.start, grid.step, grid.points).energies

    def like(self, absorber: str, code: str | None = None) -> TrainingSet:
        """Return the data set that spectra of an element are predicted like.

        Raises
        ------
        ModelError
            If the model has not learned the element, or not by that code.
        """
        found = self.card.of_absorber(absorber, code)
        if found is None:
            by = "" if code is None else f" by {code}"
            raise ModelError(
                f"The model {self.card.name} was trained on the {', '.join(self.card.absorbers)} "
                f"{self.card.edge} edge and cannot predict {absorber}{by}: choose a model of "
                f"{absorber}."
            )
        return found

    def reliability_of(self, absorber: str, code: str | None = None) -> Reliability:
        """Return what is known of predictions of an element; nothing for models of old releases."""
        return self.reliability.get(self.like(absorber, code).label, Reliability())

    def like_dataset(self, dataset: DatasetDoc) -> TrainingSet:
        """Return what it learned that is nearest to a data set: by protocol, by code, by element.

        Raises
        ------
        ModelError
            If the model has not learned the element.
        """
        label = training_set(dataset, 0).label
        own = [each for each in self.card.learned_from if each.label == label]
        by_code = self.card.of_absorber(dataset.absorber, dataset.code)
        return own[0] if own else by_code or self.like(dataset.absorber)

    def reliability_on(self, dataset: DatasetDoc) -> Reliability:
        """Return what is known of predictions of spectra like a data set's."""
        return self.reliability.get(self.like_dataset(dataset).label, Reliability())

    def inputs_for(
        self,
        features: FloatArray,
        absorber: str,
        *,
        code: str | None = None,
        spectra: FloatArray | None = None,
    ) -> FloatArray:
        """Return what the head takes for some sites, shape ``(n, head.size)``.

        Parameters
        ----------
        features
            Of the sites, from the featurizer that the card names, shape ``(n, featurizer.size)``.
        absorber
            The element of the sites.
        code
            The fidelity wanted of a model that has several; None takes the last it learned.
        spectra
            Of the sites by the code of the card's block ``spectrum:<code>``, shape ``(n, points)``.
            None, and rows of NaN, are predicted where the model has a model for that.

        Raises
        ------
        ModelError
            If the model has not learned the element, or needs spectra that it cannot predict.
        """
        inputs = self.card.inputs
        below = self.input_model
        if below is not None and self.card.takes_spectra:
            predicted = below.head.predict(below.inputs_for(features, absorber)).mean
            spectra = (
                predicted if spectra is None else np.where(np.isnan(spectra), predicted, spectra)
            )
        columns = input_columns(
            inputs, self.card.fidelities, self.like(absorber, code), len(features), spectra
        )
        return np.concatenate([features, columns], axis=1) if inputs else features

    @classmethod
    def from_bytes(
        cls, card: ModelCard, weights: bytes, input_model: TrainedModel | None = None
    ) -> Self:
        """Put a card and its weights together.

        Raises
        ------
        ModelError
            If the card is not what was sealed, the weights or the input model are not those that it
            names, or they cannot be read.
        """
        check_card(card)
        found = hashlib.sha256(weights).hexdigest()
        if found != card.weights_sha256:
            raise ModelError(
                f"The weights of the model {card.name} have the SHA-256 {found[:12]}… where its "
                f"card says {card.weights_sha256[:12]}…: they were changed or cut short."
            )
        own, reliability = separate(weights)
        head = head_from_bytes(card.head, own)
        size = card.featurizer.size + sum(card.inputs.values())
        if (head.size, head.points) != (size, card.grid.points):
            raise ModelError(
                f"The weights of the model {card.name} turn {head.size} features into "
                f"{head.points} energies where its card has {size} and {card.grid.points}."
            )
        given = None if input_model is None else input_model.card.model_id
        if given != card.input_model:
            raise ModelError(
                f"The model {card.name} takes spectra predicted by the model {card.input_model}, "
                f"and {given} was given: export it again."
            )
        return cls(card, head, input_model, reliability)


def check_card(card: ModelCard) -> None:
    """Refuse a card that is not what was sealed; one of a release without digests passes.

    Raises
    ------
    ModelError
        If its content does not have its digest.
    """
    if card.intact is False:
        raise ModelError(
            f"The card of the model {card.name} does not have the digest that it states: it was "
            "changed. Take the model from where it was trained."
        )


def make_card(
    head: Head,
    weights: bytes,
    datasets: Sequence[DatasetDoc],
    featurizer: FeaturizerRef,
    *,
    name: str,
    metrics: Mapping[str, Metric],
    rows: Sequence[int],
    cpu_seconds: float,
    choices: Mapping[str, bool | int | float | str] | None = None,
    seeds: Mapping[str, int] | None = None,
    training_id: str = "",
    parent: str | None = None,
    inputs: Mapping[str, int] | None = None,
    fidelities: Sequence[str] = (),
    input_dataset: str | None = None,
    input_model: str | None = None,
) -> ModelCard:
    """Describe a head trained on `datasets`, sealed.

    Parameters
    ----------
    weights
        What ``head.to_bytes()`` returned, joined with its reliability.
    datasets
        One for each element and fidelity; they share edge, unit, step and number of energies.
    rows
        How many of each data set were learned.
    cpu_seconds
        That training took.
    choices
        What else decided the model: the card records it beside the head's hyperparameters.
    seeds, training_id, parent, inputs, fidelities, input_dataset, input_model
        As on the card.
    """
    first = datasets[0]
    sha256 = hashlib.sha256(weights).hexdigest()
    return ModelCard(
        model_id=content_hash(["model", name, training_id, sha256]),
        name=name,
        head=head.name,
        absorber=_each(d.absorber for d in datasets),
        edge=first.edge,
        code=_each(d.code for d in datasets),
        protocol=_each(d.protocol for d in datasets),
        dataset_id=_each(d.dataset_id for d in datasets),
        featurizer=featurizer,
        unit=first.unit,
        grid=first.grid,
        # A name with a dot in it would be a path to the database.
        hyperparameters={
            name.replace(".", "_"): value
            for name, value in {**head.hyperparameters, **(choices or {})}.items()
        },
        metrics=dict(metrics),
        training_rows=sum(rows),
        cpu_seconds=cpu_seconds,
        code_version=__version__,
        parent=parent,
        weights_sha256=sha256,
        training_id=training_id,
        training_sets=[training_set(d, n) for d, n in zip(datasets, rows, strict=True)],
        inputs=dict(inputs or {}),
        fidelities=list(fidelities),
        input_dataset=input_dataset,
        input_model=input_model,
        seeds=dict(seeds or {}),
        licences=licences_of(featurizer.name),
    ).sealed()


def training_set(dataset: DatasetDoc, rows: int) -> TrainingSet:
    """Return what a card says of a data set of which `rows` were learned."""
    return TrainingSet(
        dataset_id=dataset.dataset_id,
        absorber=dataset.absorber,
        code=dataset.code,
        protocol=dataset.protocol,
        grid=dataset.grid,
        rows=rows,
    )


def _each(names: Iterable[str]) -> str:
    return ",".join(dict.fromkeys(names))
