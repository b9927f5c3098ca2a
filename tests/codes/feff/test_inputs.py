from __future__ import annotations

import re

import numpy as np
import pytest
from pymatgen.core import Lattice, Species, Structure
from pymatgen.io.feff.inputs import Atoms, Potential

from nearedge.codes import get_code
from nearedge.codes.feff.deck import parse_deck
from nearedge.codes.feff.inputs import (
    deck_parameters,
    protocol_of,
    protocol_parameters,
    safer_mixing,
)
from nearedge.codes.feff.parse import parse_xmu
from nearedge.codes.protocols import load_protocol, protocol_names
from nearedge.errors import InputRefused
from nearedge.schemas.calculation import parameters_id

FEFF = get_code("feff")


@pytest.mark.parametrize("edge", ["K", "L1", "L2", "L3"])
@pytest.mark.parametrize("protocol", protocol_names("feff"))
def test_the_deck_asks_for_what_the_protocol_says(anatase, edge: str, protocol: str) -> None:
    inputs = FEFF.inputs(anatase, 1, edge, protocol)
    deck = parse_deck(inputs.files["feff.inp"])
    parameters = inputs.parameters
    assert deck.edge == edge
    assert deck.argument("SCF", 0) == parameters["scf_radius"].value
    assert deck.argument("FMS", 0) == parameters["fms_radius"].value
    assert parameters["scf_radius"].unit == "angstrom"
    assert deck.cards["COREHOLE"] == ("RPA",)
    distances = np.linalg.norm(deck.positions, axis=1)
    assert distances[deck.absorber()] == 0
    assert 8 < distances.max() <= parameters["cluster_radius"].value == 9


@pytest.mark.parametrize("protocol", protocol_names("feff"))
def test_a_deck_of_ours_is_recognised_as_its_protocol(anatase, protocol: str) -> None:
    inputs = FEFF.inputs(anatase, 0, "K", protocol)
    read = deck_parameters(parse_deck(inputs.files["feff.inp"]), anatase.composition)
    assert read == inputs.parameters
    assert protocol_of(read) == inputs.protocol == f"{protocol}@1"


def test_a_changed_radius_is_no_protocol(recorded, anatase) -> None:
    text = recorded("anatase").deck.replace("SCF 3.2", "SCF 3.5")
    assert protocol_of(deck_parameters(parse_deck(text), anatase.composition)) == "custom"


def test_the_stoichiometry_is_the_primitive_cells_whatever_cell_is_given(anatase) -> None:
    for cell in (anatase, anatase.get_primitive_structure(), anatase * (2, 1, 1)):
        deck = parse_deck(FEFF.inputs(cell, 0, "K", "fast").files["feff.inp"])
        stated = {p.atomic_number: p.stoichiometry for p in deck.potentials if p.index}
        assert stated == {8: 4.0, 22: 2.0}


def test_the_stoichiometry_of_an_element_is_one() -> None:
    one = Structure(Lattice.cubic(2.5), ["Cu"], [[0, 0, 0]])
    deck = parse_deck(FEFF.inputs(one, 0, "K", "fast").files["feff.inp"])
    assert [p.stoichiometry for p in deck.potentials] == [0.0001, 1.0]


def test_inputs_do_not_depend_on_what_was_made_before(anatase) -> None:
    first = FEFF.inputs(anatase, 0, "K", "fast")
    FEFF.inputs(anatase, 0, "L3", "precise")
    assert FEFF.inputs(anatase, 0, "K", "fast") == first


def test_oxidation_states_and_charges_do_not_change_the_deck(anatase) -> None:
    charged = anatase.copy()
    charged.add_oxidation_state_by_element({"Ti": 4, "O": -2})
    charged.set_charge(1)
    assert FEFF.inputs(charged, 0, "K", "fast") == FEFF.inputs(anatase, 0, "K", "fast")


def test_a_refusal_names_its_reason(anatase) -> None:
    def refused(structure: Structure, index: int = 0, edge: str = "K") -> str:
        with pytest.raises(InputRefused) as caught:
            FEFF.inputs(structure, index, edge, "fast")
        assert str(caught.value).endswith(".")
        return caught.value.name

    assert refused(anatase, 12) == "absorbing_index"
    assert refused(anatase, -1) == "absorbing_index"
    assert refused(anatase, 0, "P9") == "unknown_edge"
    assert refused(anatase, 0, "M5") == "unknown_edge"
    cell = Lattice.cubic(4)
    half = [[0, 0, 0], [0.5, 0.5, 0.5]]
    assert refused(Structure(cell, ["He", "O"], half), 0, "L3") == "edge_not_in_element"
    assert refused(Structure(cell, ["Ti", "Es"], half)) == "unsupported_element"
    assert refused(Structure(cell, ["Es", "O"], half)) == "unsupported_element"
    assert refused(Structure(cell, ["Ti", "O"], [[0, 0, 0], [0, 0, 0]])) == "atoms_too_close"
    assert refused(Structure(cell, ["Ti", "O"], [[0, 0, 0], [0, 0, 0.18]])) == "atoms_too_close"
    assert refused(Structure(cell, ["Ti", "O"], [[0, 0, 0], [0, 0, np.nan]])) == (
        "non_finite_coordinate"
    )
    assert refused(Structure(cell, [{"Ti": 0.5, "Zr": 0.5}, "O"], half)) == "partial_occupancy"
    assert refused(Structure(Lattice.cubic(20), ["Ti"], [[0, 0, 0]])) == "isolated_absorber"
    far = Structure(Lattice.cubic(12), ["Ti", "O"], half)
    assert refused(far) == "isolated_absorber"
    # FEFF runs on this and gives the spectrum of a free atom.
    argon = Structure.from_spacegroup("Fm-3m", Lattice.cubic(6.0), ["Ar"], [[0, 0, 0]])
    assert refused(argon) == "isolated_absorber"
    assert FEFF.inputs(argon, 0, "K", "balanced").parameters


def test_two_atoms_far_from_the_absorber_are_found_too_close() -> None:
    crystal = Structure(
        Lattice.orthorhombic(4, 4, 14),
        ["Ti", "O", "O", "O"],
        [[0, 0, 0], [0.5, 0, 0], [0, 0, 0.5], [0, 0, 0.55]],
    )
    with pytest.raises(InputRefused, match=r"0\.70 Å apart"):
        FEFF.inputs(crystal, 0, "K", "fast")


def test_a_bond_to_hydrogen_may_be_short() -> None:
    water = Structure(Lattice.cubic(6), ["O", "H", "H"], [[0, 0, 0], [0.127, 0, 0], [0, 0.127, 0]])
    assert FEFF.inputs(water, 0, "K", "fast").files["feff.inp"]
    species = Structure(Lattice.cubic(3), [Species("O", -2), Species("H", 1)], [[0] * 3, [0.5] * 3])
    assert FEFF.inputs(species, 0, "K", "fast").parameters


def test_safer_mixing_is_slower_and_changes_nothing_else(recorded) -> None:
    deck = recorded("octahedron").deck
    safer = safer_mixing(deck)
    before, after = parse_deck(deck), parse_deck(safer)
    assert after.cards["SCF"] == ("3.2", "1", "100", "0.05", "10")
    changed = [(a, b) for a, b in zip(deck.splitlines(), safer.splitlines(), strict=True) if a != b]
    assert len(changed) == 1
    assert deck_parameters(before, None) == deck_parameters(after, None)


@pytest.mark.parametrize(
    ("card", "edge"), [("EDGE l3", "L3"), ("HOLE 4 1.0", "L3"), ("EDGE 1", "K"), ("", "K")]
)
def test_the_edge_of_a_deck_is_read_as_feff_reads_it(recorded, card: str, edge: str) -> None:
    assert parse_deck(recorded("octahedron").deck.replace("EDGE K", card)).edge == edge


def test_the_stated_version_is_what_feff_writes(recorded) -> None:
    written = parse_xmu(recorded("octahedron").text("xmu.dat")).header.version
    assert FEFF.version().startswith(f"{written} (feff10-rs ")


def test_without_an_angular_momentum_of_its_own_a_protocol_keeps_its_id() -> None:
    known = {
        name: parameters_id("feff", "10", protocol_parameters(load_protocol("feff", name)))
        for name in protocol_names("feff")
    }
    assert known == {  # of 0.1.0, which had no such setting
        "fast": "b18e3c2f1cac533cf26bb97594353c2b",
        "balanced": "adeba1d5f1de8852406037ca0f312ce9",
        "precise": "0785e7cc543c21a04aadee1132f4016e",
    }


def test_the_angular_momentum_in_fms_is_written_for_every_potential_and_read_back(anatase) -> None:
    inputs = FEFF.inputs(anatase, 0, "K", "fast@1+l_max=4")
    deck = parse_deck(inputs.files["feff.inp"])
    assert {each.fms_l_max for each in deck.potentials} == {4}
    assert {each.scf_l_max for each in deck.potentials} == {None}
    assert inputs.parameters["l_max"].value == 4
    assert deck_parameters(deck, anatase.composition) == inputs.parameters


def test_a_strangers_angular_momenta_are_parameters(anatase) -> None:
    text = FEFF.inputs(anatase, 0, "K", "fast@1+l_max=4").files["feff.inp"]
    mixed = re.sub(r"(?m)^(\s+0\s+22\s+Ti\s+)-1(\s+)4", r"\g<1>1\g<2>2", text, count=1)
    assert mixed != text
    read = deck_parameters(parse_deck(mixed), anatase.composition)
    assert read["l_max"].value == [2, 4, 4]
    assert read["scf_l_max"].value == [1, -1, -1]


def test_the_deck_has_the_numbers_that_pymatgen_writes(anatase) -> None:
    def rows(text: str) -> list[list[str]]:
        lines = (line.split() for line in text.splitlines())
        return [words for words in lines if len(words) == 7 and not words[0].startswith("*")]

    text = FEFF.inputs(anatase, 1, "K", "fast").files["feff.inp"]
    head, atoms = text.split("\nATOMS\n")
    assert rows(atoms) == rows(str(Atoms(anatase, 1, 9.0)))
    columns = [words[:5] for words in rows(head.split("POTENTIALS")[1])]
    assert columns == [words[:5] for words in rows(str(Potential(anatase, 1, 9.0)))]
