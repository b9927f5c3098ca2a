"""Heads: from a site's features to its spectrum, with a standard deviation per energy."""

from __future__ import annotations

from importlib import import_module

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
    "head_kind",
    "head_names",
]

# By module and class, imported when asked for: torch and Lightning take seconds to import, and most
# commands need no network.
_HEADS: dict[str, tuple[str, str]] = {
    "kernel": ("kernel", "KernelHead"),
    "xasblock": ("xasblock", "XASBlockHead"),
    "residual": ("residual", "ResidualHead"),
    "ensemble": ("ensemble", "EnsembleHead"),
    "average": ("average", "AverageHead"),
    "end_to_end": ("end_to_end", "EndToEndHead"),
}


def head_names() -> list[str]:
    """Return the kinds of head that can be trained and read."""
    return list(_HEADS)


def head_kind(name: str) -> type[Head]:
    """Return the kind of head `name`.

    Raises
    ------
    ModelError
        If there is no such kind.
    """
    try:
        module, kind = _HEADS[name]
    except KeyError:
        raise ModelError(
            f"There is no head {name!r} in this version of NearEdge, only {', '.join(_HEADS)}: "
            "choose one of these, or update where the model was made by a newer one."
        ) from None
    found: type[Head] = getattr(import_module(f"{__name__}.{module}"), kind)
    return found


def head_from_bytes(name: str, weights: bytes) -> Head:
    """Read a head of the kind `name` from its weights.

    Raises
    ------
    ModelError
        If there is no such kind, or the weights are damaged.
    """
    return head_kind(name).from_bytes(weights)
