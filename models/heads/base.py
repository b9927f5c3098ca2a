"""The interface of every head: what it learns from, and what it predicts."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from nearedge.errors import ModelError
from nearedge.spectra.spectrum import FloatArray


@dataclass(frozen=True, eq=False)
class TrainingRows:
    """Sites and their spectra, to learn from.

    Parameters
    ----------
    features
        Shape ``(n, size)``.
    targets
        Absorption, shape ``(n, points)``.
    groups
        The material of each row: rows of one material are left out together.
    step
        Distance of neighbouring energies in eV.
    blocks
        Names and widths of the blocks that the features are made of, in their order; the widths
        add up to ``size``. Empty is one block.
    edges
        Energy of the code's own zero on the axis of each spectrum, its edge minus its Fermi level,
        in eV above the first energy of the grid, shape ``(n,)``; NaN where it does not state both.
    """

    features: FloatArray
    targets: FloatArray
    groups: Sequence[Hashable]
    step: float = 0.25
    blocks: Mapping[str, int] = field(default_factory=dict)
    edges: FloatArray | None = None

    def __post_init__(self) -> None:
        rows = len(self.features)
        if rows < 2:
            raise ModelError(
                f"A model needs at least two spectra to learn from, and the training set has "
                f"{rows}: compute or ingest more."
            )
        if not rows == len(self.targets) == len(self.groups):
            raise ModelError(
                f"{rows} rows of features, {len(self.targets)} spectra and {len(self.groups)} "
                "materials do not belong together."
            )
        if self.blocks and sum(self.blocks.values()) != self.features.shape[1]:
            raise ModelError(
                f"Blocks of {dict(self.blocks)} features do not add up to {self.features.shape[1]}."
            )
        if self.edges is not None and self.edges.shape != (rows,):
            raise ModelError(f"{self.edges.shape} edge energies do not belong to {rows} rows.")
        if not (np.all(np.isfinite(self.features)) and np.all(np.isfinite(self.targets))):
            raise ModelError("A training feature or spectrum is not a finite number.")

    def take(self, numbers: NDArray[np.intp]) -> Self:
        """Return some of the rows, by number."""
        return replace(
            self,
            features=self.features[numbers],
            targets=self.targets[numbers],
            groups=[self.groups[number] for number in numbers],
            edges=None if self.edges is None else self.edges[numbers],
        )


@dataclass(frozen=True, eq=False)
class HeadPrediction:
    """Spectra predicted for some sites.

    Parameters
    ----------
    mean
        Absorption in the unit of the training spectra, never negative, shape ``(n_sites, points)``.
    std
        Standard deviation in the same unit, shape ``(n_sites, points)``: 68 % of spectra of
        materials not seen in training lie within one, 95 % within 1.96 of them.
    distance
        How far each site is from the nearest training site: a mean over features of their
        difference in standard deviations, weighted as the head weighs them, shape ``(n_sites,)``.
        Zero is a training site.
    """

    mean: FloatArray
    std: FloatArray
    distance: FloatArray


class Head(Protocol):
    """A trained map from features to spectra.

    A kind of head has a name, a class of options, whether it can go on from a parent's weights, and
    `fit`, which the kinds listed in `nearedge.models.heads` share.
    """

    name: ClassVar[str]
    options: ClassVar[type[BaseModel]]
    fine_tunes: ClassVar[bool]

    @classmethod
    def fit(
        cls,
        rows: TrainingRows,
        options: Any = None,
        *,
        seed: int = 0,
        parent: Head | None = None,
        checkpoints: Path | None = None,
    ) -> Fitted[Self]:
        """Train on sites and their spectra.

        Parameters
        ----------
        options
            An instance of the class's `options`; None takes the defaults.
        seed
            Of every random choice: the same seed gives the same head.
        parent
            A trained head to start from, for kinds that can be fine-tuned.
        checkpoints
            A folder for what a killed training goes on from; None keeps nothing.

        Raises
        ------
        ModelError
            If there is too little to learn from, or the parent is of another kind or shape.
        """

    @classmethod
    def tells_left_out(cls, options: Any = None) -> bool:
        """Tell whether `fit` with some options predicts each row with its material left out."""

    @property
    def mean(self) -> FloatArray:
        """Mean training spectrum, shape ``(points,)``: what a model must beat."""

    @property
    def size(self) -> int:
        """Features per site that it takes."""

    @property
    def points(self) -> int:
        """Energies that it predicts."""

    @property
    def hyperparameters(self) -> dict[str, bool | int | float | str]:
        """What the model card records."""

    def predict(self, features: FloatArray) -> HeadPrediction:
        """Predict the spectra of sites with `features`, shape ``(n_sites, size)``."""

    def correlation(self, features: FloatArray) -> FloatArray:
        """Return how the errors of sites hang together, shape ``(n_sites, n_sites)``."""

    def to_bytes(self) -> bytes:
        """Return the weights as a safetensors file."""

    @classmethod
    def from_bytes(cls, weights: bytes) -> Self:
        """Read what `to_bytes` wrote."""


H_co = TypeVar("H_co", bound=Head, covariant=True)


@dataclass(frozen=True, eq=False)
class Fitted(Generic[H_co]):
    """A trained head and what is known of it from training alone.

    Parameters
    ----------
    head
        The head.
    left_out
        Each training row predicted with its material left out: mean, standard deviation and
        distance. None where the kind has no way to tell.
    history
        Names of losses to their values per epoch, for kinds trained in epochs.
    """

    head: H_co
    left_out: HeadPrediction | None = None
    history: Mapping[str, Sequence[float]] = field(default_factory=dict)
