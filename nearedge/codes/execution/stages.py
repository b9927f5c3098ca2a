"""A code's run of several programs: their cost together, and a second attempt; or of one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from nearedge.codes.base import CodeResult, InputSet, Progress
from nearedge.codes.execution.executables import Executable
from nearedge.codes.execution.stage import (
    StageOutcome,
    claim,
    disk_errors,
    log_tail,
    run_stage,
    write_files,
)
from nearedge.codes.outputs import text_if_there
from nearedge.errors import CodeError, ResourceError

SECOND_ATTEMPT = (
    "The self-consistent field converged only at the second attempt, with safer mixing."
)
"""Warning of a result that took two."""
_T = TypeVar("_T")


@dataclass
class Stages:
    """The stages of one run, and what they have cost together.

    Parameters
    ----------
    folder
        Where they run.
    stage_timeout
        Seconds that each may take.
    progress
        Called with each stage's name as it starts.
    """

    folder: Path
    stage_timeout: float
    progress: Progress | None = None
    wall_seconds: float = 0.0
    cpu_seconds: float = 0.0

    def run(
        self,
        argv: Sequence[str],
        *,
        stage: str,
        log: str,
        within: str = ".",
        environment: Mapping[str, str] | None = None,
    ) -> StageOutcome:
        """Run one in the folder `within` this run's; see `run_stage`."""
        outcome = run_stage(
            argv,
            self.folder / within,
            stage=stage,
            log=log,
            stage_timeout=self.stage_timeout,
            environment=environment,
            progress=self.progress,
        )
        self.wall_seconds += outcome.wall_seconds
        self.cpu_seconds += outcome.cpu_seconds
        return outcome

    def text(self, name: str) -> str:
        """Return what is in a file that a stage may have left; nothing where it did not."""
        return text_if_there(self.folder / name)

    def ended(self, result: CodeResult, attempts: int = 1) -> CodeResult:
        """Return `result` with what it cost, and a warning where it took two attempts."""
        return replace(
            result,
            attempts=attempts,
            warnings=[*result.warnings, *([SECOND_ATTEMPT] if attempts > 1 else [])],
            wall_seconds=self.wall_seconds,
            cpu_seconds=self.cpu_seconds,
        )


def twice(
    first: Callable[[], _T],
    again: Callable[[], _T],
    *,
    field: str,
    advice: str = "try more smearing",
) -> tuple[_T, int]:
    """Return what an attempt gives, the second where the first's field does not converge.

    Parameters
    ----------
    first, again
        The attempts; the second mixes more safely, and makes room for itself.
    field
        What messages call the field: ``The self-consistent field of pw.x``.
    advice
        What else the user can do than look at the structure.

    Returns
    -------
    tuple
        The result, and the number of attempts.

    Raises
    ------
    CodeError
        Of the attempt that was the last.
    """
    try:
        return first(), 1
    except CodeError as error:
        if error.name != "scf_not_converged":
            raise
    try:
        return again(), 2
    except CodeError as error:
        if error.name != "scf_not_converged":
            raise
        raise CodeError(
            error.name,
            f"{field} did not converge, nor did it with safer mixing; look at the structure, or "
            f"{advice}.",
            error.log_tail,
        ) from None


@dataclass(frozen=True)
class OneProgram:
    """How a code runs that does everything by one command.

    Parameters
    ----------
    executable
        The command.
    stage, log
        Its name, and that of the file for its output.
    logs
        Files whose ends go into a failure, `log` included.
    failure_of
        Names the failure of an exit code other than 0, from that code and the ends of `logs`.
    read
        `Code.read`.
    """

    executable: Executable
    stage: str
    log: str
    logs: tuple[str, ...]
    failure_of: Callable[[int, str], CodeError]
    read: Callable[[Path], CodeResult]

    def run(
        self,
        inputs: InputSet,
        run_dir: Path,
        *,
        stage_timeout: float,
        progress: Progress | None = None,
        lent: Mapping[str, str | bytes] | None = None,
    ) -> CodeResult:
        """Run it on `inputs` in `run_dir`, which must be empty or absent.

        Parameters
        ----------
        lent
            Files that are there while it runs, and removed afterwards: they are the user's.

        Raises
        ------
        CodeError
            A named failure; see `read` and `failure_of`.
        ResourceError
            The program is missing, or the machine is at fault.
        """
        available = self.executable.availability()
        if not available.found:
            raise ResourceError(f"{available.detail}: {available.remedy}.")
        claim(run_dir)
        lent = lent or {}
        stages = Stages(run_dir, stage_timeout, progress)
        try:
            write_files(run_dir, {**inputs.files, **lent})
            outcome = stages.run(self.executable.argv(), stage=self.stage, log=self.log)
        finally:
            with disk_errors():
                for name in lent:
                    (run_dir / name).unlink(missing_ok=True)
        tail = log_tail(run_dir, *self.logs)
        if outcome.return_code != 0:
            raise self.failure_of(outcome.return_code, tail)
        try:
            return stages.ended(self.read(run_dir))
        except CodeError as error:
            raise CodeError(error.name, error.message, error.log_tail or tail) from None
