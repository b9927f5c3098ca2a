"""What the queue knows of a calculation: whether it is waiting, running, or has fizzled."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from fireworks.core.launchpad import LaunchPad

from nearedge.launch.fireworks import SPEC_KEY

PENDING = ("WAITING", "READY", "RESERVED", "RUNNING", "PAUSED")
"""States of a Firework whose work is still to come, or under way."""

NOT_COMPLETED = (*PENDING, "FIZZLED", "DEFUSED", "ARCHIVED")
"""All states but COMPLETED, of a Firework or a workflow: a campaign is mostly what has completed,
and no index of the embedded server serves "not equal"."""

_CHUNK = 500


@dataclass(frozen=True)
class QueuedJob:
    """A Firework that is about a calculation."""

    fw_id: int
    state: str
    calculation_id: str
    project: str | None
    label: str


def queued(
    pad: LaunchPad, calculation_ids: Iterable[str], *, states: Sequence[str] = PENDING
) -> dict[str, list[QueuedJob]]:
    """Return the Fireworks in `states` that are about each of `calculation_ids`.

    Calculations that no such Firework is about have no entry.
    """
    found: dict[str, list[QueuedJob]] = {}
    for chunk in _chunks(calculation_ids):
        query = {f"spec.{SPEC_KEY}.calculation_id": {"$in": chunk}, "state": {"$in": list(states)}}
        fields = {"_id": 0, "fw_id": 1, "state": 1, f"spec.{SPEC_KEY}": 1}
        for stored in pad.fireworks.find(query, fields):
            about = stored["spec"][SPEC_KEY]
            job = QueuedJob(
                fw_id=stored["fw_id"],
                state=stored["state"],
                calculation_id=about["calculation_id"],
                project=about.get("project"),
                label=about.get("label", ""),
            )
            found.setdefault(job.calculation_id, []).append(job)
    return found


def state_counts(pad: LaunchPad, project: str | None = None) -> dict[str, int]:
    """Return how many Fireworks are in each state; states that none is in are left out.

    Of all projects together, COMPLETED are those that are in no other state: they are not read.
    """
    match: dict[str, object] = {f"spec.{SPEC_KEY}.project": project}
    total = 0
    if project is None:
        match = {"state": {"$in": list(NOT_COMPLETED)}}
        total = pad.fireworks.estimated_document_count()
    pipeline = [{"$match": match}, {"$group": {"_id": "$state", "count": {"$sum": 1}}}]
    counts = {str(row["_id"]): int(row["count"]) for row in pad.fireworks.aggregate(pipeline)}
    if (completed := total - sum(counts.values())) > 0:
        counts["COMPLETED"] = completed
    return counts


def _chunks(values: Iterable[str]) -> Iterator[list[str]]:
    remaining = iter(dict.fromkeys(values))
    while chunk := list(islice(remaining, _CHUNK)):
        yield chunk
