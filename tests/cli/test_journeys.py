"""Whole ways through the command, on the real embedded server, with little to compute."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from nearedge.structures.builtin import builtin_structure

from .conftest import Command

pytestmark = pytest.mark.integration

RECORDED = Path(__file__).resolve().parent.parent / "recorded" / "feff"


@pytest.fixture
def cif(tmp_path: Path) -> Path:
    path = tmp_path / "Cu2O.cif"
    builtin_structure("Cu2O").structure.to(filename=str(path))
    return path


@pytest.mark.usefixtures("ready")
def test_submissions_are_counted_and_refusals_named(
    nearedge: Command, cif: Path, tmp_path: Path
) -> None:
    empty = tmp_path / "empty.cif"
    empty.touch()
    arguments = ("submit", cif, empty, tmp_path / "missing.cif", "--absorber", "Cu", "--json")
    first = nearedge(*arguments)
    assert first.code == 0, first.err
    report = first.json
    assert (report["new"], report["known"], report["queued"]) == (1, 0, 0)
    assert [Path(each["label"]).name for each in report["refused"]] == ["empty.cif", "missing.cif"]
    again = nearedge(*arguments).json
    assert (again["new"], again["queued"]) == (0, 1)
    assert nearedge("status", "--json").json["queue"] == {"READY": 1, "WAITING": 1}


@pytest.mark.usefixtures("ready")
@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--absorber", "Xx"), "Xx"),
        (("--absorber", "Ti"), "Ti"),
        (("--absorber", "Cu", "--edge", "P9"), "P9"),
        (("--absorber", "Cu", "--code", "nope"), "nope"),
        (("--absorber", "Cu", "--protocol", "lavish"), "lavish"),
    ],
)
def test_what_cannot_run_is_refused_and_nothing_is_queued(
    nearedge: Command, cif: Path, options: tuple[str, ...], reason: str
) -> None:
    said = nearedge("submit", cif, *options)
    assert said.code == 1
    assert reason in said.out + said.err
    assert nearedge("status", "--json").json["queue"] == {}


@pytest.mark.usefixtures("ready")
def test_an_empty_queue_is_no_error(nearedge: Command) -> None:
    said = nearedge("run", "--json")
    assert said.code == 0, said.err
    assert (said.json["sites"], said.json["left"]) == (0, 0)


@pytest.mark.usefixtures("ready")
def test_ingest_query_plot_export(nearedge: Command, tmp_path: Path) -> None:
    source = tmp_path / "calculations"
    for name in ("anatase", "octahedron"):
        shutil.copytree(RECORDED / name, source / name)
    (source / "bad").mkdir()
    (source / "bad" / "feff.inp").write_text("TITLE nothing\n")
    (source / "bad" / "xmu.dat").touch()
    said = nearedge("ingest", source, "--project", "recorded", "--json")
    assert said.code == 0, said.err
    assert said.json["new"] >= 1
    assert any("bad" in each["label"] for each in said.json["bad"])
    again = nearedge("ingest", source, "--project", "recorded", "--json").json
    assert (again["new"], again["known"]) == (0, said.json["new"])

    rows = nearedge("query", "--project", "recorded", "--kind", "site", "--json").json
    assert len(rows) == said.json["new"]
    for suffix in ("html", "png"):
        target = tmp_path / f"plot.{suffix}"
        drawn = nearedge("plot", rows[0]["spectrum_id"], "--relative", "--output", target)
        assert drawn.code == 0, drawn.err
        assert target.stat().st_size > 1000
    for file_format in ("xdi", "csv", "json", "xasdoc"):
        target = tmp_path / file_format
        out = nearedge("export", "--format", file_format, "--output", target, "--json")
        assert out.code == 0, out.err
        assert out.json["spectra"] >= len(rows)


@pytest.mark.usefixtures("ready")
def test_ingesting_nothing_useful_fails_and_says_why(nearedge: Command, tmp_path: Path) -> None:
    assert "does not exist" in nearedge("ingest", tmp_path / "missing").err
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "feff.inp").touch()
    (tmp_path / "x" / "xmu.dat").touch()
    said = nearedge("ingest", tmp_path / "x")
    assert said.code == 1
    assert "1 bad" in said.out


@pytest.mark.usefixtures("ready")
def test_a_path_that_cannot_be_read_does_not_hide_what_the_others_gave(
    nearedge: Command, tmp_path: Path
) -> None:
    (tmp_path / "empty.tar.xz").touch()
    source = tmp_path / "calculations"
    shutil.copytree(RECORDED / "octahedron", source / "octahedron")
    said = nearedge("ingest", source, tmp_path / "empty.tar.xz", source, "--json")
    assert said.code == 0
    assert (said.json["new"], said.json["known"]) == (1, 1)
    assert [Path(each["label"]).name for each in said.json["bad"]] == ["empty.tar.xz"]


@pytest.mark.usefixtures("ready")
def test_json_in_a_pipe_is_json_alone(cif: Path) -> None:
    command = [sys.executable, "-m", "nearedge", "submit", str(cif), "--absorber", "Cu", "--json"]
    said = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(said.stdout)["new"] == 1
    assert said.stderr == ""
