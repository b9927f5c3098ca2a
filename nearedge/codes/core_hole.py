"""The cell that holds one core hole, for codes that keep the hole while the electrons relax."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pymatgen.core import Element, Structure

from nearedge.codes.protocols import Protocol
from nearedge.errors import InputRefused, StructureError
from nearedge.structures.supercell import core_hole_supercell, shortest_vector
from nearedge.structures.symmetry import symmetry_dataset

LEAST_IMAGE_DISTANCE = 5.0
"""Å. Protocols that are to be trusted keep core holes at least this far apart."""
ROUGH = "fast"
"""The protocol that may have the core hole in a primitive cell."""


def hole_cell(structure: Structure, absorbing_index: int, protocol: Protocol) -> Structure:
    """Return the cell that runs, the absorber first, by the setting ``image_distance`` in Å.

    Raises
    ------
    InputRefused
        ``core_hole_in_primitive_cell`` if the core hole would see its image above protocol
        ``fast``; ``bad_setting`` for an ``image_distance`` that cannot be.
    """
    try:
        cell, index = core_hole_supercell(
            structure, absorbing_index, protocol.number("image_distance")
        )
    except StructureError as error:
        raise InputRefused("bad_setting", str(error)) from None
    if index != 0:
        raise AssertionError("the absorber comes first")
    apart = shortest_vector(cell.lattice)
    if protocol.name != ROUGH and apart < LEAST_IMAGE_DISTANCE:
        raise InputRefused(
            "core_hole_in_primitive_cell",
            f"Protocol {protocol.label} puts core holes {apart:.1f} Å apart in "
            f"{structure.composition.reduced_formula}: set image_distance to at least "
            f"{LEAST_IMAGE_DISTANCE:g} Å, or use protocol {ROUGH}.",
        )
    return cell


def hole_rotations(cell: Structure) -> NDArray[np.int64]:
    """Return the rotations that keep a cell with the hole on its first site, shape ``(n, 3, 3)``.

    They act on fractional coordinates. The hole is a kind of atom of its own, so all operations
    keep its site: this is the symmetry of what is computed, where the crystal's site may have more.
    """
    marked = cell.copy()
    others = {site.specie.symbol for site in cell}
    marked[0] = next(element.symbol for element in Element if element.symbol not in others)
    dataset = symmetry_dataset(marked)
    found = np.eye(3)[None] if dataset is None else np.unique(dataset.rotations, axis=0)
    return np.asarray(found, dtype=np.int64)
