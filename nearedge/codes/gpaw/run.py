"""Run GPAW on an input set, or make another spectrum of stored states."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from nearedge.codes.base import CodeResult, InputSet, Progress
from nearedge.codes.execution.stage import claim, disk_errors, write_files
from nearedge.codes.execution.stages import Stages, twice
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

FIRST = "first_"
"""Before the names of the logs of an attempt that did not converge."""


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
    stages = Stages(run_dir, stage_timeout, progress)
    _, attempts = twice(
        lambda: _attempt(stages, "gpaw"),
        lambda: _safer(stages),
        field="GPAW's self-consistent field",
    )
    return stages.ended(read_run(run_dir), attempts)


def _safer(stages: Stages) -> None:
    with disk_errors():
        for name in (GROUND_LOG, LOG, STATES_LOG, RUN_LOG, FAILURE):
            if (stages.folder / name).exists():
                (stages.folder / name).rename(stages.folder / f"{FIRST}{name}")
    _attempt(stages, "gpaw, safer mixing", "--safer")


def _attempt(stages: Stages, stage: str, *options: str) -> None:
    outcome = stages.run([*PYTHON.argv(), SCRIPT, *options], stage=stage, log=RUN_LOG)
    if outcome.return_code != 0:
        raise why(stages.folder, outcome.return_code)
