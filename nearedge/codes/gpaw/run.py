"""Run GPAW on an input set, or make another spectrum of stored states."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from nearedge.codes.base import CodeResult, InputSet, Progress
from nearedge.codes.execution import claim, disk_errors, run_stage, write_files
from nearedge.codes.gpaw.failures import why
from nearedge.codes.gpaw.programs import PYTHON
from nearedge.codes.gpaw.result import read_run
from nearedge.codes.gpaw.runner_files import (
    FAILURE,
    GROUND_LOG,
    INPUT,
    LOG,
    RUN_LOG,
    SCRIPT,
    STATES_LOG,
)
from nearedge.codes.gpaw.setups import core_hole_setup
from nearedge.errors import CodeError

FIRST = "first_"
"""Before the names of the logs of an attempt that did not converge."""
_SECOND_ATTEMPT = (
    "The self-consistent field converged only at the second attempt, with safer mixing."
)


@dataclass
class _Cost:
    """Seconds of all attempts together."""

    wall_seconds: float = 0.0
    cpu_seconds: float = 0.0


def run_gpaw(
    inputs: InputSet,
    run_dir: Path,
    *,
    stage_timeout: float,
    progress: Progress | None = None,
    restart: Mapping[str, bytes] | None = None,
) -> CodeResult:
    """Run GPAW on `inputs` in `run_dir`, which must be empty or absent.

    With `restart` nothing is run: the states are broadened anew.

    Raises
    ------
    CodeError
        A named failure of the calculation; see `why` and `read_run`.
    ResourceError
        The machine is at fault, or `run_dir` is in use.
    """
    claim(run_dir)
    write_files(run_dir, inputs.files)
    if restart is not None:
        write_files(run_dir, restart)
        return replace(read_run(run_dir), wall_seconds=None, cpu_seconds=None)
    name, content = core_hole_setup(inputs.files[INPUT], inputs.code_version, progress)
    write_files(run_dir, {name: content})
    cost = _Cost()
    attempts = _attempts(run_dir, stage_timeout, progress, cost)
    result = read_run(run_dir)
    return replace(
        result,
        attempts=attempts,
        warnings=[*result.warnings, *([_SECOND_ATTEMPT] if attempts > 1 else [])],
        wall_seconds=cost.wall_seconds,
        cpu_seconds=cost.cpu_seconds,
    )


def _attempts(folder: Path, stage_timeout: float, progress: Progress | None, cost: _Cost) -> int:
    """Run it, once more with safer mixing where it does not converge; return how often."""
    try:
        _attempt(folder, (), "gpaw", stage_timeout, progress, cost)
        return 1
    except CodeError as error:
        if error.name != "scf_not_converged":
            raise
    with disk_errors():
        for name in (GROUND_LOG, LOG, STATES_LOG, RUN_LOG, FAILURE):
            if (folder / name).exists():
                (folder / name).rename(folder / f"{FIRST}{name}")
    try:
        _attempt(folder, ("--safer",), "gpaw, safer mixing", stage_timeout, progress, cost)
    except CodeError as error:
        if error.name != "scf_not_converged":
            raise
        raise CodeError(
            error.name,
            "GPAW's self-consistent field did not converge, nor did it with safer mixing; look at "
            "the structure, or try more smearing.",
            error.log_tail,
        ) from None
    return 2


def _attempt(
    folder: Path,
    options: tuple[str, ...],
    stage: str,
    stage_timeout: float,
    progress: Progress | None,
    cost: _Cost,
) -> None:
    outcome = run_stage(
        [*PYTHON.argv(), SCRIPT, *options],
        folder,
        stage=stage,
        log=RUN_LOG,
        stage_timeout=stage_timeout,
        # One thread unless the user has chosen otherwise: workers are the parallelism here.
        environment={"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")},
        progress=progress,
    )
    cost.wall_seconds += outcome.wall_seconds
    cost.cpu_seconds += outcome.cpu_seconds
    if outcome.return_code != 0:
        raise why(folder, outcome.return_code)
