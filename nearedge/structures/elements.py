"""Facts about elements that the tables of xraydb hold."""

from __future__ import annotations

from functools import cache

from xraydb import core_width

from nearedge.errors import StructureError


@cache
def core_hole_width(element: str, edge: str) -> float:
    """Return the full width at half maximum in eV that the core hole's lifetime gives an edge.

    Parameters
    ----------
    element
        Symbol, such as ``Ti``.
    edge
        Such as ``K`` or ``L3``.

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
        width = core_width(element, edge)
    except (AttributeError, KeyError, ValueError):  # what xraydb raises where it knows nothing
        width = None
    if not isinstance(width, float) or width <= 0:
        raise StructureError(
            f"The tables have no core-hole width for {element} {edge}: give a width in eV."
        )
    return width
