"""What pw.x and xspectra.x are given, and what is refused before."""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from pymatgen.core import Lattice, Structure
from pymatgen.io.pwscf import PWInput

from nearedge.codes.base import InputSet
from nearedge.codes.core_hole import hole_cell
from nearedge.codes.protocols import load_protocol
from nearedge.codes.xspectra import XSPECTRA
from nearedge.codes.xspectra.augmentation import p_radius
from nearedge.codes.xspectra.cell import cell_polarisations
from nearedge.codes.xspectra.decks import cards, k_mesh, safer_mixing
from nearedge.codes.xspectra.inputs import plane_wave_cutoff
from nearedge.compat import lightshow_parameters
from nearedge.errors import InputRefused
from nearedge.structures.builtin import builtin_structure
from nearedge.structures.elements import core_hole_width
from nearedge.structures.supercell import shortest_vector

pytestmark = pytest.mark.usefixtures("names", "home")


def made(structure: Structure, protocol: str, index: int = 0, edge: str = "K") -> InputSet:
    return XSPECTRA.inputs(structure, index, edge, protocol)


def value(deck: str, name: str) -> str:
    found = re.search(rf"^\s*{re.escape(name)} = (.*?),?$", deck, re.MULTILINE)
    assert found is not None, name
    return found.group(1)


def test_the_absorber_is_the_one_atom_with_the_core_hole(rutile: Structure) -> None:
    files = made(rutile, "balanced").files
    positions = files["scf.in"].partition("ATOMIC_POSITIONS crystal\n")[2].splitlines()
    assert positions[0].split()[0] == "Ti+"
    assert sum(line.split()[0] == "Ti+" for line in positions if line.strip()) == 1
    species = files["scf.in"].partition("ATOMIC_SPECIES\n")[2].splitlines()[:3]
    kinds = [line.split() for line in species]
    assert [kind[2] for kind in kinds if kind[0] == "Ti+"] == ["Ti.fch.UPF"]
    # xspectra.x counts the kinds of atoms as pw.x was told them.
    assert kinds[int(value(files["lanczos_1.in"], "xiabs")) - 1][0] == "Ti+"
    assert value(files["lanczos_1.in"], "filecore") == "'Core_Ti.wfc'"


def test_there_are_bands_for_all_electrons_and_the_cell_is_charged(rutile: Structure) -> None:
    deck = made(rutile, "fast").files["scf.in"]
    assert float(value(deck, "tot_charge")) == 1.0
    assert int(value(deck, "nbnd")) >= 48 / 2 + 4
    assert float(value(deck, "ecutrho")) == 4 * float(value(deck, "ecutwfc"))


def test_the_cutoff_is_a_share_of_what_the_potentials_suggest_or_as_stated(
    rutile: Structure,
) -> None:
    assert value(made(rutile, "fast").files["scf.in"], "ecutwfc") == "45.0"
    assert value(made(rutile, "precise").files["scf.in"], "ecutwfc") == "60.0"
    stated = made(rutile, "fast+cutoff=41.0+cutoff_scale=0.9")
    assert value(stated.files["scf.in"], "ecutwfc") == "41.0"
    assert stated.parameters == made(rutile, "fast+cutoff=41.0").parameters


def test_potentials_that_suggest_no_cutoff_need_one() -> None:
    with pytest.raises(InputRefused) as caught:
        plane_wave_cutoff(load_protocol("xspectra", "fast"), None)
    assert caught.value.name == "cutoff_unknown"


def test_the_waves_are_put_back_in_a_sphere_about_their_matching_radius(rutile: Structure) -> None:
    """A little beyond it: measured, see `nearedge.codes.xspectra.augmentation`."""
    assert value(made(rutile, "fast").files["lanczos_1.in"], "r_paw(1)") == "1.5"
    larger = made(rutile, "fast+paw_radius_scale=1.5")
    assert value(larger.files["lanczos_1.in"], "r_paw(1)") == "1.8"


@pytest.mark.parametrize("version", [1, 2])
def test_the_matching_radius_is_found_in_both_versions_of_upf(version: int) -> None:
    texts = {
        1: "<PP_GIPAW_AE_ORBITAL>\n  2S       0\n 1.0\n</PP_GIPAW_AE_ORBITAL>\n"
        "<PP_GIPAW_PS_ORBITAL>\n    1.50  1.50\n</PP_GIPAW_PS_ORBITAL>\n"
        "<PP_GIPAW_AE_ORBITAL>\n  2P       1\n 1.0\n</PP_GIPAW_AE_ORBITAL>\n"
        "<PP_GIPAW_PS_ORBITAL>\n    1.40  1.40\n</PP_GIPAW_PS_ORBITAL>\n",
        2: '<PP_GIPAW_ORBITAL.1 index="1" label="2S" l="0" cutoff_radius="1.5" >\n'
        '<PP_GIPAW_ORBITAL.2 index="2" label="2P" l="1" cutoff_radius="1.4" >\n',
    }
    assert p_radius(texts[version], "C.UPF") == 1.4
    with pytest.raises(InputRefused) as caught:
        p_radius("<UPF>", "C.UPF")
    assert caught.value.name == "pseudo_refused"


def test_positions_keep_the_digits_that_symmetry_needs() -> None:
    hexagonal = builtin_structure("Ti2O3").structure
    deck = made(hexagonal, "fast").files["scf.in"]
    digits = re.findall(r"\d\.(\d+)", deck.partition("ATOMIC_POSITIONS crystal\n")[2])
    assert digits
    assert all(len(each) == 10 for each in digits)


def test_a_supercell_gets_fewer_k_points_and_keeps_its_holes_apart(rutile: Structure) -> None:
    fast, balanced = (load_protocol("xspectra", name) for name in ("fast", "balanced"))
    small, large = hole_cell(rutile, 0, fast), hole_cell(rutile, 0, balanced)
    assert shortest_vector(large.lattice) >= balanced.number("image_distance") - 1e-6
    assert len(large) > len(small)
    assert max(k_mesh(large, 6.0)) < max(k_mesh(small, 6.0))


def test_equally_long_axes_get_equally_many_k_points() -> None:
    for length in (3.0, 4.1, 5.2917721, 7.0):
        cubic = Structure(Lattice.cubic(length), ["Ti"], [[0, 0, 0]])
        for radius in (4.0, 6.0, 9.0, 12.0):
            assert len(set(k_mesh(cubic, radius))) == 1


def test_a_hole_in_rutile_is_orthorhombic_and_needs_one_polarisation(rutile: Structure) -> None:
    (only,) = cell_polarisations(hole_cell(rutile, 0, load_protocol("xspectra", "fast")))
    # The magic angle to the tetragonal axis: what its mmm leaves equal are x and y.
    assert abs(only.direction[2]) == pytest.approx(3**-0.5)


def test_the_polarisations_that_run_are_those_whose_weights_are_kept(rutile: Structure) -> None:
    files = made(builtin_structure("brookite").structure, "fast").files
    table = json.loads(files["polarisations.json"])
    assert sum(each["weight"] for each in table) == pytest.approx(1.0)
    for number, each in enumerate(table, start=1):
        for deck in (files[f"lanczos_{number}.in"], files[f"plot_{number}.in"]):
            stated = [float(value(deck, f"xepsilon({axis})")) for axis in (1, 2, 3)]
            assert stated == pytest.approx(each["direction"], abs=1e-9)
    assert f"plot_{len(table) + 1}.in" not in files


def test_the_primitive_cell_is_refused_above_fast(rutile: Structure) -> None:
    with pytest.raises(InputRefused) as caught:
        made(rutile, "balanced@1+image_distance=0.0")
    assert caught.value.name == "core_hole_in_primitive_cell"
    made(rutile, "fast@1+image_distance=0.0")


def test_a_primitive_cell_that_keeps_the_holes_apart_is_not_refused() -> None:
    roomy = Structure(Lattice.cubic(8.0), ["Ti", "O"], [[0, 0, 0], [0.2, 0, 0]])
    assert "nat = 2" in made(roomy, "balanced@1+image_distance=0.0").files["scf.in"]


@pytest.mark.parametrize("edge", ["L3", "L23", "L1", "M"])
def test_edges_other_than_k_are_refused(rutile: Structure, edge: str) -> None:
    with pytest.raises(InputRefused) as caught:
        made(rutile, "fast", edge=edge)
    assert caught.value.name == "unknown_edge"


@pytest.mark.parametrize(
    "change", ["image_distance=-1.0", "spectrum_k_radius=0.0", "lorentzian_width=0.1"]
)
def test_settings_that_cannot_be_are_refused(rutile: Structure, change: str) -> None:
    with pytest.raises(InputRefused) as caught:
        made(rutile, f"fast@1+{change}")
    assert caught.value.name == "bad_setting"


def test_equal_protocols_give_equal_parameters_for_all_structures(rutile: Structure) -> None:
    other = builtin_structure("TiO").structure
    assert made(rutile, "balanced").parameters == made(other, "balanced").parameters
    assert made(rutile, "balanced").parameters != made(rutile, "precise").parameters


def test_a_broadening_is_another_calculation_that_starts_from_the_same(rutile: Structure) -> None:
    natural, broad = made(rutile, "fast"), made(rutile, "fast@1+lorentzian_width=2.0")
    assert natural.restart_key == broad.restart_key
    assert natural.parameters != broad.parameters
    assert natural.files["lanczos_1.in"] == broad.files["lanczos_1.in"]
    # xgamma is half of the full width at half maximum.
    assert float(value(broad.files["plot_1.in"], "xgamma")) == pytest.approx(1.0)
    lifetime = core_hole_width("Ti", "K")
    assert float(value(natural.files["plot_1.in"], "xgamma")) == pytest.approx(lifetime / 2)


@pytest.mark.parametrize(
    "change",
    [
        "cutoff=60.0",
        "cutoff_scale=1.0",
        "spectrum_k_radius=9.0",
        "lanczos_error=0.001",
        "e_max=60.0",
        "charge=0.0",
    ],
)
def test_nothing_else_starts_from_the_same(rutile: Structure, change: str) -> None:
    assert made(rutile, "fast").restart_key != made(rutile, f"fast@1+{change}").restart_key


def test_sites_do_not_start_from_each_other() -> None:
    crystal = builtin_structure("Ti2O3").structure
    titanium = [i for i, site in enumerate(crystal) if site.specie.symbol == "Ti"]
    keys = {made(crystal, "fast", index).restart_key for index in titanium[:1]}
    keys.add(made(builtin_structure("rutile").structure, "fast").restart_key)
    assert len(keys) == 2


def test_safer_mixing_changes_the_mixing_alone(rutile: Structure) -> None:
    deck = made(rutile, "fast").files["scf.in"]
    safer = safer_mixing(deck)
    assert float(value(safer, "mixing_beta")) < float(value(deck, "mixing_beta")) / 2
    assert int(value(safer, "electron_maxstep")) > int(value(deck, "electron_maxstep"))
    changed = set(safer.splitlines()) ^ set(deck.splitlines())
    names = {line.partition("=")[0].strip() for line in changed}
    assert names == {"mixing_beta", "mixing_mode", "electron_maxstep"}


def test_lightshow_writes_the_same_but_for_what_is_said_in_decks(
    rutile: Structure, tmp_path: Path, need: Callable[[object, str], None]
) -> None:
    """Its es.in and ours, by section; and the reasons for which ours is taken still hold."""
    need(importlib.util.find_spec("lightshow"), "lightshow is not installed")
    module = lightshow_parameters("xspectra")
    theirs = module.XSpectraParameters(cards=cards(), kpoints=lambda _: (2, 2, 3))
    cell = hole_cell(rutile, 0, load_protocol("xspectra", "fast+image_distance=6.0"))
    theirs.write(tmp_path, structure_sc=cell.copy(), sites=[0], index_mapping={0: 0})
    es = PWInput.from_file(tmp_path / "000_Ti" / "es.in")
    ours = PWInput.from_str(made(rutile, "fast+image_distance=6.0").files["scf.in"])
    for name in ("occupations", "smearing", "nspin", "ibrav", "nat", "ntyp"):
        assert es.sections["system"][name] == ours.sections["system"][name]
    assert es.sections["electrons"]["mixing_beta"] == ours.sections["electrons"]["mixing_beta"]
    assert set(es.pseudo) == set(ours.pseudo) if isinstance(es.pseudo, dict) else True
    # The reasons: one k-point in every supercell, no charge, integers for directions, 0.01 eV.
    assert list(es.kpoints_grid) == [1, 1, 1]
    assert "tot_charge" not in es.sections["system"]
    xanes = (tmp_path / "000_Ti" / "dipole1" / "xanes.in").read_text()
    assert value(xanes, "xgamma").strip() == "0.01"
    assert "x_save_file" not in xanes
    assert len(list((tmp_path / "000_Ti").glob("dipole*"))) == 3


def test_lightshows_cards_are_not_changed(rutile: Structure) -> None:
    before = cards()
    made(rutile, "balanced")
    assert cards() == before
