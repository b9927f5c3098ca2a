"""The absorbing site that a calculation is of: what every code asks of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pymatgen.core import Structure

from nearedge.errors import InputRefused
from nearedge.structures.elements import has_edge, symbol

QUANTUM_NUMBERS = {"K": (1, 0), "L1": (2, 0), "L23": (2, 1), "L2": (2, 1), "L3": (2, 1)}
"""n and l of the core level by edge. A code without spin-orbit splitting of the core gives L2 and
L3 together, as L23."""


def bare_structure(structure: Structure, absorbing_index: int, code: str) -> Structure:
    """Return lattice and elements alone, sites in their order.

    Parameters
    ----------
    code
        What messages call the code.

    Raises
    ------
    InputRefused
        See `check_site`.
    """
    check_site(structure, absorbing_index, code)
    symbols = [site.specie.symbol for site in structure]
    return Structure(structure.lattice, symbols, structure.frac_coords)


def check_site(structure: Structure, absorbing_index: int, code: str) -> None:
    """Refuse a structure that no code computes, or a site that it does not have.

    Raises
    ------
    InputRefused
        ``absorbing_index``, ``partial_occupancy`` or ``non_finite_coordinate``.
    """
    if not 0 <= absorbing_index < len(structure):
        raise InputRefused(
            "absorbing_index",
            f"Site {absorbing_index} does not exist: {structure.composition.reduced_formula} has "
            f"sites 0 to {len(structure) - 1}.",
        )
    if not structure.is_ordered:
        raise InputRefused(
            "partial_occupancy",
            f"{structure.composition.reduced_formula} has partly occupied sites; {code} needs "
            "every site to be one element.",
        )
    if not (
        np.all(np.isfinite(structure.frac_coords)) and np.all(np.isfinite(structure.lattice.matrix))
    ):
        raise InputRefused(
            "non_finite_coordinate",
            f"{structure.composition.reduced_formula} has a coordinate that is not a number.",
        )


def check_edge(atomic_number: int, edge: str, edges: Sequence[str], code: str) -> None:
    """Refuse an edge that the code does not compute, or that the element does not have.

    Raises
    ------
    InputRefused
        ``unknown_edge`` or ``edge_not_in_element``.
    """
    if edge not in edges:
        raise InputRefused(
            "unknown_edge",
            f"The edge {edge!r} is not supported with {code}; choose one of {', '.join(edges)}.",
        )
    if not has_edge(atomic_number, edge):
        raise InputRefused(
            "edge_not_in_element",
            f"{symbol(atomic_number)} (Z = {atomic_number}) has no {edge} edge.",
        )
