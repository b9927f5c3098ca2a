"""What `failures` tells: failures by code and name, with one example each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from nearedge.launch.failures import FizzledJob, fizzled_jobs
from nearedge.launch.fireworks import launchpad
from nearedge.schemas.relaxation import RelaxationDoc
from nearedge.settings import Settings
from nearedge.store.abbreviated import SHOWN
from nearedge.store.connection import connect
from nearedge.store.operations import Document, MongoDatabase, database_errors
from nearedge.store.progress import FailureGroup, failure_groups
from nearedge.store.relaxations import RelaxationStore

RELAX = "relax"
"""What relaxations are listed under: they are of no code."""


@dataclass(frozen=True)
class Group:
    """Failures of one code, or kind of job, by one name.

    Parameters
    ----------
    of
        ``calculations``, ``relaxations``, or ``jobs`` that fizzled and left no record.
    code
        The code; of other jobs than a site's, their kind.
    cpu_seconds
        What they cost together, as far as that is known.
    first, last
        When the earliest and the latest ended, in ISO 8601.
    example, example_id
        What one of them is about, and its calculation's id or its job's number.
    message, log_tail
        Why that one failed, and the end of its logs.
    run_dir
        Its folder, where it was kept.
    """

    of: str
    code: str
    name: str
    count: int
    cpu_seconds: float | None
    first: str | None
    last: str | None
    example: str
    example_id: str
    message: str
    log_tail: str = ""
    run_dir: str | None = None


def gather(
    settings: Settings, *, project: str | None, code: str | None, since: datetime | None
) -> list[Group]:
    """Return the failures, calculations first; those since some moment, if that is given."""
    database = connect(settings)
    recorded = failure_groups(database, project=project, code=code, since=since)
    groups = [_of_calculations(database, group) for group in recorded]
    jobs = fizzled_jobs(launchpad(settings), project=project, code=code)
    recent = (job for job in jobs if since is None or (job.ended or since) >= since)
    relaxations = RelaxationStore(database).failed(project=project, since=since)
    if code not in (None, RELAX):
        relaxations = []
    return [*groups, *_of_relaxations(relaxations), *_of_jobs(recent)]


def _of_calculations(database: MongoDatabase, group: FailureGroup) -> Group:
    fields = ("formula", "absorber", "absorbing_index", "edge", "run_dir", "failure")
    with database_errors():
        example = database["calculations"].find_one(
            {"_id": group.example}, dict.fromkeys(fields, 1)
        )
    about = ""
    failure: Document = {}
    if example is not None:
        about = "{formula} {absorber}{absorbing_index} {edge}".format(**example)
        failure = example.get("failure") or {}
    return Group(
        of="calculations",
        code=group.code,
        name=group.name,
        count=group.count,
        cpu_seconds=group.cpu_seconds,
        first=group.first.isoformat(),
        last=group.last.isoformat(),
        example=about,
        example_id=group.example,
        message=str(failure.get("message", "")),
        log_tail=str(failure.get("log_tail", "")),
        run_dir=None if example is None else example.get("run_dir"),
    )


def _of_relaxations(failed: Sequence[RelaxationDoc]) -> Iterator[Group]:
    groups: dict[str, list[RelaxationDoc]] = {}
    for each in failed:
        groups.setdefault(each.state, []).append(each)
    for name, alike in groups.items():
        example = alike[-1]
        message = "" if example.failure is None else example.failure.message
        yield Group(
            of="relaxations",
            code=RELAX,
            name=name,
            count=len(alike),
            cpu_seconds=None,
            first=alike[0].created_at.isoformat(),
            last=example.created_at.isoformat(),
            example=example.label,
            example_id=example.relaxation_id,
            message=f"{message} `nearedge rerun` relaxes it again, and what asked for it does so "
            "with --rerun-failed and then goes on.",
        )


def _of_jobs(jobs: Iterable[FizzledJob]) -> Iterator[Group]:
    groups: dict[tuple[str, str], list[FizzledJob]] = {}
    for job in jobs:
        groups.setdefault((job.about, job.name), []).append(job)
    for (about, name), alike in groups.items():
        ended = sorted(job.ended for job in alike if job.ended is not None)
        example = alike[-1]
        by_itself = " (`nearedge run` puts it back by itself)" if example.by_machine else ""
        yield Group(
            of="jobs",
            code=about,
            name=name,
            count=len(alike),
            cpu_seconds=None,
            first=ended[0].isoformat() if ended else None,
            last=ended[-1].isoformat() if ended else None,
            example=example.label,
            example_id=str(example.fw_id),
            message=(example.error.partition(": ")[2] or example.error) + by_itself,
        )


def table_of(groups: Sequence[Group], now: datetime) -> tuple[list[str], list[list[str]]]:
    """Return headings and cells, ids by their first digits."""
    columns = ["Code", "Failure", "How often", "CPU", "Last", "Example"]
    rows = []
    for group in groups:
        cost = "" if group.cpu_seconds is None else cpu(group.cpu_seconds)
        last = "" if group.last is None else ago(now, datetime.fromisoformat(group.last))
        example = f"{group.example} ({group.example_id[:SHOWN]}): {group.message}"
        rows.append([group.code, group.name, str(group.count), cost, last, example])
    return columns, rows


def cpu(seconds: float) -> str:
    """Return CPU time as people read it."""
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 3600:,.2f} h"


def ago(now: datetime, moment: datetime) -> str:
    """Return how long ago a moment was, in the largest unit that gives two or more."""
    seconds = max(0.0, (now - moment).total_seconds())
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit} ago"
    return f"{seconds:.0f} s ago"
