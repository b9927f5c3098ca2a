"""`failures`, `rerun`, `clean`, `watch` and what `status` says of projects and disk."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from nearedge.cli import failing, monitoring
from nearedge.cli.failure_groups import ago, cpu
from nearedge.cli.monitoring import Look
from nearedge.cli.progress_table import line_of, table_of
from nearedge.errors import DatabaseUnavailable, WeightsError
from nearedge.launch.fireworks import ensure_launchpad_indexes, launchpad
from nearedge.launch.progress import PartProgress
from nearedge.schemas.relaxation import RelaxationDoc, RelaxationSettings
from nearedge.settings import Settings, get_settings
from nearedge.store.relaxations import RelaxationStore
from nearedge.store.spectra_store import SpectraStore
from nearedge.workflows.campaign import SubmissionReport

from .conftest import Command, fill

NOW = datetime(2026, 1, 2, 12, 0, tzinfo=UTC)
FEFF = PartProgress("oxides", "feff", waiting=2, running=1, completed=10, cpu_seconds=7200.0,
                    failures={"scf_not_converged": 1}, rate=20.0,
                    expected_end=NOW + timedelta(hours=1))  # fmt: skip


@pytest.mark.integration
def test_failures_are_told_run_again_and_cleared_away(
    nearedge: Command, ready: None, embedded_settings: Settings, tmp_path: Path
) -> None:
    ensure_launchpad_indexes(launchpad(embedded_settings))
    store = SpectraStore.from_settings(embedded_settings)
    fill(store, ["rutile"])
    (group,) = nearedge("failures", "--json").json
    assert (group["code"], group["name"], group["count"]) == ("feff", "scf_not_converged", 1)
    assert group["cpu_seconds"] == 12.5
    assert "100 iterations" in group["message"]
    told = nearedge("failures", "--project", "oxides", "--since", "1h")
    assert "scf_not_converged" in told.out
    assert "12 s of CPU time" in told.out
    assert nearedge("failures", "--project", "metals").out == "Nothing failed.\n"
    assert "no age" in nearedge("failures", "--since", "yesterday").err

    how = RelaxationSettings(model="m", weights_sha256="w", mode="full", pressure=0.0,
                             force_tolerance=0.01, steps=2)  # fmt: skip
    RelaxationStore(store.database).put(
        RelaxationDoc(relaxation_id="r", origin="o", formula="TiO2", label="rutile", settings=how,
                      state="relaxation_not_converged")
    )  # fmt: skip
    relaxing = ("rerun", "--error", "relaxation_not_converged", "--dry-run", "--json")
    assert nearedge(*relaxing).json["new"] == 1
    assert nearedge(*relaxing, "--code", "feff").json["new"] == 0

    # What `fill` records was made by another version of the code than the one here.
    again = nearedge("rerun", "--error", "scf_not_converged")
    assert again.code == 1
    assert "0 new, 0 known, 0 queued already, 1 refused." in again.out
    changed = ("rerun", "--error", "scf_not_converged", "--set", "protocol=balanced")
    assert nearedge(*changed, "--dry-run", "--json").json["new"] == 1
    assert nearedge(*changed).out.startswith("1 new, 0 known")
    assert nearedge(*changed).out.startswith("0 new, 0 known, 1 queued already")
    assert "set twice" in nearedge(*changed, "--set", "protocol=fast").err
    assert "--set" in nearedge("rerun", "--error", "x", "--whole-crystals").err

    folder = get_settings().runs / "failed" / "attempt"
    folder.mkdir(parents=True)
    (folder / "log").write_text("said\n")
    status = nearedge("status", "--json").json
    assert status["disk"]["run_folders"] == 1
    (oxides,) = status["projects"]
    assert (oxides["project"], oxides["waiting"], oxides["failed"]) == ("oxides", 1, 1)
    watched = nearedge("watch", "--once", "--json").json
    assert watched["projects"][0]["cpu_seconds"] == oxides["cpu_seconds"] == 25.0
    assert watched["database"] == "up"
    assert watched["failures"] == {"scf_not_converged": 1}
    assert "oxides" in nearedge("watch", "--once").out

    assert "1 folder, 5 B." in nearedge("clean", "--older-than", "0m").out
    assert folder.exists()
    assert nearedge("clean").out == "0 folders, 0 B.\n", "none is as old as thirty days"
    assert "Removed 1 folder of 1" in nearedge("clean", "--older-than", "0m", "--yes").out
    assert not folder.exists()


WATCH = """
import signal
# Ignored where the tests are started in the background of a shell.
signal.signal(signal.SIGINT, signal.default_int_handler)
from nearedge.cli import main
main()
"""


def shown(terminal: int, until: bytes | None = None) -> bytes:
    """Return what appears on a terminal up to some words, or until nobody writes there any more."""
    seen = b""
    deadline = time.monotonic() + 120
    while (until is None or until not in seen) and time.monotonic() < deadline:
        if select.select([terminal], [], [], 1.0)[0]:
            try:
                seen += os.read(terminal, 65536)
            except OSError:  # the other end is closed
                break
    return seen


@pytest.mark.integration
def test_ctrl_c_leaves_the_terminal_as_it_was(ready: None, embedded_settings: Settings) -> None:
    ensure_launchpad_indexes(launchpad(embedded_settings))
    ours, theirs = pty.openpty()
    watching = subprocess.Popen(
        [sys.executable, "-c", WATCH, "watch", "--interval", "1"],
        stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
        env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "120"},
    )  # fmt: skip
    os.close(theirs)
    try:
        seen = shown(ours, b"Ctrl-C ends this display")
        watching.send_signal(signal.SIGINT)
        seen += shown(ours)
        assert watching.wait(60) == 0
    finally:
        watching.kill()
        os.close(ours)
    assert b"\x1b[?25l" in seen, "the cursor is hidden while it is drawn"
    assert seen.rindex(b"\x1b[?25h") > seen.rindex(b"\x1b[?25l")
    assert b"Traceback" not in seen


def test_a_database_that_is_away_for_a_moment_is_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    look = Look(Settings(), None, parts=[FEFF], at=NOW)

    def away(settings: Settings) -> None:
        raise DatabaseUnavailable("gone")

    monkeypatch.setattr("nearedge.store.connection.connect", away)
    assert look(5.0) == 5.0
    assert look.parts == [FEFF], "what was seen before stays"
    assert "does not answer since" in look.note
    since = look.away_since
    look(5.0)
    assert look.away_since == since
    with pytest.raises(DatabaseUnavailable):
        look(patiently=False)

    monkeypatch.setattr("nearedge.store.connection.connect", lambda settings: None)
    monkeypatch.setattr("nearedge.launch.fireworks.launchpad", lambda settings: None)
    monkeypatch.setattr("nearedge.launch.progress.progress", lambda *a, **k: [])
    assert look(5.0) >= 5.0
    assert (look.parts, look.note) == ([], "")


def test_in_a_pipe_each_look_is_a_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    look = Look(Settings(), None, parts=[FEFF], at=NOW)
    monitoring._tell(look, as_json=False, table=False)
    assert capsys.readouterr().out == (
        "2026-01-02T12:00:00Z oxides/feff waiting=2 running=1 completed=10 failed=1 rate=20/h "
        "cpu=2.00h\n"
    )
    monitoring._tell(look, as_json=True, table=False)
    assert capsys.readouterr().out.count("\n") == 1


def test_several_parts_are_summed_and_the_end_is_the_last_ones() -> None:
    unknown = PartProgress("oxides", "elk", waiting=1)
    done = PartProgress("metals", "feff", completed=3, rate=1.0)
    *_, total = table_of([FEFF, done])[1]
    assert total[2:] == ["2", "1", "13", "1", "21", "3", "01-02 13:00 UTC", "2.00"]
    *_, total = table_of([FEFF, unknown])[1]
    assert total[8] == "–", "nobody knows when what has no rate will end"
    assert len(table_of([FEFF])[1]) == 1
    assert line_of([], NOW) == "2026-01-02T12:00:00Z nothing queued, nothing recorded"


def test_times_are_told_as_people_say_them() -> None:
    ages = [timedelta(seconds=5), timedelta(minutes=3), timedelta(hours=47), timedelta(days=9)]
    said = ["5 s ago", "3 min ago", "47 h ago", "9 d ago"]
    assert [ago(NOW, NOW - age) for age in ages] == said
    assert (cpu(12.5), cpu(7200.0)) == ("12 s", "2.00 h")


def test_rerun_tells_what_it_queued_before_the_weights_were_missed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def missed(*_: object, **__: object) -> None:
        raise WeightsError("The weights are missing.")

    report = SubmissionReport(2, 0, 0)
    monkeypatch.setattr("nearedge.workflows.again.run_again", lambda *a, **k: report)
    monkeypatch.setattr(failing, "_with_relaxations", missed)
    with pytest.raises(WeightsError, match=r"No relaxation was queued again: The weights"):
        failing.rerun("scf_not_converged")
    assert "2" in capsys.readouterr().out
