from __future__ import annotations

from pathlib import Path

import pytest

from nearedge.codes.executables import Executable
from nearedge.errors import SettingsError
from nearedge.settings import get_settings

PW = Executable("pw_command", "quantum-espresso")


@pytest.fixture
def command(monkeypatch, tmp_path):
    """Set the command of pw.x, in a PATH with nothing but what the test puts there."""

    def change(text: str, *programs: str) -> None:
        for name in programs:
            (tmp_path / name).write_text("#!/bin/sh\n")
            (tmp_path / name).chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path))
        monkeypatch.setenv("NEAREDGE_PW_COMMAND", text)
        get_settings.cache_clear()

    yield change
    get_settings.cache_clear()


def test_a_command_is_split_into_words_and_no_shell_sees_it(command) -> None:
    command("mpirun -np 4 '/opt/my qe/pw.x' -nk 2")
    assert PW.argv() == ["mpirun", "-np", "4", "/opt/my qe/pw.x", "-nk", "2"]


def test_what_is_there_is_found_with_its_place(command, tmp_path: Path) -> None:
    command("pw.x", "pw.x")
    found = PW.availability()
    assert (found.found, found.detail, found.remedy) == (True, str(tmp_path / "pw.x"), "")


def test_what_is_not_there_comes_with_how_to_get_it(command) -> None:
    command("pw.x")
    found = PW.availability()
    assert not found.found
    assert found.detail == "pw.x is not found"
    assert "apt install quantum-espresso" in found.remedy
    assert "NEAREDGE_PW_COMMAND" in found.remedy


def test_a_launcher_alone_is_not_enough(command, tmp_path: Path) -> None:
    command("mpirun -np 2 pw.x", "mpirun")
    assert not PW.availability().found
    command("mpirun -np 2 pw.x", "mpirun", "pw.x")
    assert PW.path() == tmp_path / "pw.x"


def test_a_program_of_another_name_is_found(command, tmp_path: Path) -> None:
    command("my-pw --fast", "my-pw")
    assert PW.path() == tmp_path / "my-pw"


def test_a_command_that_is_none_is_refused_by_its_setting(command) -> None:
    for text in ("pw.x 'open", "   "):
        command(text)
        with pytest.raises(SettingsError, match="pw_command"):
            PW.argv()
        assert "NEAREDGE_PW_COMMAND" in PW.availability().remedy
