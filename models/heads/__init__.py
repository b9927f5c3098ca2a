"""Heads: from a site's features to its spectrum, with a standard deviation per energy."""

from __future__ import annotations

from nearedge.errors import ModelError
from nearedge.models.heads.base import Fitted, Head, HeadPrediction, TrainingRows
from nearedge.models.heads.kernel import KernelHead

__all__ = [
    "Fitted",
    "Head",
    "HeadPrediction",
    "KernelHead",
    "TrainingRows",
    "head_from_bytes",
    "head_names",
]

_HEADS: dict[str, type[Head]] = {KernelHead.name: KernelHead}


def head_names() -> list[str]:
    """Return the kinds of head that can be read."""
    return list(_HEADS)


def head_from_bytes(name: str, weights: bytes) -> Head:
    """Read a head of the kind `name` from its weights.

    Raises
    ------
    ModelError
        If there is no such kind, or the weights are damaged.
    """
    try:
        kind = _HEADS[name]
    except KeyError:
        raise ModelError(
            f"This version of NearEdge has no head {name!r}, only {', '.join(_HEADS)}: the model "
            "was made by a newer one."
        ) from None
    return kind.from_bytes(weights)
