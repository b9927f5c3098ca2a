"""Run VASP by the command that the settings name, with the user's own potentials."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from nearedge.codes.base import UNKNOWN, Availability, CodeResult, InputSet, Progress
from nearedge.codes.execution.executables import Executable, search_bytes
from nearedge.codes.execution.stages import OneProgram
from nearedge.codes.vasp.deck import SPEC
from nearedge.codes.vasp.failures import LOG, failure_of
from nearedge.codes.vasp.parse import read_folder
from nearedge.codes.vasp.potentials import potcar_text, potentials_availability
from nearedge.errors import ResourceError

_VERSION = re.compile(rb"vasp\.(\d+\.\d+\.\d+)")
VASP_BINARY = Executable(
    "vasp_command", "install VASP 6 (https://www.vasp.at, licensed)", mark=_VERSION
)
PROGRAM = OneProgram(VASP_BINARY, "vasp", LOG, (LOG,), failure_of, read_folder)
POTCAR = "POTCAR"


def vasp_availability() -> Availability:
    """Look for the program and for its potentials."""
    program = VASP_BINARY.availability()
    if not program.found:
        return program
    potentials = potentials_availability()
    return program if potentials.found else potentials


def vasp_version() -> str:
    """Return the version that the program would write at the head of OUTCAR, or ``unknown``.

    VASP has no option that prints it, so it is looked for among the program's bytes.
    """
    path = VASP_BINARY.path()
    found = None if path is None else search_bytes(path, _VERSION)
    return UNKNOWN if found is None else found.group(1).decode()


def run_vasp(
    inputs: InputSet,
    run_dir: Path,
    *,
    stage_timeout: float,
    progress: Progress | None = None,
    restart: Mapping[str, bytes] | None = None,
) -> CodeResult:
    """Run VASP on `inputs` in `run_dir`, which must be empty or absent.

    It leaves nothing that another run could start from, so none has a `restart`.

    POTCAR is there while VASP runs, and removed afterwards.

    Raises
    ------
    CodeError
        A named failure; see `read_folder` and `failure_of`.
    ResourceError
        The program or a potential is missing, or the machine is at fault.
    """
    available = vasp_availability()
    if not available.found:
        raise ResourceError(f"{available.detail}: {available.remedy}.")
    family = str(inputs.parameters["potentials"].value)
    potcar = potcar_text(inputs.files[SPEC].split(), family)
    return PROGRAM.run(
        inputs, run_dir, stage_timeout=stage_timeout, progress=progress, lent={POTCAR: potcar}
    )
