"""Run pw.x and xspectra.x on an input set, or xspectra.x alone on stored Lanczos chains."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from nearedge.codes.base import CodeResult, InputSet, Progress
from nearedge.codes.executables import Executable
from nearedge.codes.execution import claim, disk_errors, log_tail, run_stage, write_files
from nearedge.codes.xspectra.decks import SCF, SCRATCH, Files, safer_mixing
from nearedge.codes.xspectra.parse import parse_scf
from nearedge.codes.xspectra.programs import PW, XSPECTRA
from nearedge.codes.xspectra.result import numbered, read_run
from nearedge.errors import CodeError

SCF_LOG = f"{SCF}.out"
FIRST_SCF_LOG = f"{SCF}_first.out"
DEFAULT_NAME = "xanes.dat"
"""What xspectra.x calls every spectrum."""


@dataclass
class _Run:
    """A run in progress: where, how long a stage may take, and what it has cost."""

    folder: Path
    stage_timeout: float
    progress: Progress | None
    wall_seconds: float = 0.0
    cpu_seconds: float = 0.0

    def stage(self, program: Executable, stage: str, deck: str, log: str) -> None:
        outcome = run_stage(
            [*program.argv(), "-in", deck],
            self.folder,
            stage=stage,
            log=log,
            stage_timeout=self.stage_timeout,
            environment=_environment(),
            progress=self.progress,
        )
        self.wall_seconds += outcome.wall_seconds
        self.cpu_seconds += outcome.cpu_seconds

    def text(self, name: str) -> str:
        path = self.folder / name
        return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


def _environment() -> dict[str, str]:
    """Return what the programs need besides what they inherit.

    One thread unless the user has chosen otherwise: two gain nothing at these sizes. Output goes to
    the log line by line, from which the watch sees progress.
    """
    threads = os.environ.get("OMP_NUM_THREADS", "1")
    return {"OMP_NUM_THREADS": threads, "GFORTRAN_UNBUFFERED_PRECONNECTED": "1"}


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
    run = _Run(run_dir, stage_timeout, progress)
    attempts = 1
    try:
        if restart is None:
            attempts = _self_consistent(run, inputs.files)
            for files in polarisations:
                _recursion(run, files, len(polarisations))
        else:
            write_files(run_dir, restart)
        for files in polarisations:
            _spectrum(run, files)
    finally:
        # Wave functions: by far the most of a run's bytes, and of no use afterwards.
        shutil.rmtree(run_dir / SCRATCH, ignore_errors=True)
    result = read_run(run_dir)
    return replace(
        result,
        attempts=attempts,
        warnings=[*result.warnings, *([_SECOND_ATTEMPT] if attempts > 1 else [])],
        wall_seconds=run.wall_seconds,
        cpu_seconds=run.cpu_seconds,
    )


_SECOND_ATTEMPT = (
    "The self-consistent field converged only at the second attempt, with safer mixing."
)


def _self_consistent(run: _Run, files: Mapping[str, str]) -> int:
    """Run pw.x, once more with safer mixing where it does not converge; return the attempts."""
    deck = f"{SCF}.in"
    run.stage(PW, "pw.x", deck, SCF_LOG)
    try:
        _checked_scf(run)
        return 1
    except CodeError as error:
        if error.name != "scf_not_converged":
            raise
    with disk_errors():
        (run.folder / SCF_LOG).rename(run.folder / FIRST_SCF_LOG)
        shutil.rmtree(run.folder / SCRATCH, ignore_errors=True)
    safer = f"{SCF}_safer.in"
    write_files(run.folder, {safer: safer_mixing(files[deck])})
    run.stage(PW, "pw.x, safer mixing", safer, SCF_LOG)
    try:
        _checked_scf(run)
    except CodeError as error:
        if error.name != "scf_not_converged":
            raise
        raise CodeError(
            "scf_not_converged",
            "The self-consistent field of pw.x did not converge, nor did it with safer mixing; "
            "look at the structure, or try more smearing.",
            error.log_tail,
        ) from None
    return 2


def _checked_scf(run: _Run) -> None:
    try:
        parse_scf(run.text(SCF_LOG))
    except CodeError as error:
        raise CodeError(error.name, error.message, log_tail(run.folder, SCF_LOG)) from None


def _recursion(run: _Run, files: Files, count: int) -> None:
    stage = f"xspectra.x, polarisation {files.number} of {count}"
    run.stage(XSPECTRA, stage, files.lanczos, files.lanczos_log)
    with disk_errors():
        # The spectrum of the recursion's own width, which nobody asked for.
        (run.folder / DEFAULT_NAME).unlink(missing_ok=True)


def _spectrum(run: _Run, files: Files) -> None:
    if not run.text(files.chain):
        # xspectra.x would say no more than that it cannot read a file.
        return
    run.stage(XSPECTRA, "xspectra.x, spectrum", files.plot, files.plot_log)
    with disk_errors():
        written = run.folder / DEFAULT_NAME
        if written.is_file():
            written.rename(run.folder / files.spectrum)
