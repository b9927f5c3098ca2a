"""Run exciting by the command that the settings name, with its own species files."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path

from nearedge.codes.base import Availability, CodeResult, InputSet, Progress
from nearedge.codes.exciting.deck import DECK
from nearedge.codes.exciting.failures import GROUND_STATE, LOG, failure_of
from nearedge.codes.exciting.parse import read_folder
from nearedge.codes.executables import Executable
from nearedge.codes.execution import claim, disk_errors, log_tail, run_stage, write_files
from nearedge.errors import CodeError, ResourceError
from nearedge.settings import get_settings

EXCITING_BINARY = Executable("exciting_command", "install exciting (https://exciting-code.org)")
_SPECIES = re.compile(r'speciesfile="([^"/]+)"')


REMEDY = "name their folder in NEAREDGE_EXCITING_SPECIES_PATH, or set EXCITINGROOT"


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
    inputs: InputSet, run_dir: Path, *, stage_timeout: float, progress: Progress | None = None
) -> CodeResult:
    """Run exciting on `inputs` in `run_dir`, which must be empty or absent.

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
    claim(run_dir)
    write_files(run_dir, {**inputs.files, **species})
    outcome = run_stage(
        EXCITING_BINARY.argv(),
        run_dir,
        stage="exciting",
        log=LOG,
        stage_timeout=stage_timeout,
        progress=progress,
    )
    with disk_errors():
        for name in species:  # exciting's own, there again for whoever has exciting
            (run_dir / name).unlink(missing_ok=True)
    tail = log_tail(run_dir, GROUND_STATE, LOG)
    if outcome.return_code != 0:
        raise failure_of(outcome.return_code, tail)
    try:
        result = read_folder(run_dir)
    except CodeError as error:
        raise CodeError(error.name, error.message, error.log_tail or tail) from None
    return replace(result, wall_seconds=outcome.wall_seconds, cpu_seconds=outcome.cpu_seconds)
