"""Run VASP by the command that the settings name, with the user's own potentials."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from nearedge.codes.base import CodeResult, InputSet, Progress
from nearedge.codes.executables import Executable
from nearedge.codes.execution import claim, disk_errors, log_tail, run_stage, write_files
from nearedge.codes.vasp.deck import SPEC
from nearedge.codes.vasp.failures import LOG, failure_of
from nearedge.codes.vasp.parse import read_folder
from nearedge.codes.vasp.potentials import potcar_text
from nearedge.errors import CodeError, ResourceError

VASP_BINARY = Executable("vasp_command", "install VASP 6 (https://www.vasp.at, licensed)")
POTCAR = "POTCAR"


def run_vasp(
    inputs: InputSet, run_dir: Path, *, stage_timeout: float, progress: Progress | None = None
) -> CodeResult:
    """Run VASP on `inputs` in `run_dir`, which must be empty or absent.

    POTCAR is there while VASP runs, and removed afterwards.

    Raises
    ------
    InputRefused
        ``potentials_missing``.
    CodeError
        A named failure; see `read_folder` and `failure_of`.
    ResourceError
        The program is missing, or the machine is at fault.
    """
    available = VASP_BINARY.availability()
    if not available.found:
        raise ResourceError(f"{available.detail}: {available.remedy}.")
    family = str(inputs.parameters["potentials"].value)
    potcar = potcar_text(inputs.files[SPEC].split(), family)
    claim(run_dir)
    try:
        write_files(run_dir, {**inputs.files, POTCAR: potcar})
        outcome = run_stage(
            VASP_BINARY.argv(),
            run_dir,
            stage="vasp",
            log=LOG,
            stage_timeout=stage_timeout,
            progress=progress,
        )
    finally:
        with disk_errors():
            (run_dir / POTCAR).unlink(missing_ok=True)
    tail = log_tail(run_dir, LOG)
    if outcome.return_code != 0:
        raise failure_of(outcome.return_code, tail)
    try:
        result = read_folder(run_dir)
    except CodeError as error:
        raise CodeError(error.name, error.message, error.log_tail or tail) from None
    return replace(result, wall_seconds=outcome.wall_seconds, cpu_seconds=outcome.cpu_seconds)
