"""exciting's inputs are Lightshow's, corrected where Lightshow 1.2.8 asks for another atom."""

from __future__ import annotations

from pathlib import Path

import pytest
from pymatgen.core import Lattice, Structure

from nearedge.codes import get_code
from nearedge.codes.exciting.deck import parse_deck
from nearedge.codes.exciting.levels import core_level
from nearedge.compat import lightshow_parameters
from nearedge.spectra.spectrum import HARTREE
from nearedge.structures.elements import core_hole_width
from nearedge.structures.identity import structure_id, structure_key

RUTILE = Structure.from_spacegroup(
    "P4_2/mnm", Lattice.tetragonal(4.594, 2.959), ["Ti", "O"], [[0, 0, 0], [0.305, 0.305, 0]]
)


@pytest.mark.parametrize("index", range(len(RUTILE)))
def test_the_deck_is_of_the_very_structure_and_site(index: int) -> None:
    inputs = get_code("exciting").inputs(RUTILE, index, "K", "fast")
    assert list(inputs.files) == ["input.xml"]
    deck = parse_deck(inputs.files["input.xml"])
    assert deck.absorber() == (index, "K")
    assert structure_key(deck.structure) == structure_key(RUTILE)
    assert deck.species_files == ("Ti.xml", "O.xml")


def test_lightshow_still_counts_the_absorber_over_the_whole_crystal(tmp_path: Path) -> None:
    """Where this fails, nearedge.codes.exciting.inputs need not correct xasatom any more."""
    module = lightshow_parameters("exciting")
    cards = {
        "structure": {},
        "groundstate": {},
        "xs": {"BSE": {}, "qpointset": {"qpoint": {"text()": "0 0 0"}}},
    }
    module.EXCITINGParameters(cards=cards, species_directory="./").write(
        tmp_path, structure_uc=RUTILE, sites=[3]
    )
    (written,) = tmp_path.glob("*/input.xml")
    assert 'xasspecies="2" xasatom="4"' in written.read_text()


def test_a_structure_whose_elements_are_mixed_keeps_its_absorber() -> None:
    """exciting's input has one block for each element, so the order of sites changes."""
    mixed = Structure(
        Lattice.cubic(4.2),
        ["O", "Ti", "O", "Ti"],
        [[0.5, 0.5, 0.5], [0, 0, 0], [0.5, 0, 0.01], [0.5, 0.5, 0.02]],
    )
    deck = parse_deck(get_code("exciting").inputs(mixed, 3, "K", "fast").files["input.xml"])
    index, _ = deck.absorber()
    assert deck.structure[index].specie.symbol == "Ti"
    assert deck.structure[index].frac_coords == pytest.approx([0.5, 0.5, 0.02])
    assert structure_id(deck.structure) == structure_id(mixed)


def test_the_precise_protocol_has_lightshows_values() -> None:
    deck = parse_deck(get_code("exciting").inputs(RUTILE, 0, "K", "precise").files["input.xml"])
    assert deck.xs["ngridk"] == deck.xs["ngridq"] == deck.ground_state["ngridk"] == "2 2 3"
    assert deck.bse["nstlxas"] == f"1 {round(0.256 * RUTILE.volume * (30 / 13.6056980659) ** 1.5)}"
    assert deck.ground_state["rgkmax"] == "9"
    assert deck.xs["gqmax"] == "4.0"


def test_there_are_as_many_empty_bands_as_the_bse_takes() -> None:
    """Lightshow's fixed number is too small for a large cell, and exciting stops."""
    deck = parse_deck(get_code("exciting").inputs(RUTILE * 3, 0, "K", "precise").files["input.xml"])
    wanted = int(deck.bse["nstlxas"].split()[1])
    assert wanted > 150
    assert int(deck.xs["nempty"]) == wanted


def test_the_half_width_is_half_of_the_core_holes() -> None:
    deck = parse_deck(get_code("exciting").inputs(RUTILE, 0, "K", "fast").files["input.xml"])
    assert deck.broadening == pytest.approx(core_hole_width("Ti", "K"), rel=1e-6)


def test_the_window_holds_the_edge_of_each_element() -> None:
    # Lightshow's own window for Ti K is 178.2 to 180.5 Ha.
    deck = parse_deck(get_code("exciting").inputs(RUTILE, 0, "K", "fast").files["input.xml"])
    first, last, points = deck.energy_window()
    assert first < 178.2 * HARTREE - 10
    assert last > 180.5 * HARTREE
    assert points == 1000
    # The recorded N K edge: its first excitation and its gap.
    level = core_level("N", "K")
    assert level - 35 < 369.45
    assert level + 65 - 20 > 375.51


def test_core_levels_are_those_of_all_electron_codes() -> None:
    # 1s of S in VASP's potential (2393.15 eV), of Ti in Elk (178.4 Ha).
    assert core_level("S", "K") == pytest.approx(2393.15, rel=0.01)
    assert core_level("Ti", "K") == pytest.approx(178.4 * HARTREE, rel=0.01)
