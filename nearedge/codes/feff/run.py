"""Run FEFF: one process group a calculation, with the right allocator, and mistrust of success."""

from __future__ import annotations

import json
import os
import selectors
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from nearedge.codes.base import UNKNOWN, Availability, CodeResult, InputSet, Progress
from nearedge.codes.execution.process import Supervised
from nearedge.codes.execution.stage import (
    MIN_FREE_BYTES,
    claim,
    disk_errors,
    log_tail,
    write_files,
)
from nearedge.codes.execution.stages import Stages, twice
from nearedge.codes.feff.deck import Deck, parse_deck
from nearedge.codes.feff.failures import check_deck, failure_of, warnings_for
from nearedge.codes.feff.inputs import DECK, safer_mixing
from nearedge.codes.feff.parse import parse_xmu, scf_converged
from nearedge.codes.outputs import text_if_there
from nearedge.errors import CodeError, ResourceError

ALLOCATOR = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "68719476736",
    "MALLOC_TOP_PAD_": "67108864",
}
"""FEFF allocates and frees large arrays in its inner loops. By default glibc gives each back to the
kernel and half of the time goes into page faults; with these it keeps them. Output is unchanged."""

FEFF_VERSION = "10.0.0"
"""What feff10-rs 0.2.4 writes into its output."""
RUN_LOG = "feff.log"
RETRY_FOLDER = "retry"
_WORKER = Path(__file__).with_name("worker.py")
_TAIL = 2000
_GRACE_SECONDS = 30.0
_END_SECONDS = 5.0
_LOOK_SECONDS = 0.5


@dataclass
class _Outcome:
    """What a worker reported, and what it cost."""

    done: bool = False
    failed: str | None = None
    message: str = ""
    stage: str = "start"
    timed_out: bool = False
    return_code: int = 0
    cpu_seconds: float = 0.0
    wall_seconds: float = 0.0
    unread: bytes = field(default=b"", repr=False)


@cache
def feff_version() -> str:
    """Return FEFF's version and the wheel's, which is looked for once."""
    try:
        return f"{FEFF_VERSION} (feff10-rs {version('feff10-rs')})"
    except PackageNotFoundError:
        return UNKNOWN


def feff_availability() -> Availability:
    """Look for the wheel, which brings the programs with it."""
    try:
        return Availability(True, f"feff10-rs {version('feff10-rs')}")
    except PackageNotFoundError:
        return Availability(False, "feff10-rs is not installed", "pip install feff10-rs")


def run_feff(
    inputs: InputSet,
    run_dir: Path,
    *,
    stage_timeout: float,
    progress: Progress | None = None,
    restart: Mapping[str, bytes] | None = None,
) -> CodeResult:
    """Run FEFF on `inputs` in `run_dir`, which must be empty or absent.

    It leaves nothing that another run could start from, so none has a `restart`.

    Potentials that do not converge are tried once more, with safer mixing, in a folder of their
    own.

    Raises
    ------
    CodeError
        A named failure of the calculation; see `nearedge.codes.feff.failures`.
    ResourceError
        The machine is at fault: disk full, no memory, killed from outside, or `run_dir` in use.
    """
    deck = check_deck(inputs.files[DECK])
    claim(run_dir)
    spent = Stages(run_dir, stage_timeout, progress)
    result, attempts = twice(
        lambda: _attempt(deck, inputs.files, run_dir, spent),
        lambda: _attempt(deck, _safer(inputs.files), run_dir / RETRY_FOLDER, spent),
        field="FEFF's self-consistent field",
        advice="use a protocol with other radii",
    )
    return spent.ended(result, attempts)


def _safer(files: Mapping[str, str]) -> dict[str, str]:
    return {**files, DECK: safer_mixing(files[DECK])}


def _attempt(
    deck: Deck,
    files: Mapping[str, str],
    folder: Path,
    spent: Stages,
) -> CodeResult:
    write_files(folder, files)
    outcome = execute(folder, stage_timeout=spent.stage_timeout, progress=spent.progress)
    # The pipeline has written the deck anew; nearedge.json knows the one that was asked for.
    write_files(folder, files)
    spent.wall_seconds += outcome.wall_seconds
    spent.cpu_seconds += outcome.cpu_seconds
    if not outcome.done:
        raise _why(outcome, folder, spent.stage_timeout)
    return _checked_result(deck, folder)


def execute(folder: Path, *, stage_timeout: float, progress: Progress | None = None) -> _Outcome:
    """Run the worker on the deck in `folder` and see that nothing of it is left afterwards."""
    outcome = _Outcome()
    with disk_errors():
        reading, writing = os.pipe()
        try:
            process = Supervised(
                [sys.executable, "-P", str(_WORKER), str(folder), str(stage_timeout), str(writing)],
                folder,
                log=RUN_LOG,
                environment=ALLOCATOR,
                pass_fds=(writing,),
            )
        except BaseException:
            os.close(reading)
            raise
        finally:
            os.close(writing)
    try:
        _follow(process, reading, outcome, stage_timeout, progress)
        if not outcome.timed_out:
            # It has told its result; what it cost is known when it has ended by itself.
            with suppress(subprocess.TimeoutExpired):
                process.wait(_END_SECONDS)
    finally:
        os.close(reading)
        process.end()
        outcome.return_code = process.returncode
        outcome.wall_seconds = process.wall_seconds
        outcome.cpu_seconds = process.cpu_seconds
    return outcome


def _follow(
    process: Supervised,
    reading: int,
    outcome: _Outcome,
    stage_timeout: float,
    progress: Progress | None,
) -> None:
    """Read the worker's reports until it is done, gone, or silent for too long."""
    heard = time.monotonic()
    with selectors.DefaultSelector() as selector:
        selector.register(reading, selectors.EVENT_READ)
        while not (outcome.done or outcome.failed):
            if not selector.select(_LOOK_SECONDS):
                if time.monotonic() - heard > stage_timeout + _GRACE_SECONDS:
                    outcome.timed_out = True
                    return
                process.poll()  # where its supervisor was killed, this ends the worker
                continue
            heard = time.monotonic()
            data = os.read(reading, 65536)
            if not data:
                return
            for report in _lines(outcome, data):
                if stage := report.get("stage"):
                    outcome.stage = stage
                    if progress is not None:
                        progress(stage)
                outcome.done = "done" in report
                outcome.failed = report.get("failed")
                outcome.message = report.get("message", "")


def _lines(outcome: _Outcome, data: bytes) -> Iterator[dict[str, str]]:
    *lines, outcome.unread = (outcome.unread + data).split(b"\n")
    for line in lines:
        yield json.loads(line)


def _why(outcome: _Outcome, folder: Path, stage_timeout: float) -> Exception:
    """Name the reason of a run that gave nothing."""
    logs = last_words(folder)
    if outcome.timed_out:
        return CodeError(
            "stage_timeout",
            f"FEFF's stage {outcome.stage} took more than {stage_timeout:g} s; allow more time.",
            logs,
        )
    if outcome.failed == "input":
        return CodeError("bad_input", f"FEFF refuses the deck: {outcome.message}.", logs)
    if shutil.disk_usage(folder).free < MIN_FREE_BYTES:
        return ResourceError(
            f"The disk of {folder} is full; FEFF stopped in stage {outcome.stage}. Free some."
        )
    if outcome.failed is None:
        return ResourceError(
            f"FEFF's process ended in stage {outcome.stage} (exit code {outcome.return_code}): it "
            "was killed, or memory ran out. Run it again."
        )
    return failure_of(outcome.message, logs, outcome.stage)


def last_words(folder: Path) -> str:
    """Return the ends of FEFF's logs, those written last at the end."""
    logs = sorted(
        (path for path in (*folder.glob("log*.dat"), folder / RUN_LOG) if path.is_file()),
        key=lambda path: path.stat().st_mtime,
    )
    return log_tail(folder, *(path.name for path in logs))[-3 * _TAIL :]


def read_folder(folder: Path) -> CodeResult:
    """Read a finished run: its deck and its output, of the second attempt where there was one.

    Raises
    ------
    CodeError
        A named failure; see `nearedge.codes.feff.failures`.
    """
    if (folder / RETRY_FOLDER).is_dir():
        folder = folder / RETRY_FOLDER
    deck = parse_deck(text_if_there(folder / DECK))
    if not (folder / "xmu.dat").exists():
        logs = last_words(folder)
        if not logs:
            raise CodeError("output_missing", f"{folder.name} has no xmu.dat: FEFF has not run.")
        raise failure_of("", logs, "that it reached")
    return _checked_result(deck, folder)


def _checked_result(deck: Deck, folder: Path) -> CodeResult:
    """Read the output and make sure that it is converged, and of what was asked."""
    logs = last_words(folder)
    if "SCF" in deck.cards and not scf_converged(
        text_if_there(folder / "log1.dat"), text_if_there(folder / "convergence.scf")
    ):
        raise CodeError("scf_not_converged", "FEFF's self-consistent field did not converge.", logs)
    text = text_if_there(folder / "xmu.dat")
    if not text and shutil.disk_usage(folder).free < MIN_FREE_BYTES:
        raise ResourceError(f"The disk of {folder} is full; FEFF wrote no xmu.dat. Free some.")
    try:
        xmu = parse_xmu(text)
        xmu.check_against(deck)
        return replace(xmu.result(), warnings=warnings_for(deck))
    except CodeError as error:
        raise CodeError(error.name, error.message, logs) from None
