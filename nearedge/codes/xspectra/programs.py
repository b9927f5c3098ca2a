"""The programs of Quantum ESPRESSO: where they are, and which version."""

from __future__ import annotations

import subprocess
import tempfile
from functools import cache

from nearedge.codes.base import Availability
from nearedge.codes.executables import Executable
from nearedge.codes.xspectra.parse import parse_version
from nearedge.errors import SettingsError
from nearedge.settings import get_settings

PACKAGE = "quantum-espresso"
PW = Executable("pw_command", PACKAGE)
XSPECTRA = Executable("xspectra_command", PACKAGE)
LD1 = Executable("ld1_command", PACKAGE)
UNKNOWN = "unknown"
_SECONDS = 60.0


def version() -> str:
    """Return the version of both programs, each named where they differ; ``unknown`` if absent."""
    found = {name: _version(program) for name, program in (("pw", PW), ("xspectra", XSPECTRA))}
    if len(set(found.values())) == 1:
        return found["pw"]
    return ", ".join(f"{name} {value}" for name, value in found.items())


def availability() -> Availability:
    """Look for pw.x, xspectra.x and, where it makes the potentials, ld1.x."""
    needed = [PW, XSPECTRA] if get_settings().pseudo_path is not None else [PW, XSPECTRA, LD1]
    places = []
    for program in needed:
        one = program.availability()
        if not one.found:
            return one
        places.append(one.detail)
    return Availability(True, f"{version()} ({', '.join(places)})")


def _version(program: Executable) -> str:
    try:
        return _ask(tuple(program.argv())) if program.path() is not None else UNKNOWN
    except SettingsError:
        return UNKNOWN


@cache
def _ask(argv: tuple[str, ...]) -> str:
    """Return the version in the banner: printed before the input is read, which is empty here."""
    # A folder of its own, for what the program writes when it finds no input.
    with tempfile.TemporaryDirectory() as folder:
        try:
            said = subprocess.run(
                argv,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                cwd=folder,
                timeout=_SECONDS,
                check=False,
            ).stdout
        except (OSError, subprocess.TimeoutExpired):
            return UNKNOWN
    return parse_version(said) or UNKNOWN
