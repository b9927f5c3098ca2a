"""exciting is run by the settings' command. A stand-in plays it: the real one is not at hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from pymatgen.core import Lattice, Structure

from nearedge.codes import get_code
from nearedge.codes.base import FinishedRun
from nearedge.codes.protocols import load_protocol, protocol_names
from nearedge.errors import CodeError, ResourceError

RUTILE = Structure.from_spacegroup(
    "P4_2/mnm", Lattice.tetragonal(4.594, 2.959), ["Ti", "O"], [[0, 0, 0], [0.305, 0.305, 0]]
)


@pytest.mark.parametrize("name", protocol_names("exciting"))
def test_the_command_runs_and_its_output_is_taken_back(
    stand_in: Callable[[str], None], species: Path, tmp_path: Path, name: str
) -> None:
    stand_in("good")
    code = get_code("exciting")
    inputs = code.inputs(RUTILE, 4, "K", name)
    result = code.run(inputs, tmp_path / "new", stage_timeout=60)
    assert len(result.spectrum) == 1000
    assert 470 < result.spectrum.energy[0] < result.spectrum.energy[-1] < 590
    assert result.wall_seconds is not None
    assert not (tmp_path / "new" / "Ti.xml").exists()
    # A stranger's folder is recognised by what it asks for.
    (run,) = code.finished(tmp_path / "new")
    assert isinstance(run, FinishedRun), run
    assert (run.absorber, run.absorbing_index, run.edge) == ("O", 4, "K")
    assert run.protocol == load_protocol("exciting", name).label
    assert run.parameters == inputs.parameters


@pytest.mark.parametrize(
    ("mode", "name"),
    [
        ("polarisation", "missing_polarisation"),
        ("nan", "output_not_finite"),
        ("scf", "scf_not_converged"),
        ("crash", "stage_failed"),
    ],
)
def test_a_failed_run_is_named(
    stand_in: Callable[[str], None], species: Path, tmp_path: Path, mode: str, name: str
) -> None:
    stand_in(mode)
    code = get_code("exciting")
    with pytest.raises(CodeError) as raised:
        code.run(code.inputs(RUTILE, 4, "K", "fast"), tmp_path / "new", stage_timeout=60)
    assert raised.value.name == name
    assert raised.value.log_tail


def test_without_species_files_nothing_is_started(
    stand_in: Callable[[str], None], species: Path, tmp_path: Path
) -> None:
    stand_in("good")
    (species / "O.xml").unlink()
    code = get_code("exciting")
    with pytest.raises(ResourceError, match=r"no species file O\.xml"):
        code.run(code.inputs(RUTILE, 4, "K", "fast"), tmp_path / "new", stage_timeout=60)
    assert not (tmp_path / "new").exists()


def test_the_species_folder_is_that_of_the_installation(
    stand_in: Callable[[str], None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    stand_in("good")
    code = get_code("exciting")
    inputs = code.inputs(RUTILE, 4, "K", "fast")
    monkeypatch.delenv("EXCITINGROOT", raising=False)
    assert "species files" in code.availability().detail
    with pytest.raises(ResourceError, match="NEAREDGE_EXCITING_SPECIES_PATH"):
        code.run(inputs, tmp_path / "new", stage_timeout=60)
    (tmp_path / "exciting" / "species").mkdir(parents=True)
    for symbol in ("Ti", "O"):
        (tmp_path / "exciting" / "species" / f"{symbol}.xml").write_text("<spdb/>")
    monkeypatch.setenv("EXCITINGROOT", str(tmp_path / "exciting"))
    assert len(code.run(inputs, tmp_path / "new", stage_timeout=60).spectrum) == 1000
