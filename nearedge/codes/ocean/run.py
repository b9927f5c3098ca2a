"""Run OCEAN by the command that the settings name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from nearedge.codes.base import CodeResult, InputSet, Progress
from nearedge.codes.executables import Executable
from nearedge.codes.execution import claim, log_tail, run_stage, write_files
from nearedge.codes.ocean.failures import LOG, failure_of
from nearedge.codes.ocean.parse import read_folder
from nearedge.errors import CodeError, ResourceError

OCEAN_PL = Executable("ocean_command", "install OCEAN (https://github.com/times-software/OCEAN)")


def run_ocean(
    inputs: InputSet, run_dir: Path, *, stage_timeout: float, progress: Progress | None = None
) -> CodeResult:
    """Run OCEAN on `inputs` in `run_dir`, which must be empty or absent.

    Raises
    ------
    CodeError
        A named failure; see `read_folder` and `failure_of`.
    ResourceError
        The program is missing, or the machine is at fault.
    """
    available = OCEAN_PL.availability()
    if not available.found:
        raise ResourceError(f"{available.detail}: {available.remedy}.")
    claim(run_dir)
    write_files(run_dir, inputs.files)
    outcome = run_stage(
        OCEAN_PL.argv(),
        run_dir,
        stage="ocean",
        log=LOG,
        stage_timeout=stage_timeout,
        progress=progress,
    )
    tail = log_tail(run_dir, LOG)
    if outcome.return_code != 0:
        raise failure_of(outcome.return_code, tail)
    try:
        result = read_folder(run_dir)
    except CodeError as error:
        raise CodeError(error.name, error.message, error.log_tail or tail) from None
    return replace(result, wall_seconds=outcome.wall_seconds, cpu_seconds=outcome.cpu_seconds)
