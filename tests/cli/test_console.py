from __future__ import annotations

import sys

import pytest

from nearedge.cli.console import progress, say, share_of_archive, show, show_table


def test_text_of_strangers_does_not_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    show("bad \x1b]0;title\x07[red]x[/] ä")
    say("\x9b31mred\r")
    show_table(["a"], [["\x1b[2J"]])
    out, err = capsys.readouterr()
    assert not any(sign in out + err for sign in "\x1b\x07\x9b\r")
    assert "[red]x[/] ä" in out


def test_a_bar_takes_any_file_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with share_of_archive("Ingesting data[/x].tar") as look:
        look(1, 0.5)
    with progress("data[/x]", 2) as step:
        step(1)
