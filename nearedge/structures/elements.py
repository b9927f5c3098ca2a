"""Facts about elements and their edges that the tables of xraydb hold."""

from __future__ import annotations

from functools import cache

from xraydb import atomic_symbol, core_width, xray_edge

from nearedge.errors import StructureError

_NEON = 10


@cache
def core_hole_width(element: str, edge: str) -> float:
    """Return the full width at half maximum in eV that the core hole's lifetime gives an edge.

    Parameters
    ----------
    element
        Symbol, such as ``Ti``.
    edge
        Such as ``K`` or ``L3``; of ``L23``, L2 and L3 together, it is that of L3.

    Raises
    ------
    StructureError
        If the tables have no width for that level.

    Notes
    -----
    The values are xraydb's: Keski-Rahkonen and Krause, At. Data Nucl. Data Tables 14, 139 (1974),
    and Krause and Oliver, J. Phys. Chem. Ref. Data 8, 329 (1979). Codes have tables of their own:
    for the K level of Ti FEFF takes 0.90 eV, xraydb gives 0.94 eV.
    """
    try:
        width = core_width(element, _level(edge))
    except (AttributeError, KeyError, ValueError):  # what xraydb raises where it knows nothing
        width = None
    if not isinstance(width, float) or width <= 0:
        raise StructureError(
            f"The tables have no core-hole width for {element} {edge}: give a width in eV."
        )
    return width


@cache
def edge_energy(element: str, edge: str) -> float:
    """Return the energy of an edge in eV, by the tables of xraydb; of ``L23`` that of L3.

    Raises
    ------
    StructureError
        If the element has no electrons in that shell.
    """
    found = xray_edge(element, _level(edge))
    if found is None:
        raise StructureError(f"The tables have no {edge} edge of {element}.")
    return float(found.energy)


@cache
def has_edge(atomic_number: int, edge: str) -> bool:
    """Whether the element has that core level.

    xraydb lists the shells with electrons; up to neon those of L are valence shells, not core.
    """
    if edge.startswith("L") and atomic_number <= _NEON:
        return False
    return xray_edge(atomic_number, _level(edge)) is not None


@cache
def symbol(atomic_number: int) -> str:
    """Return the element's symbol."""
    return str(atomic_symbol(atomic_number))


def _level(edge: str) -> str:
    return "L3" if edge == "L23" else edge
