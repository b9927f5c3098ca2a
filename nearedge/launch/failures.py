"""Jobs that fizzled, grouped by what they are about and the error that ended them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from fireworks.core.launchpad import LaunchPad

from nearedge.launch.fireworks import SPEC_KEY
from nearedge.launch.recovery import fizzled_launches, last_error, machine_fault
from nearedge.store.operations import operation

NO_ERROR = "no_error"
"""Stands for jobs that fizzled and left no error."""


@dataclass(frozen=True)
class FizzledJob:
    """A job that ended by an error instead of a record.

    Parameters
    ----------
    about
        Its code if it is a site's job, otherwise its kind.
    name
        The class of the error, such as ``ResourceError``.
    error
        The line that names it.
    by_machine
        Whether the machine was at fault, so that `nearedge run` puts it back by itself.
    ended
        When it ended, as far as that is known.
    """

    fw_id: int
    about: str
    label: str
    project: str | None
    name: str
    error: str
    by_machine: bool
    ended: datetime | None


@operation
def fizzled_jobs(
    pad: LaunchPad, *, project: str | None = None, code: str | None = None
) -> list[FizzledJob]:
    """Return the jobs that fizzled, of one project or about one code if that is given."""
    return [
        job
        for job in _fizzled(pad)
        if (project is None or job.project == project) and (code is None or job.about == code)
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


def _fizzled(pad: LaunchPad) -> Iterator[FizzledJob]:
    for firework, launch in fizzled_launches(pad):
        about = firework.get("spec", {}).get(SPEC_KEY, {})
        error = "" if launch is None else last_error(launch)
        yield FizzledJob(
            fw_id=int(firework["fw_id"]),
            about=str(about.get("code") or about.get("kind") or "job"),
            label=str(about.get("label") or f"job {firework['fw_id']}"),
            project=about.get("project"),
            name=error.partition(":")[0].rpartition(".")[2] or NO_ERROR,
            error=error,
            by_machine=launch is not None and machine_fault(launch),
            ended=_moment(None if launch is None else launch.get("time_end")),
        )


def _moment(stored: datetime | str | None) -> datetime | None:
    """Return a moment that FireWorks stored, as datetime or ISO string, in UTC."""
    if stored is None:
        return None
    moment = datetime.fromisoformat(stored) if isinstance(stored, str) else stored
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
