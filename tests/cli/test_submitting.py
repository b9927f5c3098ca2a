"""What `submit` refuses before anything starts, and inputs for those who run elsewhere."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from pymatgen.core import Lattice, Structure

from nearedge.codes import get_code
from nearedge.codes.base import Availability, FinishedRun
from nearedge.codes.feff import FEFF
from nearedge.codes.finished.sidecar import SIDECAR, parse_sidecar
from nearedge.codes.protocols import load_protocol
from nearedge.makers.documents import describe_site
from nearedge.schemas import SourceRef, StructureDoc
from nearedge.structures.builtin import builtin_structure
from nearedge.structures.identity import structure_key

from .conftest import Command

RECORDED = Path(__file__).parents[1] / "recorded" / "feff" / "anatase"


@pytest.fixture
def anatase(tmp_path: Path) -> Path:
    path = tmp_path / "anatase.cif"
    builtin_structure("anatase").structure.to(filename=str(path))
    return path


def test_a_code_without_its_program_is_refused_before_a_database_is_asked_for(
    nearedge: Command, anatase: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEAREDGE_VASP_COMMAND", "no-such-vasp")
    said = nearedge("submit", anatase, "--absorber", "Ti", "--code", "vasp")
    assert said.code == 1
    assert "VASP cannot run here" in said.err
    assert "no-such-vasp" in said.err
    assert "NEAREDGE_VASP_COMMAND" in said.err
    assert "--inputs-only DIR" in said.err
    assert not home.exists(), "nothing was written"


def test_an_open_quote_is_told_in_one_sentence_with_its_setting(
    nearedge: Command, anatase: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEAREDGE_PW_COMMAND", "mpirun 'x")
    said = nearedge("submit", anatase, "--absorber", "Ti", "--code", "xspectra")
    assert said.code == 1
    assert said.err == (
        "Error: XSpectra (Quantum ESPRESSO) cannot run here, its setting pw_command leaves a quote "
        "or an escape open (mpirun 'x): correct NEAREDGE_PW_COMMAND; or write its inputs with "
        "--inputs-only DIR and run them elsewhere.\n"
    )
    assert not home.exists(), "nothing was written"


def test_inputs_need_neither_database_nor_program(
    nearedge: Command,
    anatase: Path,
    home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(FEFF, "availability", lambda: Availability(False, "none", "get it"))
    target = tmp_path / "to" / "run"
    options = ("--absorber", "Ti", "--inputs-only", target, "--set", "fms_radius=5", "--json")
    said = nearedge("submit", anatase, *options)
    assert said.code == 0
    (folder,) = said.json["written"]
    assert said.json["refused"] == []
    assert Path(folder) == target / "anatase" / "0_Ti_K_feff"
    assert sorted(path.name for path in Path(folder).iterdir()) == ["feff.inp", SIDECAR, "run.sh"]
    assert "FMS 5.0" in (Path(folder) / "feff.inp").read_text()
    told = parse_sidecar((Path(folder) / SIDECAR).read_text())
    assert told.protocol == "fast@1+fms_radius=5.0"
    assert told.code_version is None
    assert [path.name for path in target.iterdir()] == ["anatase"], "no scratch is left"
    assert not home.exists()


AWKWARD = (
    ("xspectra", "Ti", (), {"NEAREDGE_PSEUDO_PATH": "{tmp}/none"}, "none, which is no folder"),
    ("xspectra", "Ti", (), {"NEAREDGE_PSEUDO_PATH": "{tmp}"}, "There is no O.UPF"),
    ("xspectra", "Ti", ("--edge", "L3"), {}, "'L3' is not supported with XSpectra"),
    ("xspectra", "Zr", (), {}, "there is no Zr to absorb in it, only O, Ti"),
    ("gpaw", "Ti", ("--edge", "M5"), {}, "'M5' is not supported with GPAW"),
    ("gpaw", "ti", (), {}, "'ti' is not the symbol of an element"),
    ("elk", "Ti", ("--set", "nosuch=3"), {}, "has no setting 'nosuch'"),
    ("elk", "Ti", (), {"NEAREDGE_ELK_SPECIES_PATH": "{tmp}/none"}, "no species file O.in"),
    ("vasp", "Ti", ("--protocol", "lavish"), {}, "no protocol 'lavish'"),
    ("ocean", "Ti", ("--edge", "K1"), {}, "'K1' is not supported with OCEAN"),
)


@pytest.mark.parametrize(("code", "absorber", "options", "settings", "says"), AWKWARD)
def test_what_a_code_cannot_do_is_told_in_a_sentence_and_leaves_nothing(
    nearedge: Command, anatase: Path, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    code: str, absorber: str, options: tuple[str, ...], settings: dict[str, str], says: str,
) -> None:  # fmt: skip
    for name, value in settings.items():
        monkeypatch.setenv(name, value.format(tmp=tmp_path))
    target = tmp_path / "out"
    arguments = ("--absorber", absorber, "--code", code, *options, "--inputs-only", target)
    said = nearedge("submit", anatase, *arguments)
    assert said.code == 1
    assert says in said.out + said.err
    assert "Unexpected" not in said.err
    assert not target.exists()
    assert not (home / "cache").exists(), "nothing expensive was made"


def test_an_element_without_a_recipe_is_refused_for_the_code_that_needs_one(
    nearedge: Command, tmp_path: Path
) -> None:
    path = tmp_path / "SrTiO3.cif"
    cubic = Structure.from_spacegroup(
        "Pm-3m", Lattice.cubic(3.905), ["Sr", "Ti", "O"], [[0.5] * 3, [0] * 3, [0.5, 0, 0]]
    )
    cubic.to(filename=str(path))
    target = tmp_path / "out"
    arguments = ("--absorber", "Sr", "--code", "feff,xspectra", "--inputs-only", target)
    said = nearedge("submit", path, *arguments)
    assert said.code == 0
    assert "1 written, 1 refused." in said.out
    assert "refused SrTiO3 Sr0 K by xspectra: There is no recipe" in said.out
    assert "NEAREDGE_PSEUDO_PATH" in said.out


def test_inputs_of_several_structures_are_refused_one_by_one(
    nearedge: Command, anatase: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.cif"
    broken.write_text("no structure")
    target = tmp_path / "out"
    said = nearedge("submit", anatase, broken, "--absorber", "Ti", "--inputs-only", target)
    assert said.code == 0
    assert "1 written, 1 refused." in said.out
    assert "broken.cif: it is not a structure" in said.out
    assert "nearedge ingest DIR --code feff" in said.err
    nothing = nearedge("submit", broken, "--absorber", "Ti", "--inputs-only", tmp_path / "none")
    assert nothing.code == 1
    assert not (tmp_path / "none").exists()


def test_inputs_are_never_written_over_others(
    nearedge: Command, anatase: Path, tmp_path: Path
) -> None:
    target = tmp_path / "out"
    arguments = ("submit", anatase, "--absorber", "Ti", "--inputs-only", target)
    assert nearedge(*arguments).code == 0
    deck = target / "anatase" / "0_Ti_K_feff" / "feff.inp"
    deck.write_text("mine")
    said = nearedge(*arguments)
    assert said.code == 1
    assert "0_Ti_K_feff exists already" in said.err
    assert deck.read_text() == "mine"


def test_files_of_one_name_get_folders_of_different_names(
    nearedge: Command, anatase: Path, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    other = tmp_path / "other" / "anatase.cif"
    builtin_structure("rutile").structure.to(filename=str(other))
    target = tmp_path / "out"
    said = nearedge("submit", anatase, other, "--absorber", "Ti", "--inputs-only", target)
    assert said.code == 0
    first, second = sorted(path.name for path in target.iterdir())
    assert first == "other_anatase"
    assert second.endswith("_anatase")
    # What cannot be told apart by its name is refused, and nothing of either is written.
    blurred = tmp_path / "ana*tase.cif"
    shutil.copy(other, blurred)
    shutil.copy(anatase, tmp_path / "ana_tase.cif")
    both = (blurred, tmp_path / "ana_tase.cif")
    said = nearedge("submit", *both, "--absorber", "Ti", "--inputs-only", tmp_path / "two")
    assert (said.code, (tmp_path / "two").exists()) == (1, False)
    assert "Two structures are called" in said.err


def test_inputs_that_cannot_be_written_leave_nothing(
    nearedge: Command, anatase: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "rename", full)
    arguments = ("submit", anatase, "--absorber", "Ti", "--inputs-only", tmp_path / "a" / "b")
    said = nearedge(*arguments)
    assert said.code == 1
    assert "cannot be written" in said.err
    assert not (tmp_path / "a").exists()
    said = nearedge("submit", anatase, "--absorber", "Ti", "--inputs-only", anatase)
    assert "is a file: name a folder" in said.err


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("fms_radius=far", "fms_radius takes a number, such as 4.0; far is none."),
        ("fms_radius=.inf", "fms_radius takes a number, such as 4.0; .inf is none."),
        ("fms_radios=5", "has no setting 'fms_radios'"),
    ],
)
def test_a_changed_setting_that_does_not_fit_is_refused_by_name(
    nearedge: Command, anatase: Path, change: str, says: str
) -> None:
    said = nearedge("submit", anatase, "--absorber", "Ti", "--set", change)
    assert said.code == 1
    assert says in said.err


def test_a_change_that_is_none_is_a_usage_error(nearedge: Command, anatase: Path) -> None:
    said = nearedge("submit", anatase, "--absorber", "Ti", "--set", "fms_radius")
    assert (said.code, "NAME=VALUE" in said.err) == (2, True)
    twice = ("--set", "fms_radius=5", "--set", "fms_radius=6")
    said = nearedge("submit", anatase, "--absorber", "Ti", *twice)
    assert (said.code, "set twice" in said.err) == (2, True)


def test_a_setting_of_one_code_only_is_refused_for_several(
    nearedge: Command, anatase: Path
) -> None:
    assert "fms_radius" not in load_protocol("vasp", "fast").settings
    arguments = ("--absorber", "Ti", "--code", "feff,vasp", "--set", "fms_radius=5")
    said = nearedge("submit", anatase, *arguments)
    assert said.code == 1
    assert "feff has this setting, vasp has not" in said.err


def test_results_computed_elsewhere_are_of_the_calculation_that_would_run_here(
    nearedge: Command, anatase: Path, tmp_path: Path
) -> None:
    target = tmp_path / "out"
    nearedge("submit", anatase, "--absorber", "Ti", "--inputs-only", target)
    folder = target / "anatase" / "0_Ti_K_feff"
    shutil.copy(RECORDED / "xmu.dat", folder)
    archive = shutil.make_archive(str(tmp_path / "back"), "gztar", target)
    here = builtin_structure("anatase").structure
    document = StructureDoc.from_structure(here, SourceRef(kind="object", label="anatase"))
    site = describe_site(FEFF, document, 0, 1, edge="K", protocol="fast")
    for place in (target, folder, Path(archive)):
        (run,) = get_code("feff").finished(place)
        assert isinstance(run, FinishedRun), run
        assert structure_key(run.structure) == site.structure.structure_key
        assert (run.absorbing_index, run.edge, run.absorber) == (0, "K", "Ti")
        assert run.parameters == site.inputs.parameters
        assert run.protocol == "fast@1"
        assert run.code_version == "10.0.0", "what the output says"
        assert run.structure_label == "anatase"
    # An input that somebody changed is a stranger's, whatever lies beside it.
    deck = folder / "feff.inp"
    deck.write_text(deck.read_text().replace("SCF 3.2", "SCF 3.9"))
    (run,) = get_code("feff").finished(folder)
    assert isinstance(run, FinishedRun), run
    assert run.protocol == "custom"
    (folder / SIDECAR).write_text(json.dumps({"code": "feff"}))
    (bad,) = get_code("feff").finished(folder)
    assert "nearedge.json is damaged" in bad.reason  # type: ignore[union-attr]
