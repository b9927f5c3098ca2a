"""How far each project is: what waits, runs, has ended and failed, how fast, and until when."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from fireworks.core.launchpad import LaunchPad

from nearedge.launch.fireworks import SPEC_KEY
from nearedge.launch.queue_state import NOT_COMPLETED, PENDING, JobKind, ids_of
from nearedge.schemas import COMPLETED
from nearedge.store.operations import MongoDatabase, operation
from nearedge.store.progress import NO_PROJECT, Recorded, Tally, all_recorded, how_many_recorded

RATE_WINDOW = timedelta(hours=1)
"""How far back completions count for the rate."""

_FEWEST_FOR_RATE = 2
_ABOUT = f"spec.{SPEC_KEY}"


@dataclass
class PartProgress:
    """One code's sites in one project.

    Parameters
    ----------
    waiting, running
        Sites in the queue; `waiting` includes those that a batch queue or a worker has reserved,
        and of a pack that was put back what is recorded already.
    completed, failures
        Recorded calculations; failures by name.
    fizzled
        Sites of jobs that ended without a record; at least one of each such job.
    cpu_seconds
        Of what is recorded, failures included as far as they state it.
    failed_cpu_seconds
        Of the failures alone.
    rate
        Sites an hour, from what was recorded within the last one; None where fewer than two were.
    expected_end
        When the queue is empty at this rate; None where nothing is left or the rate is unknown.
    """

    project: str
    code: str
    waiting: int = 0
    running: int = 0
    completed: int = 0
    failures: dict[str, int] = field(default_factory=dict)
    fizzled: int = 0
    cpu_seconds: float = 0.0
    failed_cpu_seconds: float = 0.0
    rate: float | None = None
    expected_end: datetime | None = None

    @property
    def failed(self) -> int:
        """How many calculations failed by name."""
        return sum(self.failures.values())

    @property
    def remaining(self) -> int:
        """How many sites are still to be computed."""
        return self.waiting + self.running


@dataclass(frozen=True)
class JobGroup:
    """Jobs of one project, code, kind and state: how many, and of how many sites.

    All sites of a pack count, also those that are over; a job of another kind counts as one.
    """

    project: str
    code: str
    kind: str
    state: str
    jobs: int
    sites: int


@operation
def progress(
    pad: LaunchPad,
    database: MongoDatabase,
    *,
    project: str | None = None,
    now: datetime | None = None,
    recorded: Recorded | None = None,
    queue: Iterable[JobGroup] | None = None,
) -> list[PartProgress]:
    """Return how far each project's codes are, in the order of their names.

    Parameters
    ----------
    project
        Only this one.
    now
        The moment that the rate is of; default: the present.
    recorded, queue
        What is recorded, and `in_queue`, by whoever has read them already.
    """
    now = now or datetime.now(UTC)
    recorded = recorded or all_recorded(database, now - RATE_WINDOW, project)
    parts: dict[tuple[str, str], PartProgress] = {}
    recent: dict[tuple[str, str], list[Tally]] = {}

    def part(project: str, code: str) -> PartProgress:
        return parts.setdefault((project, code), PartProgress(project, code))

    for tally in recorded.tallies(project):
        this = part(tally.project, tally.code)
        recent.setdefault((this.project, this.code), []).append(tally)
        this.cpu_seconds += tally.cpu_seconds
        if tally.state == COMPLETED:
            this.completed += tally.count
        else:
            this.failures[tally.state] = tally.count
            this.failed_cpu_seconds += tally.cpu_seconds
    for group in queue if queue is not None else in_queue(pad, project):
        if group.kind in (JobKind.SITE, JobKind.PACK):
            _count(part(group.project, group.code), group.state, group.sites)
    for state, name, code, count in _recorded_of_packs(pad, database, project):
        _count(part(name, code), state, -count)
    for (name, code), ended in recent.items():
        this = part(name, code)
        this.rate = _per_hour(ended, now)
        if this.rate and this.remaining:
            this.expected_end = now + timedelta(hours=this.remaining / this.rate)
    return [parts[key] for key in sorted(parts)]


def _count(part: PartProgress, state: str, sites: int) -> None:
    if state == "FIZZLED":
        part.fizzled += sites
    elif state == "RUNNING":
        part.running += sites
    elif state in PENDING:
        part.waiting += sites


def failures_by_name(parts: Iterable[PartProgress]) -> dict[str, int]:
    """Return how often calculations failed by each name, the most frequent first."""
    counts: Counter[str] = Counter()
    for part in parts:
        counts.update(part.failures)
        if part.fizzled:
            counts["fizzled"] += part.fizzled
    return dict(counts.most_common())


def _recorded_of_packs(
    pad: LaunchPad, database: MongoDatabase, project: str | None
) -> Iterator[tuple[str, str, str, int]]:
    """Yield of each pack that runs or fizzled its state, project and code, and what is recorded.

    That is less by one where it would be all: a pack that is not over has something to do.
    """
    match: dict[str, Any] = {
        "state": {"$in": ["RUNNING", "FIZZLED"]},
        f"{_ABOUT}.kind": JobKind.PACK,
    }
    if project is not None:
        match[f"{_ABOUT}.project"] = project
    told = ("project", "code", "calculation_id", "failures")
    fields = {f"{_ABOUT}.{name}": 1 for name in told}
    for stored in pad.fireworks.find(match, {"state": 1, **fields}):
        about = stored["spec"][SPEC_KEY]
        ids = ids_of(about)
        # Failures that it computes again are recorded from the beginning: they count to its end.
        done = [each for each in ids if each not in about.get("failures", ())]
        count = max(0, min(how_many_recorded(database, done), len(ids) - 1))
        yield stored["state"], *_whose(about), count


def in_queue(pad: LaunchPad, project: str | None = None) -> list[JobGroup]:
    """Count the jobs that are not completed."""
    match: dict[str, Any] = {"state": {"$in": list(NOT_COMPLETED)}}
    if project is not None:
        match[f"{_ABOUT}.project"] = project
    ids = f"${_ABOUT}.calculation_id"
    what = {name: f"${_ABOUT}.{name}" for name in ("project", "code", "kind")}
    group = {
        "_id": {**what, "state": "$state"},
        "jobs": {"$sum": 1},
        "sites": {"$sum": {"$cond": [{"$isArray": ids}, {"$size": ids}, 1]}},
    }
    return [
        JobGroup(
            *_whose(found["_id"]),
            kind=str(found["_id"].get("kind") or ""),
            state=str(found["_id"]["state"]),
            jobs=int(found["jobs"]),
            sites=int(found["sites"]),
        )
        for found in pad.fireworks.aggregate([{"$match": match}, {"$group": group}])
    ]


def _whose(about: Mapping[str, Any]) -> tuple[str, str]:
    return str(about.get("project") or NO_PROJECT), str(about.get("code") or "?")


def _per_hour(ended: Sequence[Tally], now: datetime) -> float | None:
    """Return the rate since the earliest of these, which is the start and counts for nothing."""
    firsts = [tally.first_recent for tally in ended if tally.first_recent is not None]
    count = sum(tally.recent for tally in ended)
    if count < _FEWEST_FOR_RATE or not firsts or min(firsts) >= now:
        return None
    return (count - 1) / ((now - min(firsts)).total_seconds() / 3600.0)
