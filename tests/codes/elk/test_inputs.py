"""What Elk is given follows from structure and protocol, and is refused where Elk would fail."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from nearedge.codes.base import InputSet
from nearedge.codes.elk.deck import parse_deck
from nearedge.codes.elk.inputs import conduction_bands, k_mesh, make_inputs
from nearedge.codes.elk.promoted import promoted_level
from nearedge.codes.elk.species import parse_species
from nearedge.codes.elk.spheres import GAP, fitted, shortest_distances
from nearedge.codes.execution.stage import write_files
from nearedge.codes.protocols import load_protocol
from nearedge.errors import InputRefused


def _inputs(
    structure: Structure, site: int, species_folder: Path, protocol: str = "fast", edge: str = "K"
) -> InputSet:
    return make_inputs(
        structure, site, edge, load_protocol("elk", protocol), "8.4.30", species_folder
    )


def test_one_atom_alone_carries_the_promoted_level(
    anatase: Structure, species_folder: Path, tmp_path: Path
) -> None:
    inputs = _inputs(anatase, 1, species_folder)
    write_files(tmp_path, inputs.files)
    deck = parse_deck(inputs.files["core/elk_2_bse.in"])
    assert [(file, len(sites)) for file, sites in deck.atoms] == [
        ("Ti_1s.in", 1),
        ("O.in", 4),
        ("Ti.in", 1),
    ]
    promoted = promoted_level(tmp_path / "core", deck)
    assert promoted.sites == (0,)
    found = promoted.structure[0]
    assert found.distance(anatase[1]) < 1e-6
    assert found.specie.symbol == "Ti"
    radii = [
        parse_species(inputs.files[f"core/{name}"], name).radius for name in ("Ti_1s.in", "Ti.in")
    ]
    assert radii[0] == radii[1] == pytest.approx(1.2, abs=0.01)


def test_all_decks_are_of_the_same_crystal(anatase: Structure, species_folder: Path) -> None:
    inputs = _inputs(anatase, 0, species_folder)
    decks = [parse_deck(text) for name, text in inputs.files.items() if "elk" in name]
    assert len(decks) == 4
    for deck in decks:
        assert deck.blocks["ngridk"] == [["2", "2", "2"]]
        assert np.allclose(np.sort(Lattice(deck.lattice).abc), np.sort(anatase.lattice.abc))
    tasks = [[row[0] for row in deck.blocks["tasks"]] for deck in decks]
    assert tasks == [["0"], ["1"], ["120", "180", "185", "186"], ["187"]]


def test_the_plot_reaches_from_zero_beyond_the_edge_in_the_steps_asked_for(
    anatase: Structure, species_folder: Path
) -> None:
    inputs = _inputs(anatase, 0, species_folder, "fast+energy_step=0.2+broadening=1.0")
    deck = parse_deck(inputs.files["core/elk_3_plot.in"])
    points, _, _, low, high = deck.numbers("wplot", [])
    assert low == 0
    assert high * 27.2114 / points == pytest.approx(0.2, rel=1e-4)
    assert high > 178.9 + 20 / 27.2  # the first transition, as seen, and the range of the bands
    assert deck.number("swidth", 0) == pytest.approx(0.5 / 27.2114, rel=1e-4)  # half of the width


def test_broadening_alone_keeps_the_stored_bse(anatase: Structure, species_folder: Path) -> None:
    one, other, third = (
        _inputs(anatase, 0, species_folder, f"fast+{change}").restart_key
        for change in ("broadening=1.0", "broadening=2.0+energy_step=0.2", "rgkmax=6.0")
    )
    assert one == other
    assert one != third
    assert _inputs(anatase, 1, species_folder).restart_key != one


def test_parameters_do_not_follow_from_the_structure(
    anatase: Structure, boron_nitride: Structure, species_folder: Path
) -> None:
    one = _inputs(anatase, 0, species_folder)
    other = _inputs(boron_nitride, 0, species_folder)
    assert one.parameters == other.parameters
    assert "scf_iterations" not in one.parameters
    assert one.parameters["screening_cutoff"].unit == "1/bohr"


def test_the_bands_are_enough_as_measured_in_anatase() -> None:
    # Number of bands, eV that they reach above the conduction band's bottom at every k-point.
    for bands, reached in ((24, 18.3), (40, 30.1), (50, 36.9), (60, 42.1), (70, 47.8)):
        assert bands <= conduction_bands(459.7, reached) <= bands + 6


def test_the_mesh_grows_with_its_radius(anatase: Structure) -> None:
    assert k_mesh(anatase, 8.0) == [2, 2, 2]
    assert k_mesh(anatase, 15.0) == [3, 3, 3]
    with pytest.raises(InputRefused, match="k_radius"):
        k_mesh(anatase, 0.0)


def test_spheres_do_not_overlap(anatase: Structure) -> None:
    distances = shortest_distances(anatase)
    assert distances["O", "Ti"] == pytest.approx(1.93 / 0.529177, abs=0.03)
    radii = fitted({"Ti": 2.4, "O": 1.8}, distances)
    assert radii["Ti"] + radii["O"] == pytest.approx(distances["O", "Ti"] - GAP, abs=1e-4)
    assert fitted({"Ti": 1.2, "O": 1.5}, distances) == {"Ti": 1.2, "O": 1.5}


@pytest.mark.parametrize(
    ("protocol", "edge", "site", "name"),
    [
        ("fast", "L3", 0, "unknown_edge"),
        ("fast", "K", 9, "absorbing_index"),
        ("fast+k_radius=0", "K", 0, "bad_setting"),
        ("fast+xc=b3lyp", "K", 0, "bad_setting"),
        ("fast+energy_step=0", "K", 0, "bad_setting"),
        ("fast+k_shift=[0]", "K", 0, "bad_setting"),
        ("fast+k_radius=100", "K", 0, "too_many_states"),
    ],
)
def test_what_elk_cannot_do_is_refused_by_name(
    anatase: Structure, species_folder: Path, protocol: str, edge: str, site: int, name: str
) -> None:
    with pytest.raises(InputRefused) as refused:
        _inputs(anatase, site, species_folder, protocol, edge)
    assert refused.value.name == name


def test_a_1s_that_is_valence_and_touching_atoms_are_refused(species_folder: Path) -> None:
    hydride = Structure(Lattice.cubic(4.0), ["Li", "H"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    for site in (0, 1):
        with pytest.raises(InputRefused) as refused:
            _inputs(hydride, site, species_folder)
        assert refused.value.name == "unsupported_element"
    touching = Structure(Lattice.cubic(4.0), ["B", "N"], [[0, 0, 0], [0.1, 0, 0]])
    with pytest.raises(InputRefused) as refused:
        _inputs(touching, 0, species_folder)
    assert refused.value.name == "spheres_too_small"
