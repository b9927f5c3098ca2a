"""What GPAW is asked for, and what is refused before it starts."""

from __future__ import annotations

import json

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from nearedge.codes.gpaw import GPAW, failures, inputs
from nearedge.codes.gpaw.mesh import k_mesh
from nearedge.codes.gpaw.programs import Installed
from nearedge.errors import InputRefused
from nearedge.structures.builtin import builtin_structure


@pytest.fixture(autouse=True)
def _no_gpaw_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    known = Installed("22.8.0", frozenset({"C", "O", "Ti", "Cu"}))
    monkeypatch.setattr(inputs, "installed", lambda: known)
    monkeypatch.setattr(GPAW, "version", lambda: known.version)


def asked(structure: Structure, protocol: str, index: int = 0) -> dict[str, object]:
    loaded: dict[str, object] = json.loads(
        GPAW.inputs(structure, index, "K", protocol).files["gpaw.json"]
    )
    return loaded


def test_the_absorber_comes_first_and_lies_at_the_origin_that_symmetry_leaves_in_place() -> None:
    anatase = builtin_structure("anatase").structure
    index = [site.specie.symbol for site in anatase].index("Ti") + 1
    given = asked(anatase, "fast", index)
    assert given["symbols"][0] == "Ti"  # type: ignore[index]
    assert given["scaled_positions"][0] == [0.0, 0.0, 0.0]  # type: ignore[index]


def test_a_hole_only_at_the_absorber_in_a_cell_as_large_as_asked(diamond: Structure) -> None:
    assert len(asked(diamond, "fast")["symbols"]) == 2  # type: ignore[arg-type]
    larger = asked(diamond, "balanced+image_distance=6")
    assert len(larger["symbols"]) > 20  # type: ignore[arg-type]


def test_equal_protocols_give_equal_parameters_whatever_the_structure(diamond: Structure) -> None:
    one = GPAW.inputs(diamond, 0, "K", "balanced")
    other = GPAW.inputs(builtin_structure("rutile").structure, 0, "K", "balanced")
    assert one.parameters == other.parameters
    assert one.parameters["lorentzian_width"].value == "core-hole lifetime"


def test_another_width_is_another_calculation_that_needs_no_new_run(diamond: Structure) -> None:
    one = GPAW.inputs(diamond, 0, "K", "fast")
    broader = GPAW.inputs(diamond, 0, "K", "fast+lorentzian_width=1.5")
    denser = GPAW.inputs(diamond, 0, "K", "fast+spectrum_k_radius=20")
    assert broader.parameters != one.parameters
    assert broader.restart_key == one.restart_key
    assert denser.restart_key != one.restart_key
    assert json.loads(broader.files["spectrum.json"])["lorentzian_width"] == 1.5


def test_lifetimes_that_the_k_mesh_does_not_resolve_are_not_pretended(diamond: Structure) -> None:
    def width(structure: Structure, protocol: str) -> float:
        files = GPAW.inputs(structure, 0, "K", protocol).files
        return float(json.loads(files["spectrum.json"])["lorentzian_width"])

    assert width(diamond, "fast") == 0.5
    assert width(diamond, "fast+least_width=0.3") == 0.3
    titanium = Structure(Lattice.cubic(3), ["Ti"], [[0, 0, 0]])
    assert width(titanium, "fast") == 0.94


@pytest.mark.parametrize(
    ("hole", "setup", "removed", "charge"),
    [("full", "fch1s", 1.0, 0), ("half", "hch1s", 0.5, 0), ("excited", "fch1s", 1.0, -1)],
)
def test_kinds_of_core_hole(
    diamond: Structure, hole: str, setup: str, removed: float, charge: int
) -> None:
    given = asked(diamond, f"fast+core_hole={hole}")
    assert (given["setup"], given["removed"], given["charge"]) == (setup, removed, charge)
    # Half an electron's removal has no total energy that a transition could be compared with.
    assert given["ground_state"] is (hole != "half")


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ("core_hole=none", "bad_setting"),
        ("xc=LDA", "bad_setting"),
        ("cutoff=0", "bad_setting"),
        ("e_max=-1", "bad_setting"),
        ("e_step=1e-9", "bad_setting"),
        ("lorentzian_width=-1", "bad_setting"),
        ("lorentzian_width=0.1", "bad_setting"),
        ("image_distance=99", "bad_setting"),
        ("colour=red", "unknown_setting"),
    ],
)
def test_settings_that_cannot_be_are_refused(diamond: Structure, change: str, name: str) -> None:
    with pytest.raises(InputRefused) as refused:
        GPAW.inputs(diamond, 0, "K", f"fast+{change}")
    assert refused.value.name == name


def test_a_core_hole_next_to_its_image_is_refused_above_fast(diamond: Structure) -> None:
    with pytest.raises(InputRefused, match=r"2\.5 Å apart") as refused:
        GPAW.inputs(diamond, 0, "K", "balanced+image_distance=0")
    assert refused.value.name == "core_hole_in_primitive_cell"


def test_structures_and_edges_that_gpaw_cannot_compute_are_refused(diamond: Structure) -> None:
    foreign = Structure(Lattice.cubic(5), ["Ti", "U"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    partial = Structure(Lattice.cubic(3), [{"Ti": 0.5}], [[0, 0, 0]])
    for structure, index, edge, name in (
        (foreign, 0, "K", "unsupported_element"),
        (partial, 0, "K", "partial_occupancy"),
        (diamond, 0, "L3", "unknown_edge"),
        (diamond, 8, "K", "absorbing_index"),
    ):
        with pytest.raises(InputRefused) as refused:
            GPAW.inputs(structure, index, edge, "fast")
        assert refused.value.name == name


def test_without_gpaw_inputs_can_still_be_made(diamond: Structure) -> None:
    failures.check_elements(diamond, Installed(problem="not here"))


@pytest.mark.parametrize("name", ["anatase", "rutile", "Cu2O", "CuO"])
@pytest.mark.parametrize("radius", [0.0, 6.0, 12.0])
def test_the_mesh_is_dense_enough_and_as_symmetric_as_the_cell(name: str, radius: float) -> None:
    cell = builtin_structure(name).structure
    mesh = k_mesh(cell, radius)
    heights = 1 / np.array(cell.lattice.reciprocal_lattice_crystallographic.abc)
    assert np.all(np.array(mesh) * heights >= radius - 1e-6)
    # By the crystal's own vectors: those that a rotation turns into each other get equal numbers.
    lengths = np.array(cell.lattice.abc).round(4)
    for length in set(lengths):
        if cell.lattice.is_orthogonal and cell.get_space_group_info()[1] > 74:
            assert len({n for n, each in zip(mesh, lengths, strict=True) if each == length}) == 1


def test_a_body_centred_cell_gets_a_mesh_that_its_rotations_keep() -> None:
    """3 x 3 x 2, which its lengths alone would give, makes GPAW compute twice the k-points."""
    cell = builtin_structure("anatase").structure.get_primitive_structure()
    assert len(set(k_mesh(cell, 9.0))) == 1


def test_a_supercell_gets_fewer_k_points(diamond: Structure) -> None:
    small, large = asked(diamond, "fast"), asked(diamond, "fast+image_distance=7")
    assert max(large["spectrum_mesh"]) < min(small["spectrum_mesh"])  # type: ignore[call-overload]
    assert large["empty_bands"] > small["empty_bands"]  # type: ignore[operator]
