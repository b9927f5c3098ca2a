from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pymatgen.core import Lattice, Structure
from pymatgen.io.vasp.inputs import Poscar
from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

from nearedge.errors import StructureError
from nearedge.structures.builtin import builtin_structure
from nearedge.structures.identity import (
    DISTANCE_BIN,
    IDENTITY_TOLERANCE,
    RADIUS,
    structure_id,
    structure_key,
)


def triclinic() -> Structure:
    """A cell without any symmetry, seven atoms of three elements."""
    rng = np.random.default_rng(7)
    positions = np.array(
        [
            [0, 0, 0],
            [0.5, 0, 0.1],
            [0, 0.5, 0.2],
            [0.5, 0.5, 0],
            [0, 0, 0.5],
            [0.5, 0, 0.6],
            [0, 0.5, 0.7],
        ]
    )
    return Structure(
        Lattice.from_parameters(5.1, 5.7, 6.3, 82, 97, 104),
        ["Cu", "Ti", "O", "O", "O", "Cu", "O"],
        positions + 0.04 * rng.random((7, 3)),
    )


MATERIALS = {
    name: builtin_structure(name).structure
    for name in ("rutile", "anatase", "TiO", "SrTiO3", "CuO", "Cu4O3")
} | {
    "triclinic": triclinic(),
    "iron": Structure(Lattice.cubic(2.87), ["Fe", "Fe"], [[0] * 3, [0.5] * 3]),
}

materials = st.sampled_from(sorted(MATERIALS))
seeds = st.integers(0, 2**32 - 1)
supercells = st.lists(st.integers(-2, 2), min_size=9, max_size=9).map(
    lambda numbers: np.array(numbers).reshape(3, 3)
)


def shuffled(structure: Structure, seed: int) -> Structure:
    order = np.random.default_rng(seed).permutation(len(structure))
    return Structure.from_sites([structure[int(i)] for i in order])


def moved(structure: Structure, length: float, seed: int) -> Structure:
    rng = np.random.default_rng(seed)
    direction = rng.normal(size=3)
    result = structure.copy()
    result.translate_sites(
        [int(rng.integers(len(structure)))],
        length * direction / np.linalg.norm(direction),
        frac_coords=False,
    )
    return result


@pytest.mark.parametrize("name", sorted(MATERIALS))
def test_primitive_conventional_and_reduced_cells_have_one_id(name: str) -> None:
    structure = MATERIALS[name]
    analyzer = SpacegroupAnalyzer(structure, symprec=1e-3)
    cells = [
        structure.get_primitive_structure(tolerance=1e-3),
        structure.get_reduced_structure("niggli"),
        structure.get_reduced_structure("LLL"),
        analyzer.get_primitive_standard_structure(),
        analyzer.get_conventional_standard_structure(),
    ]
    assert {structure_id(cell) for cell in cells} == {structure_id(structure)}


@settings(max_examples=60, deadline=None)
@given(materials, supercells)
def test_a_supercell_has_the_id_of_its_cell(name: str, matrix: np.ndarray) -> None:
    volume = abs(round(np.linalg.det(matrix)))
    assume(1 <= volume <= 8)
    structure = MATERIALS[name]
    assert structure_id(structure * matrix) == structure_id(structure)


@settings(max_examples=60, deadline=None)
@given(materials, seeds)
def test_order_of_sites_shift_and_choice_of_images_do_not_matter(name: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    structure = shuffled(MATERIALS[name], seed)
    shift, images = 3 * rng.random(3) - 1, rng.integers(-3, 4, size=(len(structure), 3))
    other = Structure(structure.lattice, structure.species, structure.frac_coords + shift + images)
    assert structure_id(other) == structure_id(MATERIALS[name])


@settings(max_examples=30, deadline=None)
@given(materials, seeds)
def test_rotated_and_skewed_lattices_have_one_id(name: str, seed: int) -> None:
    structure = MATERIALS[name]
    rng = np.random.default_rng(seed)
    rotation, _ = np.linalg.qr(rng.normal(size=(3, 3)))  # half of them mirror the crystal as well
    rotated = Structure(
        structure.lattice.matrix @ rotation, structure.species, structure.frac_coords
    )
    assert structure_id(rotated) == structure_id(structure)
    a, b, c = structure.lattice.matrix
    i, j, k = rng.integers(-6, 7, size=3)
    skewed = Structure(
        [a, b + i * a, c + j * a + k * b],
        structure.species,
        structure.cart_coords,
        coords_are_cartesian=True,
    )
    assert structure_id(skewed) == structure_id(structure)


@settings(max_examples=150, deadline=None)
@given(materials, seeds, st.floats(1.01, 12.0))
def test_a_displacement_beyond_the_tolerance_gives_another_id(
    name: str, seed: int, factor: float
) -> None:
    structure = MATERIALS[name]
    if len(structure) == 1 or name == "iron":
        structure = structure * (2, 2, 2)
    displaced = moved(structure, factor * IDENTITY_TOLERANCE, seed)
    assert structure_id(displaced) != structure_id(structure)


@settings(max_examples=20, deadline=None)
@given(materials, seeds)
def test_one_atom_displaced_in_a_supercell_gives_another_id(name: str, seed: int) -> None:
    structure = MATERIALS[name] * (2, 1, 2)
    assert structure_id(moved(structure, 1.02 * IDENTITY_TOLERANCE, seed)) != structure_id(
        structure
    )


@settings(max_examples=60, deadline=None)
@given(materials, seeds)
def test_noise_of_arithmetic_does_not_change_the_id(name: str, seed: int) -> None:
    structure = MATERIALS[name].copy()
    structure.perturb(0)  # a copy of its own
    noise = 1e-12 * np.random.default_rng(seed).normal(size=(len(structure), 3))
    noisy = Structure(structure.lattice, structure.species, structure.frac_coords + noise)
    assert structure_id(noisy) == structure_id(structure)


@pytest.mark.parametrize("height", [1.02 * IDENTITY_TOLERANCE, 0.2])
def test_an_atom_that_leaves_a_sheet_gives_another_id(height: float) -> None:
    """Distances inside a sheet alone in vacuum change in second order only."""
    sheet = Structure(
        Lattice.hexagonal(2.46, 20.0), ["C", "C"], [[1 / 3, 2 / 3, 0.5], [2 / 3, 1 / 3, 0.5]]
    ) * (3, 3, 1)
    buckled = sheet.copy()
    buckled.translate_sites([4], [0, 0, height], frac_coords=False)
    assert structure_id(buckled) != structure_id(sheet)


@pytest.mark.parametrize("direction", [[0, 1, 0], [0, 0, 1]])
def test_an_atom_that_leaves_a_chain_gives_another_id(direction: list[float]) -> None:
    chain = Structure(Lattice.tetragonal(18.0, 2.5), ["Cu"], [[0.5, 0.5, 0]]) * (1, 1, 6)
    chain = Structure(
        chain.lattice.matrix[[2, 0, 1]][:, [2, 0, 1]],
        chain.species,
        chain.frac_coords[:, [2, 0, 1]],
    )
    bent = chain.copy()
    offset = 1.02 * IDENTITY_TOLERANCE * np.array(direction)
    bent.translate_sites([2], offset, frac_coords=False)
    assert structure_id(bent) != structure_id(chain)


def test_polytypes_that_agree_over_the_radius_have_different_ids() -> None:
    """The last two have the same layers up to two away, in the same numbers, in another order."""

    def stacked(sequence: str) -> Structure:
        offset = {"A": (0.0, 0.0), "B": (1 / 3, 2 / 3), "C": (2 / 3, 1 / 3)}
        layers = len(sequence)
        return Structure(
            Lattice.hexagonal(3.08, 2.52 * layers),
            ["Si"] * layers + ["C"] * layers,
            [[*offset[x], i / layers] for i, x in enumerate(sequence)]
            + [[*offset[x], (i + 0.75) / layers] for i, x in enumerate(sequence)],
        )

    sequences = ["AB", "ABC", "ABCB", "ABCACB", "ABCBCACBACACBAC", "ABCBCABCBCACBAC"]
    assert len({structure_id(stacked(sequence)) for sequence in sequences}) == len(sequences)


def test_atoms_out_of_reach_of_each_other_are_told_apart_by_their_spacing() -> None:
    crystals = [Structure(Lattice.cubic(a), ["Ar"], [[0, 0, 0]]) for a in (7.0, 8.0, 9.0)]
    assert len({structure_id(crystal) for crystal in crystals}) == 3


def test_a_neighbour_exactly_at_the_radius_is_no_matter_of_chance() -> None:
    """The radius is no short decimal, so a cell of published length never sits on it."""
    crystal = Structure(Lattice.cubic(round(RADIUS, 3)), ["Ar"], [[0, 0, 0]])
    assert structure_id(crystal * [[1, 1, 0], [-1, 1, 0], [0, 0, 2]]) == structure_id(crystal)
    assert abs(round(RADIUS, 3) - RADIUS) > 1e-5


def test_short_decimals_never_sit_on_the_edge_of_a_bin() -> None:
    lengths = np.arange(1, 6_000_001) * 1e-6
    fraction = np.mod(lengths / DISTANCE_BIN + (5**0.5 - 1) / 2, 1)
    assert np.minimum(fraction, 1 - fraction).min() > 1e-6


def test_different_materials_of_one_formula_have_different_ids() -> None:
    names = ("rutile", "anatase", "brookite")
    assert len({structure_id(builtin_structure(name).structure) for name in names}) == 3


def test_exchanged_elements_give_another_id() -> None:
    structure = MATERIALS["triclinic"].copy()
    structure[0], structure[1] = "Ti", "Cu"
    assert structure_id(structure) != structure_id(MATERIALS["triclinic"])


def test_oxidation_states_do_not_matter() -> None:
    structure = MATERIALS["rutile"].copy()
    decorated = structure.copy().add_oxidation_state_by_guess()
    assert structure_id(decorated) == structure_id(structure)
    assert structure_key(decorated) == structure_key(structure)


def test_a_mirror_image_shares_the_id() -> None:
    structure = MATERIALS["triclinic"]
    mirrored = Structure(structure.lattice, structure.species, -structure.frac_coords)
    assert structure_id(mirrored) == structure_id(structure)


@pytest.mark.parametrize("name", sorted(MATERIALS))
def test_the_key_survives_json_and_poscar(name: str) -> None:
    structure = MATERIALS[name]
    again = Structure.from_dict(json.loads(json.dumps(structure.as_dict())))
    assert structure_key(again) == structure_key(structure)
    grouped = structure.get_sorted_structure()
    text = Poscar(grouped).get_str(significant_figures=12)
    assert structure_key(Poscar.from_str(text).structure) == structure_key(grouped)


@settings(max_examples=40, deadline=None)
@given(materials, seeds)
def test_the_key_ignores_noise_and_whole_lattice_vectors(name: str, seed: int) -> None:
    structure = MATERIALS[name]
    rng = np.random.default_rng(seed)
    offset = rng.integers(-2, 3, size=(len(structure), 3)) + 1e-13 * rng.normal(
        size=(len(structure), 3)
    )
    other = Structure(structure.lattice, structure.species, structure.frac_coords + offset)
    assert structure_key(other) == structure_key(structure)


def test_the_key_tells_order_cell_and_position_apart() -> None:
    structure = MATERIALS["triclinic"]
    others = [
        shuffled(structure, 1),
        structure * (2, 1, 1),
        moved(structure, 1e-4, 3),
        structure.copy().scale_lattice(structure.volume * 1.0001),
    ]
    keys = {structure_key(other) for other in [structure, *others]}
    assert len(keys) == 5


def test_a_structure_occupied_in_part_has_neither_name() -> None:
    alloy = Structure(Lattice.cubic(3), [{"Cu": 0.5, "Au": 0.5}], [[0, 0, 0]])
    for function in (structure_id, structure_key):
        with pytest.raises(StructureError, match="occupied in part"):
            function(alloy)


def test_ids_stay_what_they_are() -> None:
    """Ids are in databases: another value here needs a migration."""
    rutile = MATERIALS["rutile"]
    assert structure_id(rutile) == "10eb42ab9ce33647e3be204bdec59e20"
    assert structure_key(rutile) == "df178bb5e29f12242a0fca705c3279a5"
