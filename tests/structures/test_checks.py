from __future__ import annotations

import math

import pytest
from pymatgen.core import Lattice, Structure

from nearedge.errors import StructureError
from nearedge.structures.builtin import builtin_structure, builtin_structures
from nearedge.structures.checks import check_structure


def rutile() -> Structure:
    return builtin_structure("rutile").structure.copy()


def refused(structure: Structure, absorber: str | None = None) -> str:
    with pytest.raises(StructureError) as caught:
        check_structure(structure, absorber, label="a.cif")
    message = str(caught.value)
    assert message.startswith("a.cif: ")
    assert message.endswith(".")
    assert "\n" not in message
    return message


def test_every_builtin_structure_is_fine() -> None:
    for loaded in builtin_structures():
        check_structure(loaded.structure, "O", loaded.source.label)


def test_a_missing_absorber_is_named_with_what_is_there() -> None:
    assert "no Cu to absorb in it, only O, Ti" in refused(rutile(), "Cu")


@pytest.mark.parametrize("absorber", ["Xx", "", "ti", "22"])
def test_an_absorber_that_is_no_element_is_refused(absorber: str) -> None:
    assert "not the symbol of an element" in refused(rutile(), absorber)


def test_a_decorated_absorber_is_found_by_its_symbol() -> None:
    check_structure(rutile().add_oxidation_state_by_guess(), "Ti")


@pytest.mark.parametrize("species", [{"Ti": 0.5, "V": 0.5}, {"Ti": 0.9}])
def test_partial_occupancy_is_refused(species: dict[str, float]) -> None:
    structure = rutile()
    structure[1] = species
    assert "ite 1 is occupied in part" in refused(structure)


def test_what_is_no_element_is_refused() -> None:
    structure = rutile()
    structure[3] = "X"
    assert "no element" in refused(structure)


@pytest.mark.parametrize("distance", [0.0, 1e-9, 0.3, 0.499])
def test_atoms_closer_than_half_an_angstrom_are_refused(distance: float) -> None:
    structure = Structure(
        Lattice.cubic(4), ["Ti", "O"], [[0, 0, 0], [distance, 0, 0]], coords_are_cartesian=True
    )
    message = refused(structure)
    assert "atoms 0 (Ti) and 1 (O)" in message
    assert f"{distance:.3f} Å" in message


def test_atoms_half_an_angstrom_apart_pass() -> None:
    check_structure(
        Structure(
            Lattice.cubic(4), ["Ti", "O"], [[0, 0, 0], [0.51, 0, 0]], coords_are_cartesian=True
        )
    )


def test_atoms_close_through_the_cell_wall_are_refused() -> None:
    structure = Structure(Lattice.cubic(4), ["Ti", "O"], [[0.01, 0, 0], [0.99, 0, 0]])
    assert "0.080 Å apart" in refused(structure)


def test_an_atom_close_to_its_own_image_is_refused() -> None:
    assert "0.400 Å apart" in refused(Structure(Lattice.orthorhombic(0.4, 9, 9), ["Ti"], [[0] * 3]))


def test_a_cell_of_next_to_no_volume_is_refused_without_a_search() -> None:
    assert "check the lattice vectors" in refused(Structure(Lattice.cubic(0.01), ["Ti"], [[0] * 3]))
    flat = Structure([[3, 0, 0], [0, 3, 0], [3, 3, 0]], ["Ti"], [[0] * 3])
    assert "check the lattice vectors" in refused(flat)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_coordinates_that_are_not_finite_are_refused(bad: float) -> None:
    structure = Structure(Lattice.cubic(4), ["Ti", "O"], [[0, 0, 0], [0.5, bad, 0.5]])
    assert "coordinates of atom 1 are not finite" in refused(structure)


def test_a_lattice_that_is_not_finite_is_refused() -> None:
    structure = Structure([[math.nan, 0, 0], [0, 4, 0], [0, 0, 4]], ["Ti"], [[0, 0, 0]])
    assert "lattice vectors are not finite" in refused(structure)


def test_a_structure_without_atoms_is_refused() -> None:
    assert "no atoms" in refused(Structure(Lattice.cubic(4), [], []))
