"""GPAW's own Python: whether it is there, its version, the elements that it has setups for."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

from nearedge.codes.base import UNKNOWN, Availability
from nearedge.codes.execution.executables import Executable
from nearedge.settings import PREFIX

PYTHON = Executable("gpaw_python", "apt install gpaw gpaw-data")
RUNNER = Path(__file__).with_name("runner.py")


@dataclass(frozen=True)
class Installed:
    """What GPAW says of itself; `problem` says why it is not usable, empty where it is."""

    version: str = UNKNOWN
    elements: frozenset[str] = frozenset()
    problem: str = ""


_FOUND: dict[str, Installed] = {}


def installed() -> Installed:
    """Ask GPAW's Python, once in this process; what is missing is asked for again each time."""
    command = PYTHON.command()
    if command not in _FOUND:
        found = _ask()
        if found.problem:
            return found
        _FOUND[command] = found
    return _FOUND[command]


def gpaw_version() -> str:
    """Return the version that GPAW tells, such as ``22.8.0``, or ``unknown``."""
    return installed().version


def _ask() -> Installed:
    asked = PYTHON.answer(str(RUNNER), "--probe")
    if asked is None:
        return Installed(problem=f"{PYTHON.command()} does not answer")
    last = (asked.text.strip().splitlines() or ["it said nothing"])[-1]
    if asked.return_code != 0:
        return Installed(problem=f"{PYTHON.command()} cannot import GPAW ({last})")
    try:
        answer = json.loads(last)
        found = Installed(str(answer["version"]), frozenset(answer["elements"]))
    except (ValueError, LookupError, TypeError):
        return Installed(problem=f"{PYTHON.command()} gave no answer to the question for GPAW")
    if not found.elements:
        return replace(found, problem=f"GPAW {found.version} has no setups (package gpaw-data)")
    return found


def availability() -> Availability:
    """Look for the Python, GPAW in it, and GPAW's setups."""
    program = PYTHON.availability()
    if not program.found:
        return program
    found = installed()
    if found.problem:
        remedy = (
            f"{PYTHON.package}, or name the Python that has GPAW in "
            f"{PREFIX}{PYTHON.setting.upper()}"
        )
        return Availability(False, found.problem, remedy)
    return Availability(True, f"{found.version}, {program.detail}")
