"""VASP is run by the settings' command. A stand-in plays it: the real one is not at hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from pymatgen.core import SETTINGS, Lattice, Structure

from nearedge.codes import get_code
from nearedge.codes.base import FinishedRun
from nearedge.codes.protocols import load_protocol, protocol_names
from nearedge.errors import CodeError, ResourceError
from nearedge.settings import get_settings

RUTILE = Structure.from_spacegroup(
    "P4_2/mnm", Lattice.tetragonal(4.594, 2.959), ["Ti", "O"], [[0, 0, 0], [0.305, 0.305, 0]]
)


@pytest.mark.parametrize("name", protocol_names("vasp"))
def test_the_command_runs_and_its_output_is_taken_back(
    stand_in: Callable[[str], None], potentials: Path, recorded: Path, tmp_path: Path, name: str
) -> None:
    stand_in("good")
    code = get_code("vasp")
    inputs = code.inputs(RUTILE, 3, "K", name)
    result = code.run(inputs, tmp_path / "new", stage_timeout=60)
    reference = code.read(recorded).spectrum
    assert result.spectrum.absorption == pytest.approx(2 * reference.absorption, abs=1e-6)
    assert result.results["potentials"].value == [
        *("PAW O_GW 01Jan2000", "PAW O_GW 01Jan2000", "PAW Ti_sv_GW 01Jan2000"),
    ]
    # A stranger's folder is recognised by what it asks for.
    (run,) = code.finished(tmp_path / "new")
    assert isinstance(run, FinishedRun), run
    assert (run.absorber, run.absorbing_index, run.edge) == ("O", 0, "K")
    assert run.protocol == load_protocol("vasp", name).label
    assert run.parameters == inputs.parameters


@pytest.mark.parametrize(
    ("mode", "name"),
    [
        ("nan", "output_not_finite"),
        ("electrons", "scf_not_converged"),
        ("crash", "stage_failed"),
    ],
)
def test_a_failed_run_is_named_and_leaves_no_potentials(
    stand_in: Callable[[str], None], potentials: Path, tmp_path: Path, mode: str, name: str
) -> None:
    stand_in(mode)
    code = get_code("vasp")
    with pytest.raises(CodeError) as raised:
        code.run(code.inputs(RUTILE, 3, "K", "fast"), tmp_path / "new", stage_timeout=60)
    assert raised.value.name == name
    assert raised.value.log_tail
    left = [path for path in (tmp_path / "new").rglob("*") if path.is_file()]
    assert left
    assert not any("made up" in path.read_text() for path in left)


def test_without_potentials_nothing_is_started(
    stand_in: Callable[[str], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in("good")
    monkeypatch.delitem(SETTINGS, "PMG_VASP_PSP_DIR", raising=False)
    code = get_code("vasp")
    assert "potentials" in code.availability().detail
    with pytest.raises(ResourceError, match=r"potentials are not found: .*PMG_VASP_PSP_DIR"):
        code.run(code.inputs(RUTILE, 3, "K", "fast"), tmp_path / "new", stage_timeout=60)
    assert not (tmp_path / "new").exists()


def test_a_potential_that_is_not_there_is_named(
    stand_in: Callable[[str], None], potentials: Path, tmp_path: Path
) -> None:
    stand_in("good")
    (path,) = potentials.glob("*/O_GW/POTCAR")
    path.unlink()
    code = get_code("vasp")
    with pytest.raises(ResourceError, match=r"no potential O_GW .*needed are O_GW, Ti_sv_GW"):
        code.run(code.inputs(RUTILE, 3, "K", "fast"), tmp_path / "new", stage_timeout=60)
    assert not (tmp_path / "new").exists()


def test_the_version_is_that_of_the_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "vasp_std"
    program.write_bytes(b"\x7fELF" + bytes(2**22) + b"\x00vasp.6.4.2 20Jul23 (build \x00")
    program.chmod(0o755)
    monkeypatch.setenv("NEAREDGE_VASP_COMMAND", f"mpirun -n 4 {program}")
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "mpirun").write_text("#!/bin/sh\n")
    (tmp_path / "mpirun").chmod(0o755)
    get_settings.cache_clear()
    try:
        assert get_code("vasp").version() == "6.4.2"
    finally:
        get_settings.cache_clear()
