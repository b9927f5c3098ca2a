"""What holds for each code that runs by the user's own executable, without one at hand."""

from __future__ import annotations

from pathlib import Path

import pytest
from pymatgen.core import SETTINGS, Lattice, Structure

from nearedge.codes import get_code
from nearedge.codes.protocols import load_protocol, protocol_names
from nearedge.errors import InputRefused, ResourceError

RUTILE = Structure.from_spacegroup(
    "P4_2/mnm", Lattice.tetragonal(4.594, 2.959), ["Ti", "O"], [[0, 0, 0], [0.305, 0.305, 0]]
)
URANIUM = Structure(Lattice.cubic(5), ["U"], [[0, 0, 0]])
HYDROGEN = Structure(Lattice.cubic(5), ["H"], [[0, 0, 0]])
COMMANDS = {"ocean": "ocean.pl ocean.in", "exciting": "exciting_smp input.xml", "vasp": "vasp_std"}


@pytest.mark.parametrize(
    ("name", "protocol"), [(name, each) for name in COMMANDS for each in protocol_names(name)]
)
def test_equal_protocols_give_equal_parameters(name: str, protocol: str) -> None:
    code = get_code(name)
    first = code.inputs(RUTILE, 0, "K", protocol)
    second = code.inputs(RUTILE * (2, 1, 1), 5, "K", load_protocol(name, protocol).label)
    assert first.parameters == second.parameters
    assert first.files != second.files


@pytest.mark.parametrize(
    ("name", "structure", "index", "edge", "changes", "refusal"),
    [
        *((name, RUTILE, 9, "K", "", "absorbing_index") for name in COMMANDS),
        *((name, RUTILE, 0, "M4", "", "unknown_edge") for name in COMMANDS),
        *((name, HYDROGEN, 0, "L1", "", "edge_not_in_element") for name in ("exciting", "vasp")),
        *((name, RUTILE, 0, "K", "+k_radius=0.0", "bad_setting") for name in COMMANDS),
        ("ocean", RUTILE, 0, "L3", "", "unknown_edge"),
        ("ocean", RUTILE, 0, "K", "+k_radius=500", "bad_setting"),
        ("ocean", RUTILE, 0, "K", "+core_hole_radius=5.2", "bad_setting"),
        ("ocean", RUTILE, 0, "K", "+energy_step=0.0", "bad_setting"),
        ("exciting", RUTILE, 0, "K", "+k_shift=[0.5]", "bad_setting"),
        ("exciting", RUTILE, 0, "K", "+energy_step=-1.0", "bad_setting"),
        ("exciting", RUTILE, 0, "K", "+band_energy_range=0.0", "bad_setting"),
        ("vasp", RUTILE, 0, "L3", "", "unknown_edge"),
        ("vasp", RUTILE, 0, "K", "+potentials=OWN", "bad_setting"),
        ("vasp", URANIUM, 0, "K", "", "unsupported_element"),
    ],
)
def test_what_would_compute_something_else_is_refused(
    name: str, structure: Structure, index: int, edge: str, changes: str, refusal: str
) -> None:
    with pytest.raises(InputRefused) as refused:
        get_code(name).inputs(structure, index, edge, f"fast@1{changes}")
    assert refused.value.name == refusal


@pytest.mark.parametrize(("name", "command"), COMMANDS.items())
def test_without_the_program_nothing_is_started(
    name: str, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SETTINGS, "PMG_VASP_PSP_DIR", str(tmp_path))
    code = get_code(name)
    available = code.availability()
    if available.found:
        pytest.skip(f"{code.title} is installed here")
    assert available.detail == f"{command} is not found"
    assert f"NEAREDGE_{name.upper()}_COMMAND" in available.remedy
    with pytest.raises(ResourceError, match=f"{command} is not found"):
        code.run(code.inputs(RUTILE, 0, "K", "fast"), tmp_path / "new", stage_timeout=60)
    assert not (tmp_path / "new").exists()
    assert code.version() == "unknown"
