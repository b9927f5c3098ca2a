"""The XASBlock network of OmniXAS (arXiv:2409.19552): expert, universal, and fine-tuned.

Layers of (Linear, BatchNorm, SiLU, Dropout 0.5), then Linear and Softplus. Trained on one element
it is the paper's expert; on rows of several, its universal model; with a parent, it starts from the
parent's weights and scaling at a lower learning rate. A block `element` or `spectrum:…` among the
features is so many more numbers at its input.
"""

from __future__ import annotations

import copy
import math
import re
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar, Self

import numpy as np
import torch
from pydantic import BaseModel, Field, field_validator
from torch import nn

from nearedge.errors import ModelError
from nearedge.models.heads.base import TrainingRows
from nearedge.models.heads.network import NetworkHead, Scaling, SpectrumNetwork, feature_scaling
from nearedge.models.training.options import TrainingOptions

UNIVERSAL_WIDTHS = "500-500-550"
PUBLISHED = MappingProxyType(
    {
        ("Ti", "feff"): ("600-600-450", 32),
        ("V", "feff"): ("600-550-450", 32),
        ("Cr", "feff"): ("450-350-150", 32),
        ("Mn", "feff"): ("500-400-300", 64),
        ("Fe", "feff"): ("450-400-450", 64),
        ("Co", "feff"): ("600-550-450", 32),
        ("Ni", "feff"): ("600-300", 32),
        ("Cu", "feff"): ("600-600-400", 32),
        ("Ti", "vasp"): ("500-600-400", 64),
        ("Cu", "vasp"): ("550-600-450", 64),
    }
)
"""Hidden widths and batch size of the paper's experts, by element and code."""
_WIDTHS = re.compile(r"[1-9]\d{0,4}(-[1-9]\d{0,4})*")


class XASBlockOptions(TrainingOptions):
    """Of the network; the defaults are those of the paper's universal model."""

    widths: str = Field(
        default=UNIVERSAL_WIDTHS, description="Of the hidden layers, such as 600-600-400."
    )
    dropout: float = Field(default=0.5, ge=0, lt=1)

    @field_validator("widths")
    @classmethod
    def _are_widths(cls, value: str) -> str:
        if not _WIDTHS.fullmatch(value):
            raise ValueError(f"{value!r} gives no widths: write them as 600-600-400")
        return value

    @classmethod
    def published(cls, element: str, code: str = "feff") -> Self:
        """Return the paper's options for an expert; the universal model's where it has none."""
        widths, batch_size = PUBLISHED.get((element, code), (UNIVERSAL_WIDTHS, 32))
        return cls(widths=widths, batch_size=batch_size)


class XASBlock(SpectrumNetwork):
    """The network.

    Parameters
    ----------
    size, points
        Numbers in and out.
    widths
        Of the hidden layers.
    dropout
        Share of each hidden layer that a training step leaves out.
    """

    def __init__(self, size: int, points: int, widths: list[int], dropout: float) -> None:
        super().__init__({"size": size, "points": points, "widths": widths, "dropout": dropout})
        layers: list[nn.Module] = []
        before = size
        for width in widths:
            hidden = (nn.Linear(before, width), nn.BatchNorm1d(width), nn.SiLU())
            layers += [*hidden, nn.Dropout(dropout)]
            before = width
        self.layers = nn.Sequential(*layers, nn.Linear(before, points), nn.Softplus())

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return spectra, shape ``(n, points)``, from features ``(n, size)``."""
        spectra: torch.Tensor = self.layers(inputs)
        return spectra


@dataclass(frozen=True, eq=False)
class XASBlockHead(NetworkHead):
    """A trained XASBlock."""

    name: ClassVar[str] = "xasblock"
    options: ClassVar[type[BaseModel]] = XASBlockOptions
    kind_of_network: ClassVar[type[SpectrumNetwork]] = XASBlock

    @classmethod
    def _defaults(cls) -> TrainingOptions:
        return XASBlockOptions()

    @classmethod
    def _new_network(
        cls, rows: TrainingRows, options: TrainingOptions, parent: Self | None
    ) -> SpectrumNetwork:
        if parent is not None:
            return copy.deepcopy(parent.network)
        if not isinstance(options, XASBlockOptions):
            raise ModelError(f"{type(options).__name__} are no options of {cls.name}.")
        return XASBlock(
            size=rows.features.shape[1],
            points=rows.targets.shape[1],
            widths=[int(width) for width in options.widths.split("-")],
            dropout=options.dropout,
        )

    @classmethod
    def _new_scaling(cls, rows: TrainingRows) -> Scaling:
        center, scale = feature_scaling(rows.features)
        # The paper takes absorption in 1e-3 bohr^2, which is about one: so is what is made here,
        # whatever the unit, by a power of ten.
        typical = float(np.mean(np.abs(rows.targets)))
        unit = 10.0 ** round(math.log10(typical)) if typical > 0 else 1.0
        points = rows.targets.shape[1]
        return Scaling(center, scale, np.zeros(points), np.full(points, unit))
