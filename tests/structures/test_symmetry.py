"""How many primitive cells a cell holds."""

from __future__ import annotations

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from nearedge.structures import symmetry
from nearedge.structures.symmetry import primitive_cells

COPPER = Structure.from_spacegroup("Fm-3m", Lattice.cubic(3.615), ["Cu"], [[0, 0, 0]])


def test_a_conventional_cell_and_a_supercell_hold_several_primitive_ones() -> None:
    assert primitive_cells(COPPER.get_primitive_structure()) == 1
    assert primitive_cells(COPPER) == 4
    assert primitive_cells(COPPER * (2, 1, 1)) == 8


def test_a_supercell_with_one_atom_moved_is_a_primitive_cell() -> None:
    moved = COPPER * (2, 1, 1)
    moved.translate_sites([0], np.array([0.0, 0.0, 0.1]), frac_coords=False)
    assert primitive_cells(moved) == 1


def test_without_symmetry_the_cell_is_taken_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(symmetry.spglib, "get_symmetry_dataset", lambda *_, **__: None)
    assert primitive_cells(COPPER * (3, 1, 1)) == 1  # not asked for before


def test_what_was_found_of_a_structure_is_not_told_of_another() -> None:
    moved = COPPER.copy()
    assert primitive_cells(moved) == 4
    moved.translate_sites([0], np.array([0.0, 0.0, 0.1]), frac_coords=False)
    assert primitive_cells(moved) == 1
    moved.translate_sites([0], np.array([0.0, 0.0, -0.1]), frac_coords=False)
    moved[3] = "Ag"
    assert primitive_cells(moved) == 1
