"""OCEAN's inputs are Lightshow's, with what Lightshow leaves open filled in."""

from __future__ import annotations

import re

import pytest
from pymatgen.core import Lattice, Structure

from nearedge.codes import get_code
from nearedge.codes.ocean.deck import deck_edges, deck_structure, parse_cards
from nearedge.settings import get_settings
from nearedge.structures.elements import core_hole_width
from nearedge.structures.identity import structure_key

RUTILE = Structure.from_spacegroup(
    "P4_2/mnm", Lattice.tetragonal(4.594, 2.959), ["Ti", "O"], [[0, 0, 0], [0.305, 0.305, 0]]
)


def test_the_deck_is_of_the_very_structure_and_site() -> None:
    inputs = get_code("ocean").inputs(RUTILE, 3, "K", "fast")
    assert sorted(inputs.files) == ["ocean.in", "photon1", "photon2", "photon3"]
    cards = parse_cards(inputs.files["ocean.in"])
    assert structure_key(deck_structure(cards)) == structure_key(RUTILE)
    (edge,) = deck_edges(cards, RUTILE)
    assert (edge.site, edge.atomic_number, edge.name) == (3, 8, "K")


def test_the_precise_protocol_has_lightshows_meshes_and_bands() -> None:
    cards = parse_cards(get_code("ocean").inputs(RUTILE, 0, "K", "precise").files["ocean.in"])
    # Lightshow's defaults for this cell: a radius of 16 bohr, bands up to 30 eV.
    assert cards["nkpt"] == cards["ngkpt"] == "2 2 3"
    assert cards["nbands"] == str(-round(0.256 * RUTILE.volume * (30 / 13.6056980659) ** 1.5))


def test_the_half_width_is_half_of_the_core_holes() -> None:
    cards = parse_cards(get_code("ocean").inputs(RUTILE, 0, "K", "fast").files["ocean.in"])
    assert float(cards["cnbse.broaden"]) == pytest.approx(core_hole_width("Ti", "K") / 2)
    wide = get_code("ocean").inputs(RUTILE, 0, "K", "fast@1+broadening=1.78")
    assert parse_cards(wide.files["ocean.in"])["cnbse.broaden"] == "0.89"
    assert wide.parameters["broadening"].value == 1.78


def test_the_photons_energy_is_the_elements() -> None:
    """Lightshow leaves a placeholder there."""
    photon = get_code("ocean").inputs(RUTILE, 0, "K", "fast").files["photon1"]
    assert photon.splitlines()[-2] == "4966.0"


def test_the_launcher_of_parallel_programs_is_a_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = get_code("ocean").inputs(RUTILE, 0, "K", "fast")
    assert "para_prefix" not in plain.files["ocean.in"]
    monkeypatch.setenv("NEAREDGE_OCEAN_PARA_PREFIX", "mpirun -n 8")
    get_settings.cache_clear()
    try:
        parallel = get_code("ocean").inputs(RUTILE, 0, "K", "fast")
    finally:
        get_settings.cache_clear()
    assert re.search(r"para_prefix \{ mpirun -n 8 \}", parallel.files["ocean.in"])
    assert parallel.parameters == plain.parameters
