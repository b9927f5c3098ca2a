"""`reconcile` names what it found, and with --dry-run only that."""

from __future__ import annotations

import pytest

from nearedge.launch.reconcile import MEANINGS, Finding
from nearedge.launch.recovery import Recovery

from .conftest import Command

FOUND = Recovery(
    (
        Finding(4, "TiO2 Ti0 K", "timed_out", "RUNNING", 9, "slurm:7"),
        Finding(5, "[red]O1[/red]", "timed_out", "RUNNING", 10, "slurm:7"),
        Finding(6, "average", "unrecorded", "WAITING"),
    ),
    exhausted=(4,),
)


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return which of the two functions behind the verb were called; both find the same."""
    called: list[str] = []

    def answer(name: str) -> object:
        return lambda *_: called.append(name) or FOUND

    monkeypatch.setattr("nearedge.store.connection.connect", lambda _: None)
    monkeypatch.setattr("nearedge.launch.fireworks.launchpad", lambda _: None)
    for name in ("recover", "diagnose"):
        monkeypatch.setattr(f"nearedge.launch.recovery.{name}", answer(name))
    return called


def test_what_was_put_right_is_listed_by_its_name(nearedge: Command, done: list[str]) -> None:
    said = nearedge("reconcile")
    assert said.code == 0
    assert done == ["recover"]
    assert f"timed_out: 2 jobs {MEANINGS['timed_out']}" in said.out
    assert "[red]O1[/red]" in said.out
    assert "slurm:7" in said.out
    assert f"unrecorded: 1 job {MEANINGS['unrecorded']}" in said.out
    assert "nearedge failures" in said.err


def test_a_dry_run_only_looks(nearedge: Command, done: list[str]) -> None:
    said = nearedge("reconcile", "--dry-run")
    assert done == ["diagnose"]
    assert "Nothing was changed" in said.err


def test_programs_read_it_as_json(nearedge: Command, done: list[str]) -> None:
    rows = nearedge("reconcile", "--json").json
    assert [(row["fw_id"], row["why"], row["fizzled"]) for row in rows] == [
        (4, "timed_out", True),
        (5, "timed_out", False),
        (6, "unrecorded", False),
    ]
