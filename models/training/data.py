"""What a network is trained on: batches in an order that hangs on seed and epoch alone."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

IntArray = NDArray[np.intp]

Batch = tuple[torch.Tensor, torch.Tensor]

FEWEST_MATERIALS = 5
"""With fewer, none is kept for early stopping."""


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


class Batches:
    """Goes through pairs in batches of nearly equal size, in an order of its own each epoch.

    Parameters
    ----------
    pairs
        What is trained on.
    size
        Of a batch, at most.
    seed
        Of the order.
    epoch
        Tells the number of the epoch that begins.
    """

    # Nearly equal: a last batch of one row would have no variance for batch normalisation.

    def __init__(self, pairs: Pairs, size: int, seed: int, epoch: Callable[[], int]) -> None:
        self._pairs, self._seed, self._epoch = pairs, seed, epoch
        self._parts = -(-len(pairs) // size)

    def __len__(self) -> int:
        return self._parts

    def __iter__(self) -> Iterator[Batch]:
        generator = np.random.default_rng([self._seed, self._epoch()])
        order = torch.from_numpy(generator.permutation(len(self._pairs)))
        for rows in torch.tensor_split(order, self._parts):
            yield self._pairs.inputs[rows], self._pairs.targets[rows]


class Chunks:
    """Goes through pairs in their own order, some thousands at a time."""

    def __init__(self, pairs: Pairs, size: int = 4096) -> None:
        self._pairs = pairs
        self._parts = -(-len(pairs) // size)

    def __len__(self) -> int:
        return self._parts

    def __iter__(self) -> Iterator[Batch]:
        inputs = torch.tensor_split(self._pairs.inputs, self._parts)
        targets = torch.tensor_split(self._pairs.targets, self._parts)
        yield from zip(inputs, targets, strict=True)


def held_out_rows(groups: Sequence[Hashable], share: float, seed: int) -> IntArray:
    """Choose the rows of some materials to stop the training by, ascending.

    Parameters
    ----------
    groups
        The material of each row.
    share
        Of the materials. Where there are few it is raised to ten of them, a quarter at most.
    seed
        Of the choice.

    Returns
    -------
    IntArray
        Row numbers; none where there are fewer than five materials.
    """
    materials = list(dict.fromkeys(groups))
    if len(materials) < FEWEST_MATERIALS:
        return np.empty(0, dtype=np.intp)
    count = max(round(share * len(materials)), min(10, len(materials) // 4), 1)
    chosen = np.random.default_rng([seed, 1]).permutation(len(materials))[:count]
    held = {materials[number] for number in chosen}
    return np.array([row for row, group in enumerate(groups) if group in held], dtype=np.intp)
