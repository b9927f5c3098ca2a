"""Which element has which edge."""

from __future__ import annotations

from functools import cache

from xraydb import atomic_symbol, xray_edge


@cache
def has_edge(atomic_number: int, edge: str) -> bool:
    """Whether the element has electrons in that shell, by the edge energies of xraydb."""
    return xray_edge(atomic_number, edge) is not None


@cache
def symbol(atomic_number: int) -> str:
    """Return the element's symbol."""
    return str(atomic_symbol(atomic_number))
