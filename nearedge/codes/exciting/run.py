"""Run exciting by the command that the settings name, with its own species files."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from nearedge.codes.base import UNKNOWN, Availability, CodeResult, InputSet, Progress
from nearedge.codes.exciting.deck import DECK
from nearedge.codes.exciting.failures import GROUND_STATE, LOG, failure_of
from nearedge.codes.exciting.parse import read_folder
from nearedge.codes.execution.executables import Executable
from nearedge.codes.execution.stages import OneProgram
from nearedge.errors import ResourceError
from nearedge.settings import get_settings

EXCITING_BINARY = Executable(
    "exciting_command",
    "install exciting (https://exciting-code.org)",
    mark=re.compile(rb"(?i)exciting"),
)
PROGRAM = OneProgram(EXCITING_BINARY, "exciting", LOG, (GROUND_STATE, LOG), failure_of, read_folder)
_SPECIES = re.compile(r'speciesfile="([^"/]+)"')
REMEDY = "name their folder in NEAREDGE_EXCITING_SPECIES_PATH, or set EXCITINGROOT"


def exciting_version() -> str:
    """Return ``unknown``: exciting names its version in its output alone."""
    return UNKNOWN


def exciting_availability() -> Availability:
    """Look for the program and for its species files."""
    program = EXCITING_BINARY.availability()
    if not program.found:
        return program
    folder = species_folder()
    if folder is None or not folder.is_dir():
        return Availability(False, "exciting's species files are not found", REMEDY)
    return program


def species_folder() -> Path | None:
    """Return the folder of species files: the setting's, or that of ``$EXCITINGROOT``."""
    named = get_settings().exciting_species_path
    if named is not None:
        return named
    root = os.environ.get("EXCITINGROOT")
    return Path(root).expanduser() / "species" if root else None


def species_files(deck: str) -> dict[str, bytes]:
    """Return the species files that an ``input.xml`` names, from `species_folder`.

    Raises
    ------
    ResourceError
        If one is missing. It is the machine's fault, not the calculation's.
    """
    names = sorted(set(_SPECIES.findall(deck)))
    folder = species_folder()
    if folder is None:
        raise ResourceError(f"exciting needs its species files {', '.join(names)}: {REMEDY}.")
    files = {}
    for name in names:
        try:
            files[name] = (folder / name).read_bytes()
        except OSError:
            raise ResourceError(f"{folder} has no species file {name}: add it.") from None
    return files


def run_exciting(
    inputs: InputSet,
    run_dir: Path,
    *,
    stage_timeout: float,
    progress: Progress | None = None,
    restart: Mapping[str, bytes] | None = None,
) -> CodeResult:
    """Run exciting on `inputs` in `run_dir`, which must be empty or absent.

    It leaves nothing that another run could start from, so none has a `restart`.

    Raises
    ------
    CodeError
        A named failure; see `read_folder` and `failure_of`.
    ResourceError
        The program or a species file is missing, or the machine is at fault.
    """
    available = exciting_availability()
    if not available.found:
        raise ResourceError(f"{available.detail}: {available.remedy}.")
    species = species_files(inputs.files[DECK])
    return PROGRAM.run(
        inputs, run_dir, stage_timeout=stage_timeout, progress=progress, lent=species
    )
