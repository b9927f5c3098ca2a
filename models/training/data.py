"""What a network is trained on: batches in an order that hangs on seed and epoch alone."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

IntArray = NDArray[np.intp]

Batch = tuple[Any, torch.Tensor]
"""Whatever a network takes, and the outputs wanted for it, shape ``(n, points)``."""

FEWEST_MATERIALS = 5
"""With fewer, none is kept for early stopping."""


class Examples(Protocol):
    """What a network is trained on."""

    def __len__(self) -> int:
        """Return how many examples there are."""

    def take(self, numbers: torch.Tensor) -> Batch:
        """Return some of them together."""

    def tensors(self) -> Iterator[torch.Tensor]:
        """Go through all that they hold."""


@dataclass(frozen=True, eq=False)
class Pairs:
    """Inputs and the outputs wanted for them.

    Parameters
    ----------
    inputs
        Shape ``(n, size)``.
    targets
        Shape ``(n, points)``.
    """

    inputs: torch.Tensor
    targets: torch.Tensor

    def __len__(self) -> int:
        return len(self.inputs)

    def take(self, numbers: torch.Tensor) -> Batch:
        """Return some rows."""
        return self.inputs[numbers], self.targets[numbers]

    def tensors(self) -> Iterator[torch.Tensor]:
        """Go through inputs and targets."""
        yield from (self.inputs, self.targets)


class Batches:
    """Goes through examples in batches of nearly equal size, in an order of its own each epoch.

    Parameters
    ----------
    examples
        What is trained on.
    size
        Of a batch, at most.
    seed
        Of the order.
    epoch
        Tells the number of the epoch that begins.
    """

    # Nearly equal: a last batch of one row would have no variance for batch normalisation.

    def __init__(self, examples: Examples, size: int, seed: int, epoch: Callable[[], int]) -> None:
        self._examples, self._seed, self._epoch = examples, seed, epoch
        self._parts = -(-len(examples) // size)

    def __len__(self) -> int:
        return self._parts

    def __iter__(self) -> Iterator[Batch]:
        generator = np.random.default_rng([self._seed, self._epoch()])
        order = torch.from_numpy(generator.permutation(len(self._examples)))
        for numbers in torch.tensor_split(order, self._parts):
            yield self._examples.take(numbers)


class Chunks:
    """Goes through examples in their own order.

    Parameters
    ----------
    examples
        What is gone through.
    size
        Of a batch, at most.
    """

    def __init__(self, examples: Examples, size: int) -> None:
        self._examples = examples
        self._parts = -(-len(examples) // size)

    def __len__(self) -> int:
        return self._parts

    def __iter__(self) -> Iterator[Batch]:
        for numbers in torch.tensor_split(torch.arange(len(self._examples)), self._parts):
            yield self._examples.take(numbers)


def chance_of(name: Hashable, seed: int) -> float:
    """Return a number between 0 and 1 that hangs on a material's name and the seed alone.

    A model and what is fine-tuned from it divide their materials alike by it, whatever else each
    was trained with: what the one held out the other has not seen by way of the one.
    """
    digest = hashlib.sha256(f"{seed} {name}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def held_out_rows(groups: Sequence[Hashable], share: float, seed: int) -> IntArray:
    """Choose the rows of some materials to stop the training by, ascending.

    Parameters
    ----------
    groups
        The material of each row.
    share
        Of the materials. Where that gives few, it becomes ten of them, or a quarter.
    seed
        Of the choice.

    Returns
    -------
    IntArray
        Row numbers; none where there are fewer than five materials.
    """
    chances = {name: chance_of(name, seed) for name in groups}
    if len(chances) < FEWEST_MATERIALS:
        return np.empty(0, dtype=np.intp)
    ranked = sorted(chances, key=lambda name: chances[name])
    fewest = max(1, min(10, len(ranked) // 4))
    count = max(fewest, sum(chance < share for chance in chances.values()))
    held = set(ranked[: min(count, len(ranked) // 2)])
    return np.array([row for row, name in enumerate(groups) if name in held], dtype=np.intp)
