from __future__ import annotations

import math

import pytest
from pymatgen.core import Lattice, Structure

from nearedge.errors import StructureError
from nearedge.structures import symmetry
from nearedge.structures.absorbers import Absorber, unique_absorbers
from nearedge.structures.builtin import builtin_names, builtin_structure


@pytest.mark.parametrize(
    ("name", "element", "expected"),
    [
        ("rutile", "Ti", [(0, 2)]),
        ("anatase", "O", [(4, 8)]),
        ("brookite", "O", [(8, 8), (16, 8)]),
        ("Cu4O3", "Cu", [(0, 8), (8, 8)]),
        ("Cu4O3", "O", [(16, 8), (24, 4)]),
    ],
)
def test_known_crystals_have_their_known_sites(
    name: str, element: str, expected: list[tuple[int, int]]
) -> None:
    found = unique_absorbers(builtin_structure(name).structure, element)
    assert [(absorber.index, absorber.multiplicity) for absorber in found] == expected


def test_orbits_hold_every_site_once_and_begin_with_the_index() -> None:
    structure = builtin_structure("Cu4O3").structure * (2, 1, 1)
    found = unique_absorbers(structure, "Cu")
    sites = sorted(site for absorber in found for site in absorber.equivalent)
    assert sites == list(structure.indices_from_symbol("Cu"))
    for absorber in found:
        assert absorber.index == absorber.equivalent[0] == min(absorber.equivalent)
        assert absorber.multiplicity == len(absorber.equivalent) == 16


@pytest.mark.parametrize("name", builtin_names())
@pytest.mark.parametrize("cell", [(1, 1, 2), (2, 1, 1), (1, 3, 2)])
def test_a_supercell_has_as_many_kinds_of_sites_as_its_cell(
    name: str, cell: tuple[int, int, int]
) -> None:
    structure = builtin_structure(name).structure
    copies = math.prod(cell)
    expected = sorted(a.multiplicity * copies for a in unique_absorbers(structure, "O"))
    found = unique_absorbers(structure * cell, "O")
    assert sorted(absorber.multiplicity for absorber in found) == expected


def test_mixed_order_of_sites_is_kept() -> None:
    structure = builtin_structure("rutile").structure
    reordered = Structure.from_sites([structure[i] for i in (2, 1, 3, 0, 4, 5)])
    assert unique_absorbers(reordered, "Ti") == [Absorber(1, 2, (1, 3))]


def test_oxidation_states_do_not_split_a_site() -> None:
    structure = builtin_structure("rutile").structure.copy()
    structure.add_oxidation_state_by_site([4, 3, -2, -2, -2, -2])
    assert [a.multiplicity for a in unique_absorbers(structure, "Ti")] == [2]


def test_without_symmetry_every_site_stands_for_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(symmetry.spglib, "get_symmetry_dataset", lambda *_, **__: None)
    structure = builtin_structure("rutile").structure.scale_lattice(65)  # not asked for before
    assert unique_absorbers(structure, "Ti") == [Absorber(0, 1, (0,)), Absorber(1, 1, (1,))]


def test_a_low_symmetry_cell_has_as_many_absorbers_as_sites() -> None:
    structure = Structure(
        Lattice.from_parameters(4, 5, 6, 80, 95, 100),
        ["Cu", "Cu", "O"],
        [[0, 0, 0], [0.41, 0.52, 0.63], [0.7, 0.2, 0.3]],
    )
    assert [a.index for a in unique_absorbers(structure, "Cu")] == [0, 1]


@pytest.mark.parametrize("element", ["Cu", "Xx"])
def test_an_element_that_is_not_there_is_refused(element: str) -> None:
    with pytest.raises(StructureError, match=f"no {element} in TiO2"):
        unique_absorbers(builtin_structure("rutile").structure, element)
