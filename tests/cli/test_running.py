"""A command that works the queue for itself says what workers said, and ends when interrupted."""

from __future__ import annotations

from dataclasses import replace

import pytest
import typer

from nearedge.cli import running
from nearedge.cli.running import Worked, work_for_command
from nearedge.settings import Settings

DONE = Worked(0, 1, 1, {}, 3.0, 0, messages=("The disk is full.",), interrupted=False)


@pytest.mark.parametrize("interrupted", [False, True])
def test_what_workers_said_is_told_and_an_interruption_ends_the_command_as_ctrl_c(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], interrupted: bool
) -> None:
    asked = []
    done = replace(DONE, interrupted=interrupted)
    monkeypatch.setattr(running, "work_the_queue", lambda *a, **b: asked.append((a[1], b)) or done)
    about = {"search_id": "s"}
    if interrupted:
        with pytest.raises(typer.Exit) as ended:
            work_for_command(Settings(), 3, about, title="Searching")
        assert ended.value.exit_code == 130
    else:
        assert work_for_command(Settings(), 3, about, title="Searching") == done
    assert asked == [(3, {"title": "Searching", "about": about})]
    said = capsys.readouterr()
    assert "The disk is full." in said.err
    assert ("the same command goes on" in said.err) == interrupted
    assert said.out == ""
