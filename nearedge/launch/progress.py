"""How far each project is: what waits, runs, has ended and failed, how fast, and until when."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from fireworks.core.launchpad import LaunchPad

from nearedge.launch.fireworks import SPEC_KEY
from nearedge.launch.queue_state import PACK, PENDING, ids_of
from nearedge.schemas import COMPLETED
from nearedge.store.operations import MongoDatabase, operation
from nearedge.store.progress import NO_PROJECT, Tally, recorded, tallies

RATE_WINDOW = timedelta(hours=1)
"""How far back completions count for the rate."""

_FEWEST_FOR_RATE = 2


@dataclass
class PartProgress:
    """One code's sites in one project.

    Parameters
    ----------
    waiting, running
        Jobs in the queue; `waiting` includes those that a batch queue or a worker has reserved.
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


@operation
def progress(
    pad: LaunchPad,
    database: MongoDatabase,
    *,
    project: str | None = None,
    now: datetime | None = None,
) -> list[PartProgress]:
    """Return how far each project's codes are, in the order of their names.

    Parameters
    ----------
    project
        Only this one.
    now
        The moment that the rate is of; default: the present.
    """
    now = now or datetime.now(UTC)
    parts: dict[tuple[str, str], PartProgress] = {}
    recent: dict[tuple[str, str], list[Tally]] = {}

    def part(project: str, code: str) -> PartProgress:
        return parts.setdefault((project, code), PartProgress(project, code))

    for tally in tallies(database, now - RATE_WINDOW, project):
        this = part(tally.project, tally.code)
        recent.setdefault((this.project, this.code), []).append(tally)
        this.cpu_seconds += tally.cpu_seconds
        if tally.state == COMPLETED:
            this.completed += tally.count
        else:
            this.failures[tally.state] = tally.count
            this.failed_cpu_seconds += tally.cpu_seconds
    for (name, code, state), count in _sites_in_queue(pad, project).items():
        this = part(name, code)
        if state == "FIZZLED":
            this.fizzled += count
        elif state == "RUNNING":
            this.running += count
        else:
            this.waiting += count
    for (name, code), count in _recorded_of_fizzled(pad, database, project).items():
        part(name, code).fizzled -= count
    for (name, code), ended in recent.items():
        this = part(name, code)
        this.rate = _per_hour(ended, now)
        if this.rate and this.remaining:
            this.expected_end = now + timedelta(hours=this.remaining / this.rate)
    return [parts[key] for key in sorted(parts)]


def failures_by_name(parts: Iterable[PartProgress]) -> dict[str, int]:
    """Return how often calculations failed by each name, the most frequent first."""
    counts: Counter[str] = Counter()
    for part in parts:
        counts.update(part.failures)
        if part.fizzled:
            counts["fizzled"] += part.fizzled
    return dict(counts.most_common())


def _recorded_of_fizzled(
    pad: LaunchPad, database: MongoDatabase, project: str | None
) -> Counter[tuple[str, str]]:
    """Count, of packs that fizzled, the sites with a record, except one where that is all."""
    counts: Counter[tuple[str, str]] = Counter()
    for stored in pad.fireworks.find(_match(["FIZZLED"], [PACK], project), {f"spec.{SPEC_KEY}": 1}):
        about = stored["spec"][SPEC_KEY]
        ids = ids_of(about)
        key = (str(about.get("project") or NO_PROJECT), str(about.get("code") or "?"))
        counts[key] += max(0, min(recorded(database, ids), len(ids) - 1))
    return counts


def _match(states: Sequence[str], kinds: Sequence[str], project: str | None) -> dict[str, Any]:
    match: dict[str, Any] = {
        "state": {"$in": list(states)},
        f"spec.{SPEC_KEY}.kind": {"$in": list(kinds)},
    }
    if project is not None:
        match[f"spec.{SPEC_KEY}.project"] = project
    return match


def _sites_in_queue(pad: LaunchPad, project: str | None) -> Counter[tuple[str, str, str]]:
    match = _match([*PENDING, "FIZZLED"], ["site", PACK], project)
    about = f"$spec.{SPEC_KEY}"
    ids = f"{about}.calculation_id"
    stages = [
        {"$match": match},
        {
            "$group": {
                "_id": {"project": f"{about}.project", "code": f"{about}.code", "state": "$state"},
                # Sites of a pack that are over count here until the pack is.
                "count": {"$sum": {"$cond": [{"$isArray": ids}, {"$size": ids}, 1]}},
            }
        },
    ]
    counts: Counter[tuple[str, str, str]] = Counter()
    for group in pad.fireworks.aggregate(stages):
        of = group["_id"]
        key = (str(of.get("project") or NO_PROJECT), str(of.get("code") or "?"), str(of["state"]))
        counts[key] = int(group["count"])
    return counts


def _per_hour(ended: Sequence[Tally], now: datetime) -> float | None:
    """Return the rate since the earliest of these, which is the start and counts for nothing."""
    firsts = [tally.first_recent for tally in ended if tally.first_recent is not None]
    count = sum(tally.recent for tally in ended)
    if count < _FEWEST_FOR_RATE or not firsts or min(firsts) >= now:
        return None
    return (count - 1) / ((now - min(firsts)).total_seconds() / 3600.0)
