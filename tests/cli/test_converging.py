"""`converge`: from a file to chosen values and a report; the second time nothing runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from nearedge.structures.source import LoadedStructure

from .conftest import Command


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ((), "--list"),
        (("a.cif",), "--absorber"),
        (("a.cif", "--absorber", "Ti", "--output", "a.pdf"), ".html"),
        (("a.cif", "--absorber", "Ti", "--values", "fms_radius"), "NAME=V1"),
        (("a.cif", "--absorber", "Ti", "--values", "fms_radius=[4"), "NAME=V1"),
    ],
)
def test_what_is_asked_wrongly_is_said(
    nearedge: Command, arguments: tuple[str, ...], reason: str
) -> None:
    said = nearedge("converge", *arguments)
    assert said.code == 2
    assert reason in said.err


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--code", "nope"), "nope"),
        (("--protocol", "lavish"), "lavish"),
        (("--parameters", "cutoff"), "scf_radius, fms_radius, l_max"),
        (("--values", "fms_radius=4"), "at least are needed"),
    ],
)
def test_what_cannot_be_raised_is_refused_before_anything_is_read(
    nearedge: Command, arguments: tuple[str, ...], reason: str
) -> None:
    said = nearedge("converge", "a.cif", "--absorber", "Ti", *arguments)
    assert said.code == 1
    assert reason in said.err


def test_a_missing_program_is_told_without_advice_that_does_not_work(
    nearedge: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEAREDGE_ELK_COMMAND", "no-such-elk")
    said = nearedge("converge", "a.cif", "--absorber", "Ti", "--code", "elk")
    assert said.code == 1
    assert said.err == (
        "Error: Elk (BSE) cannot run here, no-such-elk is not found: apt install elk-lapw, or name "
        "its command in NEAREDGE_ELK_COMMAND.\n"
    )


@pytest.mark.integration
@pytest.mark.usefixtures("ready")
def test_a_site_is_converged_reported_and_known_from_then_on(
    nearedge: Command, molecule: Callable[[str], LoadedStructure], tmp_path: Path
) -> None:
    file, page = tmp_path / "CO.cif", tmp_path / "report.html"
    molecule("CO").structure.to(filename=str(file))
    missing = nearedge("converge", tmp_path / "none.cif", "--absorber", "C")
    assert missing.code == 1
    assert "none.cif" in missing.err
    other = nearedge("converge", file, "--absorber", "C", "--site", 1)
    assert (other.code, "is O, not C" in other.err) == (1, True)
    asked = ("converge", file, "--absorber", "C", "--protocol", "fast", "--parameters")
    asked = (*asked, "fms_radius", "--values", "fms_radius=4,5", "--project", "p")
    queued = nearedge(*asked, "--queue-only", "--json")
    assert (queued.code, queued.json["state"]) == (0, "running")
    said = nearedge(*asked, "--output", page)
    assert said.code == 0, said.err
    assert "fms_radius is converged at 4 Å" in said.out
    assert "--set fms_radius=4\n" in said.out
    drawn = page.read_text().rpartition("<main>")[2]
    assert "--set fms_radius=4<" in drawn
    calculations = nearedge("query", "--calculations", "--json").json
    assert len(calculations) == 2
    again = nearedge(*asked, "--json")
    assert again.json["parameters"][0]["verdict"] == "converged"
    assert nearedge("query", "--calculations", "--json").json == calculations
    (listed,) = nearedge("converge", "--list", "--json").json
    assert listed == again.json
    table = nearedge("converge", "--list").out
    assert "fms_radius=4" in table
    assert listed["convergence_id"][:12] in table
    assert max(map(len, table.splitlines())) <= 100
    assert nearedge("status", "--json").json["queue"] == {"COMPLETED": 5}
