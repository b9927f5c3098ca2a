"""Long lists, some at a time: of many ids, the embedded server takes the square of their number."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

T = TypeVar("T")

ID_BATCH = 100
"""Ids per question."""


def batches(items: Iterable[T], size: int = ID_BATCH) -> Iterator[list[T]]:
    """Yield `items` in their order, `size` at a time."""
    remaining = iter(items)
    while batch := list(islice(remaining, size)):
        yield batch
