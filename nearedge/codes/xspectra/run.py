"""Run pw.x and xspectra.x on an input set, or xspectra.x alone on stored Lanczos chains."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from nearedge.codes.base import CodeResult, InputSet, Progress
from nearedge.codes.execution.executables import Executable
from nearedge.codes.execution.stage import claim, disk_errors, log_tail, write_files
from nearedge.codes.execution.stages import Stages, twice
from nearedge.codes.xspectra.decks import DEFAULT_NAME, SCF, SCRATCH, Files, safer_mixing
from nearedge.codes.xspectra.parse import parse_scf
from nearedge.codes.xspectra.programs import PW, XSPECTRA
from nearedge.codes.xspectra.result import numbered, read_run
from nearedge.errors import CodeError

SCF_LOG = f"{SCF}.out"
FIRST_SCF_LOG = f"{SCF}_first.out"
_UNBUFFERED = {"GFORTRAN_UNBUFFERED_PRECONNECTED": "1"}
"""Output goes to the log line by line, from which the watch sees progress."""


def run_xspectra(
    inputs: InputSet,
    run_dir: Path,
    *,
    stage_timeout: float,
    progress: Progress | None = None,
    restart: Mapping[str, bytes] | None = None,
) -> CodeResult:
    """Run the codes on `inputs` in `run_dir`, which must be empty or absent.

    With `restart` neither pw.x nor the Lanczos recursion is run, only the spectra are made.

    Raises
    ------
    CodeError
        A named failure of the calculation; see `nearedge.codes.xspectra.parse`.
    ResourceError
        The machine is at fault, or `run_dir` is in use.
    """
    claim(run_dir)
    write_files(run_dir, inputs.files)
    polarisations = numbered(inputs.files)
    stages = Stages(run_dir, stage_timeout, progress)
    attempts = 1
    try:
        if restart is None:
            _, attempts = twice(
                lambda: _self_consistent(stages, "pw.x", f"{SCF}.in"),
                lambda: _more_safely(stages, inputs.files),
                field="The self-consistent field of pw.x",
            )
            for files in polarisations:
                _recursion(stages, files, len(polarisations))
        else:
            write_files(run_dir, restart)
        for files in polarisations:
            _spectrum(stages, files)
    finally:
        # Wave functions: by far the most of a run's bytes, and of no use afterwards.
        shutil.rmtree(run_dir / SCRATCH, ignore_errors=True)
    return stages.ended(read_run(run_dir), attempts)


def _run(stages: Stages, program: Executable, stage: str, deck: str, log: str) -> None:
    stages.run([*program.argv(), "-in", deck], stage=stage, log=log, environment=_UNBUFFERED)


def _self_consistent(stages: Stages, stage: str, deck: str) -> None:
    _run(stages, PW, stage, deck, SCF_LOG)
    try:
        parse_scf(stages.text(SCF_LOG))
    except CodeError as error:
        raise CodeError(error.name, error.message, log_tail(stages.folder, SCF_LOG)) from None


def _more_safely(stages: Stages, files: Mapping[str, str]) -> None:
    with disk_errors():
        (stages.folder / SCF_LOG).rename(stages.folder / FIRST_SCF_LOG)
        shutil.rmtree(stages.folder / SCRATCH, ignore_errors=True)
    safer = f"{SCF}_safer.in"
    write_files(stages.folder, {safer: safer_mixing(files[f"{SCF}.in"])})
    _self_consistent(stages, "pw.x, safer mixing", safer)


def _recursion(stages: Stages, files: Files, count: int) -> None:
    stage = f"xspectra.x, polarisation {files.number} of {count}"
    _run(stages, XSPECTRA, stage, files.lanczos, files.lanczos_log)
    with disk_errors():
        # The spectrum of the recursion's own width, which nobody asked for.
        (stages.folder / DEFAULT_NAME).unlink(missing_ok=True)


def _spectrum(stages: Stages, files: Files) -> None:
    if not stages.text(files.chain):
        # xspectra.x would say no more than that it cannot read a file.
        return
    _run(stages, XSPECTRA, "xspectra.x, spectrum", files.plot, files.plot_log)
    with disk_errors():
        written = stages.folder / DEFAULT_NAME
        if written.is_file():
            written.rename(stages.folder / files.spectrum)
