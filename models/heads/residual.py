"""A residual network shared over elements and fidelities.

Where the features have blocks `element` (atomic number) or `fidelity` (number of a code), each
value gets a learned vector of its own, so that one network serves all of them and what one teaches
helps the others. A value never seen in training gets the mean of those that were.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import ClassVar, Self, cast

import numpy as np
import torch
from pydantic import BaseModel, Field
from torch import nn

from nearedge.errors import ModelError
from nearedge.models.heads.base import TrainingRows
from nearedge.models.heads.network import NetworkHead, Scaling, SpectrumNetwork, feature_scaling
from nearedge.models.training.options import TrainingOptions

EMBEDDED = ("element", "fidelity")


class ResidualOptions(TrainingOptions):
    """Of the network."""

    batch_size: int = Field(default=64, ge=2, description="Rows per step.")
    learning_rate: float | None = Field(default=1e-3, gt=0, description="Of AdamW; None finds one.")
    plateau: int = Field(
        default=8,
        ge=0,
        description="Epochs without a better validation loss that halve the rate; 0 never does.",
    )
    weight_decay: float = Field(default=1e-2, ge=0, description="Decoupled (AdamW).")
    width: int = Field(default=256, ge=2)
    depth: int = Field(default=3, ge=1, description="Residual blocks.")
    dropout: float = Field(default=0.2, ge=0, lt=1)
    embedding: int = Field(default=16, ge=1, description="Numbers per element or fidelity.")


class _Block(nn.Module):
    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.change = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, width),
            nn.SiLU(),
            nn.Dropout(dropout),
            nn.Linear(width, width),
        )

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        changed: torch.Tensor = inputs + self.change(inputs)
        return changed


class _Embedding(nn.Module):
    """A learned vector per known value, their mean for others."""

    values: torch.Tensor

    def __init__(self, values: list[int], width: int) -> None:
        super().__init__()
        self.register_buffer("values", torch.tensor(values, dtype=torch.float32))
        self.vectors = nn.Parameter(0.1 * torch.randn(len(values), width))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        same = torch.eq(inputs.round()[:, None], self.values).to(self.vectors.dtype)
        unseen = 1.0 - same.sum(dim=1, keepdim=True)
        return torch.matmul(same + unseen / len(self.vectors), self.vectors)

    def extended(self, values: list[int]) -> _Embedding:
        """Return one that knows `values` too, which begin as the mean of those known."""
        old = [int(value) for value in self.values.tolist()]
        new = _Embedding([*old, *(v for v in values if v not in old)], self.vectors.shape[1])
        with torch.no_grad():
            new.vectors[:] = self.vectors.mean(dim=0)
            new.vectors[: len(old)] = self.vectors
        return new


class ResidualNetwork(SpectrumNetwork):
    """The network.

    Parameters
    ----------
    size, points
        Numbers in and out.
    width, depth
        Of the residual blocks, and how many.
    dropout
        Share of a block's hidden numbers that a training step leaves out.
    embedding
        Numbers per element or fidelity.
    element, fidelity
        The values known, empty where there is no such block.
    element_column, fidelity_column
        Where it is among the features; -1 where it is not.
    """

    numeric: torch.Tensor

    def __init__(
        self,
        size: int,
        points: int,
        width: int,
        depth: int,
        dropout: float,
        embedding: int,
        element: list[int],
        fidelity: list[int],
        element_column: int,
        fidelity_column: int,
    ) -> None:
        super().__init__(
            {
                "size": size,
                "points": points,
                "width": width,
                "depth": depth,
                "dropout": dropout,
                "embedding": embedding,
                "element": element,
                "fidelity": fidelity,
                "element_column": element_column,
                "fidelity_column": fidelity_column,
            }
        )
        columns = {"element": element_column, "fidelity": fidelity_column}
        self._columns = {name: column for name, column in columns.items() if column >= 0}
        values = {"element": element, "fidelity": fidelity}
        self.embeddings = nn.ModuleDict(
            {name: _Embedding(values[name], embedding) for name in self._columns}
        )
        numeric = [n for n in range(size) if n not in self._columns.values()]
        self.register_buffer("numeric", torch.tensor(numeric), persistent=False)
        self.stem = nn.Linear(len(numeric) + embedding * len(self._columns), width)
        self.blocks = nn.Sequential(*(_Block(width, dropout) for _ in range(depth)))
        self.answer = nn.Sequential(nn.LayerNorm(width), nn.SiLU(), nn.Linear(width, points))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return spectra, shape ``(n, points)``, from features ``(n, size)``."""
        parts = [inputs[:, self.numeric]]
        parts += [
            self.embeddings[name](inputs[:, column]) for name, column in self._columns.items()
        ]
        spectra: torch.Tensor = self.answer(self.blocks(self.stem(torch.cat(parts, dim=1))))
        return spectra

    def knowing(self, values: Mapping[str, list[int]]) -> ResidualNetwork:
        """Return a copy that knows more elements and fidelities."""
        clone = copy.deepcopy(self)
        for name in self._columns:
            extended = cast(_Embedding, self.embeddings[name]).extended(values[name])
            clone.embeddings[name] = extended
            clone.arguments[name] = [int(value) for value in extended.values.tolist()]
        return clone


@dataclass(frozen=True, eq=False)
class ResidualHead(NetworkHead):
    """A trained residual network."""

    name: ClassVar[str] = "residual"
    options: ClassVar[type[BaseModel]] = ResidualOptions
    kind_of_network: ClassVar[type[SpectrumNetwork]] = ResidualNetwork

    @classmethod
    def _defaults(cls) -> TrainingOptions:
        return ResidualOptions()

    @classmethod
    def _new_network(
        cls, rows: TrainingRows, options: TrainingOptions, parent: Self | None
    ) -> SpectrumNetwork:
        columns = _embedded_columns(rows.blocks)
        values = {
            name: sorted({int(v) for v in np.rint(rows.features[:, column])})
            for name, column in columns.items()
        }
        if parent is not None:
            network = parent.network
            if not isinstance(network, ResidualNetwork):
                raise ModelError(f"The parent is no {cls.name} network.")
            known = {name: network.arguments[f"{name}_column"] for name in EMBEDDED}
            if known != {name: columns.get(name, -1) for name in EMBEDDED}:
                raise ModelError(
                    "The parent has its elements and fidelities in other columns than the training "
                    "set: use the parent's feature blocks."
                )
            return network.knowing(values)
        if not isinstance(options, ResidualOptions):
            raise ModelError(f"{type(options).__name__} are no options of {cls.name}.")
        return ResidualNetwork(
            size=rows.features.shape[1],
            points=rows.targets.shape[1],
            width=options.width,
            depth=options.depth,
            dropout=options.dropout,
            embedding=options.embedding,
            element=values.get("element", []),
            fidelity=values.get("fidelity", []),
            element_column=columns.get("element", -1),
            fidelity_column=columns.get("fidelity", -1),
        )

    @classmethod
    def _new_scaling(cls, rows: TrainingRows) -> Scaling:
        center, scale = feature_scaling(rows.features)
        # Names, not quantities: the network looks them up.
        for column in _embedded_columns(rows.blocks).values():
            center[column], scale[column] = 0.0, 1.0
        offset = rows.targets.mean(axis=0)
        # One unit for all energies: the loss stays the mean squared error of the spectra.
        spread = float(np.sqrt(np.mean((rows.targets - offset) ** 2)))
        unit = spread if spread > 0 else 1.0
        return Scaling(center, scale, offset, np.full(rows.targets.shape[1], unit))


def _embedded_columns(blocks: Mapping[str, int]) -> dict[str, int]:
    """Return where the blocks are that are looked up, by name."""
    starts = dict(zip(blocks, accumulate(blocks.values(), initial=0), strict=False))
    for name in EMBEDDED:
        if blocks.get(name, 1) != 1:
            raise ModelError(f"The feature block {name} is one number, not {blocks[name]}.")
    return {name: starts[name] for name in EMBEDDED if name in starts}
