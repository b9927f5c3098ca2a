"""The interface of every head, and what it predicts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol, Self

from nearedge.spectra.spectrum import FloatArray


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
        How far each site is from the nearest training site: the mean over features of their
        difference in standard deviations, shape ``(n_sites,)``. Zero is a training site.
    """

    mean: FloatArray
    std: FloatArray
    distance: FloatArray


class Head(Protocol):
    """A trained map from features to spectra."""

    name: ClassVar[str]

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
