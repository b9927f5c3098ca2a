"""The three networks, and the trained autoencoder that is kept of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise
from typing import Self

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from nearedge.errors import ModelError
from nearedge.models.styles.options import StyleOptions
from nearedge.spectra.spectrum import FloatArray

_FORMAT = "nearedge-styles-1"
_TOLD = "about"
"""Name of the tensor that holds everything but weights, as JSON."""


def stack(sizes: Sequence[int], dropout: float) -> nn.Sequential:
    """Return linear layers with batch normalisation, PReLU and dropout between them."""
    layers: list[nn.Module] = []
    for number, (inner, outer) in enumerate(pairwise(sizes)):
        layers.append(nn.Linear(inner, outer))
        if number < len(sizes) - 2:
            layers += [nn.BatchNorm1d(outer), nn.PReLU(outer), nn.Dropout(dropout)]
    return nn.Sequential(*layers)


class Autoencoder(nn.Module):
    """Encoder and decoder; spectra in units of the edge step, shape ``(n, options.points)``."""

    def __init__(self, options: StyleOptions) -> None:
        super().__init__()
        inner = [options.width] * (options.layers - 1)
        # Styles of a fixed scale: else the ranks would be told apart by ever larger numbers.
        self.encoder = nn.Sequential(
            stack([options.points, *inner, options.styles], options.dropout),
            nn.BatchNorm1d(options.styles, affine=False),
        )
        # An absorption is never negative.
        self.decoder = nn.Sequential(
            stack([options.styles, *inner, options.points], options.dropout), nn.Softplus()
        )

    def settle(self, spectra: Tensor) -> None:
        """Take the means and variances of all normalisations from `spectra`.

        In training they also saw spectra that were decoded from drawn styles.
        """
        norms = [each for each in self.modules() if isinstance(each, nn.BatchNorm1d)]
        self.eval()
        for norm in norms:
            norm.momentum = 1.0
            norm.train()
        with torch.no_grad():
            self.decoder(self.encoder(spectra))
        self.eval()


def discriminator(options: StyleOptions) -> nn.Sequential:
    """Return the adversary: it tells styles from normally distributed numbers."""
    inner = [options.width] * (options.discriminator_layers - 1)
    return stack([options.styles, *inner, 1], dropout=0.0)


class StyleModel:
    """A trained autoencoder between spectra in their own unit, on their own grid, and styles.

    Parameters
    ----------
    network
        With its normalisations settled.
    options
        What it was made by.
    names
        The descriptors that the first styles follow, in order; the styles after them are free.
    scale
        What one edge step is in the spectra's unit.
    grid_points
        Energies of the spectra.
    """

    def __init__(
        self,
        network: Autoencoder,
        options: StyleOptions,
        names: Sequence[str],
        scale: float,
        grid_points: int,
    ) -> None:
        self.network = network.eval()
        self.options = options
        self.names = tuple(names)
        self.scale = scale
        self.grid_points = grid_points

    @property
    def style_names(self) -> tuple[str, ...]:
        """What each style is called: its descriptor, or ``free``, numbered from the second on."""
        free = self.options.styles - len(self.names)
        return (*self.names, *(f"free {n}" if n > 1 else "free" for n in range(1, free + 1)))

    def encode(self, spectra: FloatArray) -> FloatArray:
        """Return the styles, shape ``(n, styles)``, of spectra of shape ``(n, grid_points)``."""
        if spectra.ndim != 2 or spectra.shape[1] != self.grid_points:
            raise ModelError(
                f"These styles are of spectra with {self.grid_points} energies, and the spectra "
                f"have the shape {spectra.shape}."
            )
        scaled = resampled(spectra / self.scale, self.options.points)
        with torch.no_grad():
            found = self.network.encoder(torch.tensor(scaled, dtype=torch.float32))
        return np.asarray(found.numpy(), dtype=np.float64)

    def decode(self, styles: FloatArray) -> FloatArray:
        """Return the spectra, shape ``(n, grid_points)``, of styles of shape ``(n, styles)``."""
        with torch.no_grad():
            found = self.network.decoder(torch.tensor(styles, dtype=torch.float32))
        spectra = resampled(np.asarray(found.numpy(), dtype=np.float64), self.grid_points)
        return spectra * self.scale

    def to_bytes(self) -> bytes:
        """Return everything as a safetensors file; the same model gives the same bytes."""
        told = json.dumps(
            {
                "format": _FORMAT,
                "options": self.options.model_dump(),
                "names": self.names,
                "scale": self.scale,
                "grid_points": self.grid_points,
            },
            sort_keys=True,
        )
        tensors = {name: each.contiguous() for name, each in self.network.state_dict().items()}
        # A tensor, since safetensors writes its own metadata in no fixed order.
        tensors[_TOLD] = torch.frombuffer(bytearray(told.encode()), dtype=torch.uint8)
        content: bytes = save(tensors)
        return content

    @classmethod
    def from_bytes(cls, weights: bytes) -> Self:
        """Read what `to_bytes` wrote.

        Raises
        ------
        ModelError
            If the weights are damaged, or of something else.
        """
        try:
            tensors = load(weights)
            told = json.loads(bytes(tensors.pop(_TOLD).tolist()))
            if told["format"] != _FORMAT:
                raise ValueError(f"their format is {told['format']}")
            options = StyleOptions.model_validate(told["options"])
            network = Autoencoder(options)
            network.load_state_dict(tensors)
            scale, points = float(told["scale"]), int(told["grid_points"])
            return cls(network, options, told["names"], scale, points)
        except (SafetensorError, KeyError, ValueError, RuntimeError) as error:
            first = str(error).splitlines()[0]
            raise ModelError(f"These are no weights of styles ({first}): train again.") from None


def resampled(spectra: FloatArray, points: int) -> FloatArray:
    """Return spectra on `points` uniform energies of the same range, linear between their own."""
    own = spectra.shape[1]
    if points == own:
        return spectra
    places = np.linspace(0.0, own - 1.0, points)
    left = np.minimum(places.astype(np.intp), own - 2)
    share = places - left
    mixed: FloatArray = spectra[:, left] * (1.0 - share) + spectra[:, left + 1] * share
    return mixed
