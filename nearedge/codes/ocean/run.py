"""Run OCEAN by the command that the settings name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from nearedge.codes.base import UNKNOWN, CodeResult, InputSet, Progress
from nearedge.codes.execution.executables import Executable
from nearedge.codes.execution.stages import OneProgram
from nearedge.codes.ocean.failures import LOG, failure_of
from nearedge.codes.ocean.parse import read_folder

OCEAN_PL = Executable(
    "ocean_command",
    "install OCEAN (https://github.com/times-software/OCEAN)",
    mark=re.compile(rb"OCEAN"),
)
PROGRAM = OneProgram(OCEAN_PL, "ocean", LOG, (LOG,), failure_of, read_folder)


def ocean_version() -> str:
    """Return what the file ``Version`` beside the program says, as OCEAN itself reads it."""
    found = OCEAN_PL.path()
    if found is None:
        return UNKNOWN
    try:
        words = (found.resolve().parent / "Version").read_text("utf-8").split()
    except (OSError, UnicodeDecodeError):
        words = []
    return words[0] if words else UNKNOWN


def run_ocean(
    inputs: InputSet,
    run_dir: Path,
    *,
    stage_timeout: float,
    progress: Progress | None = None,
    restart: Mapping[str, bytes] | None = None,
) -> CodeResult:
    """Run OCEAN on `inputs` in `run_dir`; see `OneProgram.run`.

    It leaves nothing that another run could start from, so none has a `restart`.
    """
    return PROGRAM.run(inputs, run_dir, stage_timeout=stage_timeout, progress=progress)
