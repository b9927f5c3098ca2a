"""Run one program of a code in a folder, watched, with the machine's faults told apart.

A code's ``run.py`` reads::

    claim(run_dir)
    write_files(run_dir, inputs.files)
    outcome = run_stage(
        PW.argv(), run_dir, stage="pw.x", log="scf.out", stdin="scf.in", stage_timeout=seconds
    )

and then reads what the stage left, mistrusting it: the exit code is the code's to judge.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from nearedge.codes.base import Progress
from nearedge.codes.execution.process import Supervised
from nearedge.codes.execution.watch import CHECK_SECONDS, Memory, NoProgress, Stage, Walltime, watch
from nearedge.errors import CodeError, ResourceError
from nearedge.settings import get_settings

MIN_FREE_BYTES = 32 * 1024**2
"""Less than this at a failure means that the disk is the suspect."""
# 38 is gfortran's "error during write"; its message may itself find no room.
DISK_SIGNS = re.compile(
    r"No space left on device|Disk quota exceeded|\(exit code: 38\)|error during write"
)
MEMORY_SIGNS = re.compile(
    r"insufficient virtual memory|out of memory|Cannot allocate memory|memory allocation|"
    r"Allocation would exceed|^MemoryError",
    re.IGNORECASE | re.MULTILINE,
)
KILLED = (-9, -15, 137, 143)
"""Exit codes of a program that SIGKILL or SIGTERM ended; the last two are a launcher's word."""
_TAIL = 2000


@dataclass(frozen=True)
class StageOutcome:
    """How a stage ended.

    Parameters
    ----------
    return_code
        Negative for a signal.
    wall_seconds, cpu_seconds
        What it cost; the latter with all processes that it has waited for.
    """

    return_code: int
    wall_seconds: float
    cpu_seconds: float


def run_stage(
    argv: Sequence[str],
    folder: Path,
    *,
    stage: str,
    log: str,
    stage_timeout: float,
    idle_timeout: float | None = None,
    stdin: str | None = None,
    environment: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> StageOutcome:
    """Run a program in `folder` and see that nothing of it is left afterwards.

    It runs in a session of its own and dies with this process, whatever way that dies. Variables
    of NearEdge are not passed on.

    Parameters
    ----------
    argv
        The program and its arguments, as `Executable.argv` has them.
    stage
        What progress and errors call it.
    log
        Name of the file in `folder` for its output and errors.
    stage_timeout
        Seconds that it may take.
    idle_timeout
        Seconds that it may write nothing below `folder`; None for the setting ``idle_timeout``.
    stdin
        Name of the file in `folder` that it reads; None for nothing to read.
    environment
        Variables to add.
    progress
        Called with `stage` as it starts.

    Returns
    -------
    StageOutcome
        Also for an exit code other than 0: what it means is the code's to say.

    Raises
    ------
    CodeError
        ``stage_timeout`` or ``no_progress``.
    ResourceError
        The program is missing, was killed from outside, took more memory than there is, or the
        disk is full.
    """
    if progress is not None:
        progress(stage)
    job = Stage(lambda: Supervised(argv, folder, log=log, environment=environment, stdin=stdin))
    idle_seconds = get_settings().idle_timeout if idle_timeout is None else idle_timeout
    walltime, memory = Walltime(stage_timeout), Memory()
    no_progress = NoProgress(folder, idle_seconds)
    shortest = min(CHECK_SECONDS, stage_timeout / 10, idle_seconds / 10)
    try:
        with disk_errors():
            watch(job, (walltime, no_progress, memory), folder, check_seconds=shortest)
    finally:
        if job.process is not None:
            job.process.end()
    process = job.process
    if process is None:  # custodian always starts its job
        raise ResourceError(f"{stage} was not started.")
    if memory.verdict:
        raise ResourceError(
            f"{stage} {memory.verdict}: it was ended; run it where there is more, or with fewer "
            "workers."
        )
    for name, monitor in (("stage_timeout", walltime), ("no_progress", no_progress)):
        if monitor.verdict:
            raise CodeError(name, f"{stage} {monitor.verdict}.", log_tail(folder, log))
    _check_machine(process, argv, folder, stage, log)
    return StageOutcome(int(process.returncode), process.wall_seconds, process.cpu_seconds)


def _check_machine(
    process: Supervised, argv: Sequence[str], folder: Path, stage: str, log: str
) -> None:
    """Raise a ResourceError if it is the machine's fault that a program did not succeed."""
    if process.not_started:
        raise ResourceError(f"{argv[0]} cannot be started: {process.not_started}.")
    if process.returncode == 0:
        return
    said = log_tail(folder, log)
    if DISK_SIGNS.search(said) or shutil.disk_usage(folder).free < MIN_FREE_BYTES:
        raise ResourceError(f"The disk of {folder} is full; {stage} stopped. Free some.")
    if MEMORY_SIGNS.search(said):
        raise ResourceError(f"{stage} got no memory: run it where there is more.")
    if process.returncode in KILLED:
        raise ResourceError(
            f"{stage} was killed (exit code {process.returncode}), from outside or because memory "
            "ran out: run it again."
        )


def claim(run_dir: Path) -> None:
    """Make the run folder.

    Raises
    ------
    ResourceError
        If it holds anything, or cannot be made.
    """
    with disk_errors():
        run_dir.mkdir(parents=True, exist_ok=True)
        if any(run_dir.iterdir()):
            raise ResourceError(
                f"The run folder {run_dir} is not empty: give each run a folder of its own."
            )


def write_files(folder: Path, files: Mapping[str, str | bytes]) -> None:
    """Write files by name; a name may have folders in it.

    Raises
    ------
    ResourceError
        If they cannot be written.
    """
    with disk_errors():
        for name, content in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())


def log_tail(folder: Path, *names: str) -> str:
    """Return the ends of the logs that are there, each under its name."""
    parts = []
    for name in names:
        with suppress(OSError), (folder / name).open("rb") as log:
            log.seek(max(0, os.fstat(log.fileno()).st_size - 4 * _TAIL))
            text = log.read().decode("utf-8", "replace").strip()
            if text:
                parts.append(f"[{name}]\n{text[-_TAIL:]}")
    return "\n".join(parts)


@contextmanager
def disk_errors() -> Iterator[None]:
    """Make a `ResourceError` of what the file system refuses."""
    try:
        yield
    except OSError as error:
        raise ResourceError(
            f"The run folder cannot be written: {error.strerror} ({error.filename})."
        ) from error
