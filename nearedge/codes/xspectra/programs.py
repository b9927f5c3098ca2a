"""The programs of Quantum ESPRESSO: where they are, and which version."""

from __future__ import annotations

import re

from nearedge.codes.base import Availability
from nearedge.codes.execution.executables import Executable
from nearedge.settings import get_settings

PACKAGE = "quantum-espresso"
# Their banners come before the input is read, which is empty where they are asked.
PW = Executable("pw_command", PACKAGE, re.compile(r"Program PWSCF v\.\s*(\S+)"))
XSPECTRA = Executable("xspectra_command", PACKAGE, re.compile(r"Program XSpectra v\.\s*(\S+)"))
LD1 = Executable("ld1_command", PACKAGE, re.compile(r"Program LD1 v\.\s*(\S+)"))


def version() -> str:
    """Return the version of both programs, each named where they differ; ``unknown`` if absent."""
    found = {name: one.version() for name, one in (("pw", PW), ("xspectra", XSPECTRA))}
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
