"""Which programs are there, and what version they print."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from nearedge.codes.xspectra import XSPECTRA
from nearedge.settings import get_settings


def script(folder: Path, program: str, version: str) -> str:
    """Return the command of a program that says what it is."""
    file = folder / f"{program}.py"
    file.write_text(f"print('     Program {program} v.{version} starts on')")
    return f"{sys.executable} {file}"


def test_a_missing_program_is_named_with_the_package_that_has_it(
    home: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    home.setenv("NEAREDGE_XSPECTRA_COMMAND", "no-such-xspectra.x")
    home.setenv("NEAREDGE_PW_COMMAND", script(tmp_path, "PWSCF", "7.0"))
    get_settings.cache_clear()
    found = XSPECTRA.availability()
    assert not found.found
    assert "no-such-xspectra.x" in found.detail
    assert "quantum-espresso" in found.remedy


def test_ld1_is_needed_only_where_it_makes_the_potentials(
    home: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, program in (("PW", "PWSCF"), ("XSPECTRA", "XSpectra")):
        home.setenv(f"NEAREDGE_{name}_COMMAND", script(tmp_path, program, "7.0"))
    home.setenv("NEAREDGE_LD1_COMMAND", "no-such-ld1.x")
    get_settings.cache_clear()
    assert not XSPECTRA.availability().found
    home.setenv("NEAREDGE_PSEUDO_PATH", str(tmp_path))
    get_settings.cache_clear()
    assert XSPECTRA.availability().found


def test_programs_of_two_versions_are_both_named(home: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, program, version in (("PW", "PWSCF", "7.0"), ("XSPECTRA", "XSpectra", "6.8")):
        home.setenv(f"NEAREDGE_{name}_COMMAND", script(tmp_path, program, version))
    get_settings.cache_clear()
    assert XSPECTRA.version() == "pw 7.0, xspectra 6.8"


def test_a_program_that_is_not_there_has_no_version(home: pytest.MonkeyPatch) -> None:
    for name in ("PW", "XSPECTRA"):
        home.setenv(f"NEAREDGE_{name}_COMMAND", "no-such-program.x")
    get_settings.cache_clear()
    assert XSPECTRA.version() == "unknown"
