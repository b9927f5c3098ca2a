from __future__ import annotations

import pytest
import spglib

from nearedge.errors import StructureError
from nearedge.structures.absorbers import unique_absorbers
from nearedge.structures.builtin import (
    builtin_names,
    builtin_structure,
    builtin_structures,
    oxide_entries,
)
from nearedge.structures.neighbours import pairs_within

# name, atoms, absorber, unique sites, published density in g/cm³, published metal-oxygen bonds in Å
PUBLISHED = [
    ("rutile", 6, "Ti", 1, 4.25, [(1.947, 4), (1.981, 2)]),
    ("anatase", 12, "Ti", 1, 3.89, [(1.934, 4), (1.980, 2)]),
    (
        "brookite",
        24,
        "Ti",
        1,
        4.13,
        [(1.863, 1), (1.923, 1), (1.931, 1), (1.990, 1), (1.999, 1), (2.052, 1)],
    ),
    ("TiO", 8, "Ti", 1, 5.82, [(2.088, 6)]),  # without its vacancies, which make it 4.9
    ("Ti2O3", 30, "Ti", 1, 4.57, [(2.025, 3), (2.067, 3)]),
    ("SrTiO3", 5, "Ti", 1, 5.12, [(1.9525, 6)]),
    ("Cu2O", 6, "Cu", 1, 6.11, [(1.848, 2)]),
    ("CuO", 8, "Cu", 1, 6.51, [(1.951, 2), (1.961, 2)]),
    ("Cu4O3", 28, "Cu", 2, 5.93, [(1.867, 2)]),
]


@pytest.mark.parametrize(("name", "atoms", "absorber", "unique", "density", "bonds"), PUBLISHED)
def test_each_oxide_is_the_published_one(
    name: str,
    atoms: int,
    absorber: str,
    unique: int,
    density: float,
    bonds: list[tuple[float, int]],
) -> None:
    entry, structure = oxide_entries()[name], builtin_structure(name).structure
    assert structure.composition.reduced_formula == entry.formula
    assert len(structure) == atoms
    assert float(structure.density) == pytest.approx(density, abs=0.01)
    absorbers = unique_absorbers(structure, absorber)
    assert len(absorbers) == unique
    pairs = pairs_within(structure, 2.2)
    lengths = sorted(pairs.distance[pairs.center == absorbers[0].index])
    expected = [length for length, count in bonds for _ in range(count)]
    assert lengths == pytest.approx(expected, abs=2e-3)


def test_titanium_pairs_across_shared_faces_in_ti2o3() -> None:
    structure = builtin_structure("Ti2O3").structure
    pairs = pairs_within(structure, 2.7)
    titanium = structure.indices_from_symbol("Ti")
    between = [
        d
        for c, n, d in zip(pairs.center, pairs.neighbour, pairs.distance, strict=True)
        if c in titanium and n in titanium
    ]
    assert between == pytest.approx([2.58] * len(titanium), abs=5e-3)


def test_the_two_coppers_of_paramelaconite_are_linear_and_square() -> None:
    structure = builtin_structure("Cu4O3").structure
    pairs = pairs_within(structure, 2.2)
    first, second = unique_absorbers(structure, "Cu")
    assert pairs.distance[pairs.center == first.index] == pytest.approx([1.867] * 2, abs=2e-3)
    square = sorted(pairs.distance[pairs.center == second.index])
    assert square == pytest.approx([1.916, 1.916, 1.966, 1.966], abs=2e-3)


@pytest.mark.parametrize("name", builtin_names())
def test_each_oxide_has_its_space_group_and_a_citation(name: str) -> None:
    loaded = builtin_structure(name)
    cell = (
        loaded.structure.lattice.matrix.tolist(),
        loaded.structure.frac_coords.tolist(),
        list(loaded.structure.atomic_numbers),
    )
    dataset = spglib.get_symmetry_dataset(cell, symprec=1e-4)
    assert dataset is not None
    assert dataset.international == oxide_entries()[name].space_group
    assert loaded.source.kind == "builtin"
    assert loaded.source.label == name
    assert loaded.source.citation is not None
    assert "(" in loaded.source.citation  # year


def test_tio_says_what_it_leaves_out() -> None:
    assert "vacancies are left out" in str(builtin_structure("TiO").source.citation)


def test_all_are_returned_in_the_order_of_the_names() -> None:
    assert [loaded.source.label for loaded in builtin_structures()] == builtin_names()
    assert len(builtin_names()) >= 6


def test_a_position_of_another_setting_is_an_error_and_no_other_crystal() -> None:
    anatase = oxide_entries()["anatase"]
    wrong = anatase.model_copy(update={"hall_number": 426})  # origin choice 1
    with pytest.raises(StructureError, match="not the 4a stated"):
        wrong.structure()
    with pytest.raises(StructureError, match="is not one of"):
        anatase.model_copy(update={"hall_number": 90}).structure()


def test_an_unknown_name_is_answered_with_the_known() -> None:
    with pytest.raises(StructureError, match="rutile, anatase"):
        builtin_structure("quartz")
