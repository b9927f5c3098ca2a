"""Jobs that fizzled: what they are about, the error that ended them, and whose fault it was."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from fireworks.core.launchpad import LaunchPad

from nearedge.launch.fireworks import SPEC_KEY
from nearedge.launch.queue_state import JobKind
from nearedge.launch.reconcile import FIELDS, last_launch
from nearedge.schemas.document import as_utc
from nearedge.store.operations import operation

NO_ERROR = "no_error"
"""Stands for jobs that fizzled and left no error."""

_DATABASE_FAULT = re.compile(
    r"nearedge\.errors\.DatabaseUnavailable"
    r"|pymongo\.errors\.(AutoReconnect|NetworkTimeout|ServerSelectionTimeoutError"
    r"|ConnectionFailure|NotPrimaryError|WaitQueueTimeoutError)"
)
_MACHINE_FAULT = re.compile(
    _DATABASE_FAULT.pattern + r"|nearedge\.errors\.ResourceError"
    r"|nearedge\.launch\.worker\.WorkerStopped"
    r"|MemoryError"
    r"|OSError: \[Errno (28|122|12)\]"  # no space, over quota, out of memory
)
_FROM_OUTSIDE = re.compile(_DATABASE_FAULT.pattern + r"|nearedge\.launch\.worker\.WorkerStopped")

_NO_EXCEPTION = ("Traceback", "During handling", "The above exception")
_EXCEPTION_LINE = re.compile(r"^[A-Za-z_][\w.]*(: |$)")


@dataclass(frozen=True)
class FizzledJob:
    """A job that ended by an error instead of a record.

    Parameters
    ----------
    kind
        What kind of job it is, such as ``site``; ``converge`` for all that a convergence is made
        of, and ``job`` where it does not say.
    about
        Its code if it is a site's job, otherwise its kind.
    name
        The class of the error, such as ``ResourceError``.
    error
        The line that names it.
    by_machine
        Whether the machine was at fault, so that `recover` puts it back; the others need their
        command again.
    ended
        When it ended, as far as that is known.
    """

    fw_id: int
    kind: str
    about: str
    label: str
    project: str | None
    name: str
    error: str
    by_machine: bool
    ended: datetime | None


@operation
def fizzled_jobs(
    pad: LaunchPad,
    *,
    project: str | None = None,
    code: str | None = None,
    by_machine: bool | None = None,
) -> list[FizzledJob]:
    """Return the jobs that fizzled.

    Of one project, about one code, and by the machine's fault or not by it, as far as that is
    given.
    """
    return [
        job
        for job in _fizzled(pad)
        if (project is None or job.project == project)
        and (code is None or job.about == code)
        and (by_machine is None or job.by_machine == by_machine)
    ]


@operation
def run_fizzled_again(
    pad: LaunchPad,
    name: str,
    *,
    project: str | None = None,
    code: str | None = None,
    dry_run: bool = False,
) -> int:
    """Put back the jobs that fizzled by the error `name`; return how many."""
    chosen = [job for job in fizzled_jobs(pad, project=project, code=code) if job.name == name]
    if not dry_run:
        for job in chosen:
            pad.rerun_fw(job.fw_id)
    return len(chosen)


def machine_fault(launch: Mapping[str, Any]) -> bool:
    """Return whether a launch fizzled by an error that is the machine's, not the job's."""
    return _MACHINE_FAULT.match(last_error(launch)) is not None


def database_fault(launch: Mapping[str, Any]) -> bool:
    """Return whether a launch fizzled because the database was away."""
    return _DATABASE_FAULT.match(last_error(launch)) is not None


def from_outside(launch: Mapping[str, Any]) -> bool:
    """Return whether a launch fizzled by what a job hardly brings about itself."""
    return _FROM_OUTSIDE.match(last_error(launch)) is not None


def last_error(launch: Mapping[str, Any]) -> str:
    """Return the line of a launch's stored traceback that names the error it ended with."""
    stored = (launch.get("action") or {}).get("stored_data") or {}
    last = ""
    for line in str((stored.get("_exception") or {}).get("_stacktrace", "")).splitlines():
        if _EXCEPTION_LINE.match(line) and not line.startswith(_NO_EXCEPTION):
            last = line
    return last


def fizzled_launches(
    pad: LaunchPad,
) -> Iterator[tuple[dict[str, Any], dict[str, Any] | None]]:
    """Yield each Firework that fizzled, with its last launch."""
    for firework in pad.fireworks.find({"state": "FIZZLED"}, FIELDS):
        yield firework, last_launch(pad, firework)


def _fizzled(pad: LaunchPad) -> Iterator[FizzledJob]:
    for firework, launch in fizzled_launches(pad):
        about = firework.get("spec", {}).get(SPEC_KEY, {})
        error = "" if launch is None else last_error(launch)
        ended = None if launch is None else launch.get("time_end")
        kind = str(about.get("kind") or "job")
        yield FizzledJob(
            fw_id=int(firework["fw_id"]),
            kind=JobKind.CONVERGE if "convergence_id" in about else kind,
            about=str(about.get("code") or kind),
            label=str(about.get("label") or f"job {firework['fw_id']}"),
            project=about.get("project"),
            name=error.partition(":")[0].rpartition(".")[2] or NO_ERROR,
            error=error,
            by_machine=launch is not None and machine_fault(launch),
            ended=None if ended is None else as_utc(ended),
        )
