"""What is said of GPAW where it is, and where it or a part of it is not."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from nearedge.codes.gpaw import GPAW
from nearedge.settings import get_settings


def name(monkeypatch: pytest.MonkeyPatch, python: str) -> None:
    monkeypatch.setenv("NEAREDGE_GPAW_PYTHON", python)
    get_settings.cache_clear()


def test_gpaw_is_found_with_its_version(real_gpaw: Path) -> None:
    found = GPAW.availability()
    assert found.detail.startswith(GPAW.version())
    assert GPAW.version()[0].isdigit()


def test_a_python_that_is_not_there(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name(monkeypatch, "/nowhere/python3")
    found = GPAW.availability()
    assert not found.found
    assert "apt install gpaw gpaw-data" in found.remedy
    assert GPAW.version() == "unknown"


def test_a_python_without_gpaw(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name(monkeypatch, f"{sys.executable} -S")
    found = GPAW.availability()
    assert not found.found
    assert "cannot import GPAW" in found.detail
    assert "apt install gpaw gpaw-data" in found.remedy
    assert "NEAREDGE_GPAW_PYTHON" in found.remedy


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ("print('hello')", "no answer"),
        ("print('[]')", "no answer"),
        ('print(\'{"version": "22.8.0", "elements": []}\')', "gpaw-data"),
    ],
)
def test_a_program_that_is_no_gpaw(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str, problem: str
) -> None:
    script = tmp_path / "answer.py"
    script.write_text(answer)
    name(monkeypatch, f"{sys.executable} {script}")
    found = GPAW.availability()
    assert not found.found
    assert problem in found.detail
