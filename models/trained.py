"""A trained model: its card and its head, which belong together by hash."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from nearedge import __version__
from nearedge.errors import ModelError
from nearedge.models.heads import Head, head_from_bytes
from nearedge.models.heads.kernel import KernelHead
from nearedge.schemas.dataset import DatasetDoc
from nearedge.schemas.model import FeaturizerRef, Metric, ModelCard
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
    """

    card: ModelCard
    head: Head

    @property
    def energies(self) -> FloatArray:
        """Energies of its spectra in eV, shape ``(points,)``."""
        grid = self.card.grid
        return Grid(grid.start, grid.step, grid.points).energies

    @classmethod
    def from_bytes(cls, card: ModelCard, weights: bytes) -> Self:
        """Put a card and its weights together.

        Raises
        ------
        ModelError
            If the weights are not those that the card names, or cannot be read.
        """
        found = hashlib.sha256(weights).hexdigest()
        if found != card.weights_sha256:
            raise ModelError(
                f"The weights of the model {card.name} have the SHA-256 {found[:12]}… where its "
                f"card says {card.weights_sha256[:12]}…: they were changed or cut short."
            )
        head = head_from_bytes(card.head, weights)
        if (head.size, head.points) != (card.featurizer.size, card.grid.points):
            raise ModelError(
                f"The weights of the model {card.name} turn {head.size} features into "
                f"{head.points} energies where its card has {card.featurizer.size} and "
                f"{card.grid.points}."
            )
        return cls(card, head)


def make_card(
    head: KernelHead,
    weights: bytes,
    dataset: DatasetDoc,
    featurizer: FeaturizerRef,
    *,
    name: str,
    metrics: Mapping[str, Metric],
    training_rows: int,
    cpu_seconds: float,
    choices: Mapping[str, bool | int | float | str] | None = None,
) -> ModelCard:
    """Describe a head trained on `dataset`.

    Parameters
    ----------
    weights
        What ``head.to_bytes()`` returned: the model's id is their hash.
    cpu_seconds
        That training took.
    choices
        What else decided the model: the card records it beside the head's hyperparameters.
    """
    sha256 = hashlib.sha256(weights).hexdigest()
    return ModelCard(
        model_id=sha256[:32],
        name=name,
        head=head.name,
        absorber=dataset.absorber,
        edge=dataset.edge,
        code=dataset.code,
        protocol=dataset.protocol,
        dataset_id=dataset.dataset_id,
        featurizer=featurizer,
        unit=dataset.unit,
        grid=dataset.grid,
        hyperparameters={**head.hyperparameters, **(choices or {})},
        metrics=dict(metrics),
        training_rows=training_rows,
        cpu_seconds=cpu_seconds,
        code_version=__version__,
        weights_sha256=sha256,
    )
