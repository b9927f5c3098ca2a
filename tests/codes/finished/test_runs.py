"""Finished runs of any code are found in folders and archives, with or without `nearedge.json`."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from nearedge.codes.base import BadRun, CodeResult, FinishedRun, InputSet, KnownRun
from nearedge.codes.finished import folders
from nearedge.codes.finished.runs import CUSTOM, Described, iter_run_folders
from nearedge.codes.finished.sidecar import SIDECAR, parse_sidecar, sidecar_text
from nearedge.errors import CodeError, IngestError
from nearedge.schemas.calculation import Parameter
from nearedge.schemas.spectrum import EnergyReference
from nearedge.spectra.spectrum import Spectrum

CRYSTAL = Structure(Lattice.cubic(4.1), ["Ti", "O"], [[0, 0, 0], [0.5, 0.5, 0.5]])
INPUTS = InputSet(
    code="toy",
    code_version="of the machine that wrote",
    protocol="fast@1",
    files={"toy.in": "radius 4\n", "deep/er.in": "more\n"},
    parameters={"radius": Parameter(value=4.0, unit="angstrom")},
)


def read(folder: Path) -> CodeResult:
    if not (folder / "toy.out").exists():
        raise CodeError("output_missing", f"{folder.name} has no toy.out.")
    version, *values = (folder / "toy.out").read_text().split()
    energy = np.arange(float(len(values)))
    return CodeResult(
        spectrum=Spectrum(energy, np.array([float(value) for value in values])),
        energy_reference=EnergyReference(kind="arbitrary"),
        broadening=[],
        code_version=version,
    )


def describe(folder: Path) -> Described:
    if not (folder / "toy.in").exists():
        raise IngestError("toy.in is not there")
    return Described(CRYSTAL.copy(), 0, "K", {}, CUSTOM, {"toy.in": "as found"})


def found(path: Path, **options) -> list[FinishedRun | KnownRun | BadRun]:
    return list(
        iter_run_folders(
            path,
            code="toy",
            read=read,
            describe=describe,
            markers=("toy.out",),
            wanted=("*.in", "toy.out"),
            **options,
        )
    )


def write(folder: Path, *, told: bool, index: int = 0, output: str = "7.1 1 2 3") -> Path:
    for name, text in INPUTS.files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    (folder / "unwanted.wfc").write_text("large")
    if output:
        (folder / "toy.out").write_text(output)
    if told:
        text = sidecar_text(INPUTS, CRYSTAL, index, "K", label="rock salt", ran=False)
        (folder / SIDECAR).write_text(text)
    return folder


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Two sites told by `nearedge.json`, and a stranger's run."""
    root = tmp_path / "all"
    write(root / "TiO" / "0_Ti_K_toy", told=True)
    write(root / "TiO" / "1_O_K_toy", told=True, index=1, output="7.1 4 5 6")
    write(root / "stranger", told=False, output="6.0 7 8 9")
    return root


def pack(tree: Path, mode: str = "w:gz", *, order: int = 1) -> Path:
    path = tree.parent / f"packed{order}.tar"
    files = sorted((each for each in tree.rglob("*") if each.is_file()), key=lambda p: p.name)
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for each in files[::order]:
            archive.add(each, arcname=each.relative_to(tree.parent))
    return path


def test_what_nearedge_wrote_is_known_by_what_it_said(tree: Path) -> None:
    runs = [run for run in found(tree) if isinstance(run, FinishedRun)]
    stranger, first, second = (
        next(run for run in runs if part in run.label) for part in ("stranger", "0_Ti", "1_O")
    )
    assert (first.absorber, second.absorber) == ("Ti", "O")
    assert first.parameters == INPUTS.parameters
    assert first.protocol == "fast@1"
    assert first.inputs == INPUTS.files
    assert first.structure_label == "rock salt"
    assert first.code_version == "7.1", "of the output: it ran elsewhere"
    assert (stranger.protocol, stranger.parameters, stranger.code_version) == (CUSTOM, {}, "6.0")
    assert stranger.structure_label == "stranger"
    assert second.result.spectrum.absorption.tolist() == [4, 5, 6]


def test_runs_on_one_structure_share_it(tree: Path) -> None:
    shared = [run.structure for run in found(tree / "TiO") if isinstance(run, FinishedRun)]
    assert len(shared) == 2
    assert shared[0] is shared[1]
    assert shared[0] == CRYSTAL


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("mode", ["w", "w:gz", "w:xz"])
def test_an_archive_gives_the_same_in_any_order(tree: Path, mode: str, order: int) -> None:
    expected = {run.fingerprint: run for run in found(tree) if isinstance(run, FinishedRun)}
    shares: list[float] = []
    before = set(Path(tempfile.gettempdir()).glob("nearedge-ingest-*"))
    runs = found(pack(tree, mode, order=order), progress=shares.append)
    assert {run.fingerprint for run in runs if isinstance(run, FinishedRun)} == set(expected)
    for run in runs:
        assert isinstance(run, FinishedRun)
        assert replace(run, result=None, label="") == replace(  # type: ignore[arg-type]
            expected[run.fingerprint],
            result=None,  # type: ignore[arg-type]
            label="",
        )
    assert set(Path(tempfile.gettempdir()).glob("nearedge-ingest-*")) == before


def test_a_zip_will_do_and_nothing_else(tree: Path, tmp_path: Path) -> None:
    packed = Path(shutil.make_archive(str(tmp_path / "a"), "zip", tree))
    assert len([run for run in found(packed) if isinstance(run, FinishedRun)]) == 3
    (tmp_path / "text").write_text("no archive")
    for path in (tmp_path / "text", tmp_path / "nothing"):
        with pytest.raises(IngestError):
            found(path)


def test_a_runs_own_folder_will_do(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tree / "TiO" / "0_Ti_K_toy"
    (whole,) = [run for run in found(tree) if "0_Ti" in run.label]
    monkeypatch.chdir(folder)
    for path in (folder, Path()):
        (run,) = found(path)
        assert isinstance(run, FinishedRun)
        assert isinstance(whole, FinishedRun)
        assert run.fingerprint == whole.fingerprint


def test_known_files_are_not_read_again(tree: Path) -> None:
    prints = {run.fingerprint for run in found(tree) if isinstance(run, FinishedRun)}
    assert all(isinstance(run, KnownRun) for run in found(tree, known=prints.__contains__))
    (tree / "stranger" / "toy.out").write_text("6.0 7 8 8")
    again = found(tree, known=prints.__contains__)
    assert [type(run) for run in again].count(FinishedRun) == 1


def test_inputs_that_were_changed_make_it_a_strangers(tree: Path) -> None:
    folder = tree / "TiO" / "0_Ti_K_toy"
    (folder / "deep" / "er.in").write_text("changed\n")
    (run,) = found(folder)
    assert isinstance(run, FinishedRun)
    assert run.protocol == CUSTOM
    assert "not those" in run.result.warnings[0]
    (folder / "deep" / "er.in").unlink()
    (run,) = found(folder)
    assert isinstance(run, FinishedRun)
    assert run.protocol == CUSTOM


def test_a_run_that_was_made_here_keeps_its_version(tmp_path: Path) -> None:
    folder = write(tmp_path / "run", told=False)
    text = sidecar_text(INPUTS, CRYSTAL, 0, "K", label="x", ran=True)
    (folder / SIDECAR).write_text(text)
    (run,) = found(folder)
    assert isinstance(run, FinishedRun)
    assert run.code_version == INPUTS.code_version


def test_a_folder_without_results_is_told_by_its_reason(tmp_path: Path) -> None:
    write(tmp_path / "not_run", told=True, output="")
    (bad,) = found(tmp_path)
    assert isinstance(bad, BadRun)
    assert bad.reason == "not_run has no toy.out."
    (tmp_path / "empty").mkdir()
    (nothing,) = found(tmp_path / "empty")
    assert isinstance(nothing, BadRun)
    assert "holds no folder with toy.out" in nothing.reason


def test_another_codes_folder_is_left_to_it(tmp_path: Path) -> None:
    folder = write(tmp_path / "theirs", told=False)
    other = replace(INPUTS, code="other")
    (folder / SIDECAR).write_text(sidecar_text(other, CRYSTAL, 0, "K", label="x", ran=False))
    (nothing,) = found(tmp_path)
    assert isinstance(nothing, BadRun)


def test_what_lies_below_a_told_folder_belongs_to_it(tmp_path: Path) -> None:
    folder = write(tmp_path / "run", told=True)
    (folder / "retry").mkdir()
    (folder / "retry" / "toy.out").write_text("7.1 9 9 9")
    (run,) = found(tmp_path)
    assert isinstance(run, FinishedRun)
    assert run.result.spectrum.absorption.tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    "damage", ["", "{", "[]", '{"format": 2}', '{"code": "toy", "structure": {}}']
)
def test_a_damaged_sidecar_costs_its_run_only(tree: Path, damage: str) -> None:
    (tree / "TiO" / "0_Ti_K_toy" / SIDECAR).write_text(damage)
    for path in (tree, pack(tree)):
        runs = found(path)
        (bad,) = [run for run in runs if isinstance(run, BadRun)]
        assert "nearedge.json is" in bad.reason
        assert len(runs) == 3


def test_a_sidecar_of_a_site_that_is_none_is_refused() -> None:
    text = sidecar_text(INPUTS, CRYSTAL, 1, "K", label="x", ran=False)
    content = json.loads(text)
    content["absorbing_index"] = 2
    with pytest.raises(IngestError, match="damaged"):
        parse_sidecar(json.dumps(content))
    assert parse_sidecar(text).structure == CRYSTAL


@pytest.mark.parametrize("output", ["7.1 1 2 x", "7.1 1 nan 3", "", "7.1"])
def test_what_no_check_foresaw_costs_one_run(tree: Path, output: str) -> None:
    (tree / "stranger" / "toy.out").write_text(output)
    (bad,) = [run for run in found(tree) if isinstance(run, BadRun)]
    assert bad.label.endswith("stranger")
    assert bad.reason


def test_links_are_not_followed(tree: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("7.1 1 2 3")
    (tree / "stranger" / "toy.out").unlink()
    (tree / "stranger" / "toy.out").symlink_to(secret)
    (bad,) = [run for run in found(tree) if isinstance(run, BadRun)]
    assert "a link or device" in bad.reason
    runs = found(pack(tree))
    assert any("a link or device" in run.reason for run in runs if isinstance(run, BadRun))
    assert not [run for run in runs if isinstance(run, FinishedRun) and "stranger" in run.label]


def hostile() -> Iterator[tarfile.TarInfo]:
    for name in ("../../toy.out", "/toy.out", "a/../../toy.out"):
        yield tarfile.TarInfo(name)


def test_names_that_lead_out_of_an_archive_are_refused(tree: Path, tmp_path: Path) -> None:
    path = pack(tree, "w")
    with tarfile.open(path, "a") as archive:
        for info in hostile():
            info.size = 3
            archive.addfile(info, io.BytesIO(b"bad"))
    before = set(tmp_path.rglob("*"))
    runs = found(path)
    assert len([run for run in runs if isinstance(run, FinishedRun)]) == 3
    assert set(tmp_path.rglob("*")) == before


def test_a_cut_archive_gives_what_came_before_the_cut(tree: Path) -> None:
    path = pack(tree, "w")
    path.write_bytes(path.read_bytes()[:7000])
    runs = found(path)
    assert any("damaged or cut short" in run.reason for run in runs if isinstance(run, BadRun))


def test_more_than_any_run_has_is_refused(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packed = pack(tree)
    monkeypatch.setattr(folders, "MAX_RUN_BYTES", 5)
    for path in (tree, packed):
        runs = found(path)
        assert all("larger than" in run.reason for run in runs if isinstance(run, BadRun))
        assert [type(run) for run in runs].count(BadRun) == 3
    monkeypatch.undo()
    monkeypatch.setattr(folders, "MAX_HELD_BYTES", 5)
    reasons = [run.reason for run in found(packed) if isinstance(run, BadRun)]
    assert reasons
    assert all("too far apart" in reason for reason in reasons)
    monkeypatch.undo()
    monkeypatch.setattr(folders, "MAX_FILES", 3)
    for path in (tree, packed):
        with pytest.raises(IngestError, match="more than 3 files"):
            found(path)


def test_a_zip_bomb_is_refused(tmp_path: Path) -> None:
    bomb = tmp_path / "bomb.zip"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("run/toy.out", b"0" * (folders.MAX_FILE_BYTES + 1))
    assert any("larger than" in run.reason for run in found(bomb) if isinstance(run, BadRun))


def test_a_sidecar_larger_than_any_is_not_parsed() -> None:
    with pytest.raises(IngestError, match="larger than 16 MiB"):
        parse_sidecar(b" " * (16 * 2**20 + 1))
