"""The core hole's cell: small enough, large enough, and the same crystal."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Lattice, Structure

from nearedge.errors import StructureError
from nearedge.structures.builtin import builtin_structure
from nearedge.structures.identity import structure_id
from nearedge.structures.supercell import core_hole_supercell, shortest_vector

COPPER = Structure.from_spacegroup("Fm-3m", Lattice.cubic(3.61), ["Cu"], [[0, 0, 0]])


def crystals() -> st.SearchStrategy[Structure]:
    """Triclinic cells of two atoms, flat and needle-like ones among them."""
    length = st.floats(2.5, 9.0)
    angle = st.floats(65.0, 115.0)
    return st.builds(
        lambda a, b, c, *angles: Structure(
            Lattice.from_parameters(a, b, c, *angles), ["Ti", "O"], [[0, 0, 0], [0.5, 0.45, 0.55]]
        ),
        *[length] * 3,
        *[angle] * 3,
    )


@settings(max_examples=25, deadline=None)
@given(crystals(), st.floats(0.0, 9.0))
def test_the_images_are_as_far_apart_as_asked_and_the_crystal_is_the_same(
    crystal: Structure, distance: float
) -> None:
    supercell, absorber = core_hole_supercell(crystal, 0, distance)
    # By brute force over many translations, not by the reduced cell that the search relies on.
    steps = np.stack(np.meshgrid(*[np.arange(-3, 4)] * 3, indexing="ij"), -1).reshape(-1, 3)
    lengths = np.linalg.norm(steps[np.any(steps != 0, axis=1)] @ supercell.lattice.matrix, axis=1)
    assert lengths.min() >= distance - 1e-5
    assert lengths.min() == pytest.approx(shortest_vector(supercell.lattice), abs=1e-6)
    assert supercell[absorber].specie.symbol == "Ti"
    assert structure_id(supercell) == structure_id(crystal)


@pytest.mark.parametrize(
    ("name", "distance", "atoms"), [("rutile", 0, 6), ("anatase", 0, 6), ("anatase", 7.5, 30)]
)
def test_no_more_atoms_than_needed(name: str, distance: float, atoms: int) -> None:
    supercell, _ = core_hole_supercell(builtin_structure(name).structure, 0, distance)
    assert len(supercell) == atoms


def test_no_smaller_sublattice_would_do() -> None:
    """A search of all diagonal supercells finds nothing smaller."""
    rutile = builtin_structure("rutile").structure
    supercell, _ = core_hole_supercell(rutile, 0, 7.0)
    diagonal = [
        i * j * k
        for i in range(1, 5)
        for j in range(1, 5)
        for k in range(1, 5)
        if shortest_vector(Lattice(np.diag([i, j, k]) @ rutile.lattice.matrix)) >= 7.0
    ]
    assert len(supercell) <= 6 * min(diagonal)


def test_a_cubic_crystal_keeps_its_symmetry_in_the_supercell() -> None:
    supercell, _ = core_hole_supercell(COPPER, 0, 7.0)
    holes = Structure(supercell.lattice, ["Cu"], [[0, 0, 0]])
    assert holes.get_space_group_info()[0] in {"Pm-3m", "Im-3m", "Fm-3m"}


@pytest.mark.parametrize("scaling", [[1, 1, 2], [[1, 1, 0], [-1, 1, 0], [0, 0, 1]]])
def test_any_cell_of_the_same_crystal_gives_as_many_atoms(scaling: list[int]) -> None:
    anatase = builtin_structure("anatase").structure
    larger = anatase.make_supercell(scaling, in_place=False)
    for distance in (0.0, 6.0):
        one, _ = core_hole_supercell(anatase, 0, distance)
        other, _ = core_hole_supercell(larger, 0, distance)
        assert len(one) == len(other)
        assert StructureMatcher(primitive_cell=False).fit(one, other)


def test_the_absorber_given_is_the_one_that_comes_first() -> None:
    """Of the two kinds of copper in Cu4O3 the neighbours are those of the site asked for."""
    crystal = builtin_structure("Cu4O3").structure
    copper = [index for index, site in enumerate(crystal) if site.specie.symbol == "Cu"]
    for index in copper:
        supercell, first = core_hole_supercell(crystal, index, 7.0)
        near = sorted(n.nn_distance for n in crystal.get_neighbors(crystal[index], 4.0))
        assert first == 0
        assert sorted(n.nn_distance for n in supercell.get_neighbors(supercell[0], 4.0)) == (
            pytest.approx(near, abs=1e-3)
        )


@pytest.mark.parametrize("distance", [-1.0, float("nan"), float("inf"), 31.0])
def test_a_distance_that_cannot_be_is_refused(distance: float) -> None:
    with pytest.raises(StructureError, match="distance between core holes"):
        core_hole_supercell(COPPER, 0, distance)


def test_a_site_that_does_not_exist_is_refused() -> None:
    with pytest.raises(StructureError, match="Site 9 does not exist"):
        core_hole_supercell(COPPER, 9, 5.0)
