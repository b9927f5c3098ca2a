"""GPAW's own Python: whether it is there, its version, the elements that it has setups for."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path

from nearedge.codes.base import Availability
from nearedge.codes.executables import Executable
from nearedge.settings import PREFIX

PYTHON = Executable("gpaw_python", "apt install gpaw gpaw-data")
RUNNER = Path(__file__).with_name("runner.py")
UNKNOWN = "unknown"
_PROBE_SECONDS = 60.0


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


def _ask() -> Installed:
    try:
        asked = subprocess.run(
            [*PYTHON.argv(), str(RUNNER), "--probe"],
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=_PROBE_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return Installed(problem=f"{PYTHON.command()} does not answer ({type(error).__name__})")
    said = asked.stderr.strip().splitlines()[-1:] or ["it said nothing"]
    if asked.returncode != 0:
        return Installed(problem=f"{PYTHON.command()} cannot import GPAW ({said[0]})")
    try:
        answer = json.loads(asked.stdout.splitlines()[-1])
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
