from __future__ import annotations

import re
from pathlib import Path

import pytest

from nearedge.codes.execution import executables
from nearedge.codes.execution.executables import Executable
from nearedge.errors import SettingsError
from nearedge.settings import get_settings

PW = Executable("pw_command", "quantum-espresso")
ASKED = Executable("pw_command", "quantum-espresso", re.compile(r"PWSCF v\.(\S+)"))
MARKED = Executable("vasp_command", "install VASP", mark=re.compile(rb"vasp\.\d"))


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
        assert PW.availability().remedy == "correct NEAREDGE_PW_COMMAND"


def test_a_program_is_asked_for_its_version_once_and_told_no_secret(
    command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEAREDGE_MONGO_URI", "mongodb://me:secret@host")
    asked = tmp_path / "asked"
    script = tmp_path / "pw.x"
    script.write_text(f"#!/bin/sh\necho once >> {asked}\npwd\necho Program PWSCF v.6.7MaX\nenv\n")
    script.chmod(0o755)
    command("pw.x")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    told = ASKED.answer()
    assert told is not None
    assert "PWSCF" in told.text
    assert "NEAREDGE" not in told.text
    assert str(Path.cwd()) not in told.text.splitlines(), "it may write: not where we are"
    assert ASKED.version() == ASKED.version() == "6.7MaX"
    assert ASKED.availability().found
    assert asked.read_text() == "once\n" * 2


def test_a_program_that_was_too_slow_to_answer_is_asked_again(
    command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "pw.x"
    script.write_text("#!/bin/sh\nsleep 30\n")
    script.chmod(0o755)
    command("pw.x")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(executables, "ANSWER_SECONDS", 0.3)
    assert ASKED.answer() is None
    assert ASKED.version() == "unknown"
    assert ASKED.availability().found, "it may be the right one"
    script.write_text("#!/bin/sh\necho PWSCF v.7\n")
    monkeypatch.setattr(executables, "ANSWER_SECONDS", 60.0)
    assert ASKED.version() == "7"


@pytest.mark.parametrize(
    ("says", "words"),
    [("", "it says nothing"), ("echo hello; echo I am another", "it says 'I am another'")],
)
def test_a_program_without_the_banner_is_said_to_be_another(
    command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, says: str, words: str
) -> None:
    script = tmp_path / "my-pw"
    script.write_text(f"#!/bin/sh\n{says}\n")
    script.chmod(0o755)
    command("my-pw -nk 2")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    found = ASKED.availability()
    assert not found.found
    assert found.detail == f"my-pw -nk 2 is not pw.x: {words}"
    assert found.remedy == "correct NEAREDGE_PW_COMMAND"


def test_a_program_that_is_not_asked_is_known_by_its_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    launcher, right, wrong, script = (tmp_path / x for x in ("mpirun", "vasp_gam", "other", "run"))
    launcher.write_bytes(b"\x7fELF launcher")
    right.write_bytes(b"\x7fELF" + bytes(2**22 - 6) + b"vasp.6.4.2")
    wrong.write_bytes(b"\x7fELF something else")
    script.write_bytes(b"#!/bin/sh\nexec $PROGRAM\n")
    for each in (launcher, right, wrong, script):
        each.chmod(0o755)
    try:
        for words, good in (
            ((right,), True),
            ((wrong,), False),
            ((launcher, right), True),
            ((launcher, wrong), False),
            ((launcher, script), True),
        ):
            monkeypatch.setenv("NEAREDGE_VASP_COMMAND", " ".join(map(str, words)))
            get_settings.cache_clear()
            found = MARKED.availability()
            assert found.found == good, words
            assert good or found.detail.endswith("other is not vasp_std")
    finally:
        get_settings.cache_clear()
