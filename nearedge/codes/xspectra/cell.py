"""The cell with the core hole, and what its symmetry leaves to compute."""

from __future__ import annotations

import numpy as np
from pymatgen.core import Element, Structure

from nearedge.codes.protocols import Protocol
from nearedge.codes.xspectra.polarisation import Polarisation, polarisations
from nearedge.errors import InputRefused, StructureError
from nearedge.spectra.spectrum import FloatArray
from nearedge.structures.supercell import core_hole_supercell, shortest_vector
from nearedge.structures.symmetry import symmetry_dataset

LEAST_IMAGE_DISTANCE = 5.0
"""Å. Protocols that are to be trusted keep core holes at least this far apart."""
ROUGH = "fast"
"""The protocol that may have the core hole in a primitive cell."""


def hole_cell(structure: Structure, absorbing_index: int, protocol: Protocol) -> Structure:
    """Return the cell that runs: elements only, the absorber first.

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


def site_rotations(cell: Structure) -> FloatArray:
    """Return the Cartesian rotations that keep the cell with its core hole, shape ``(n, 3, 3)``.

    The hole is a kind of atom of its own, so all operations keep its site: this is the symmetry of
    what is computed, where the crystal's site may have more.
    """
    marked = cell.copy()
    others = {site.specie.symbol for site in cell}
    marked[0] = next(element.symbol for element in Element if element.symbol not in others)
    dataset = symmetry_dataset(marked)
    if dataset is None:
        return np.eye(3)[None]
    to_cartesian = cell.lattice.matrix.T
    rotations = np.unique(np.asarray(dataset.rotations), axis=0)
    turned: FloatArray = to_cartesian @ rotations @ np.linalg.inv(to_cartesian)
    return turned


def cell_polarisations(cell: Structure) -> tuple[Polarisation, ...]:
    """Return the polarisations that the cell's isotropic spectrum needs."""
    return polarisations(site_rotations(cell))
