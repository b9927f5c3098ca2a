"""Ends of jobs that nobody was told of: their workflow was not, or the jobs that wait for them.

A worker that loses its database while it tells them leaves that. What is not over is read all at
once for it: of many numbers, the embedded server takes the square of their number.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

from fireworks.core.launchpad import LaunchPad

from nearedge.launch.queue_state import NOT_COMPLETED
from nearedge.launch.reconcile import FIELDS, UNRECORDED, Finding, finding
from nearedge.store.batches import batches

NOT_OVER = {"state": {"$in": list(NOT_COMPLETED)}}
"""Finds jobs, or workflows."""


def untold(pad: LaunchPad) -> Iterator[Finding]:
    """Yield the jobs whose end their workflow was not told of, and those that wait for nothing."""
    queue = _Queue.read(pad)
    yield from _half_recorded(pad, queue)
    yield from _stuck(pad, queue)


def bring_up_to_date(pad: LaunchPad) -> list[Finding]:
    """Tell workflows and children of the ends of jobs that they were not told of."""
    queue = _Queue.read(pad)
    half_recorded = list(_half_recorded(pad, queue))
    for found in half_recorded:
        pad._refresh_wf(found.fw_id)
    if half_recorded:  # most that waited for one of these has been told by that
        queue = _Queue.read(pad)
    stuck = list(_stuck(pad, queue))
    for found in stuck:
        _refresh_with_parents(pad, found.fw_id)
    return half_recorded + stuck


def not_completed(pad: LaunchPad) -> dict[int, str]:
    """Return the states of all jobs but the completed ones, by number."""
    found = pad.fireworks.find(NOT_OVER, {"fw_id": 1, "state": 1})
    return {row["fw_id"]: row["state"] for row in found}


@dataclass(frozen=True)
class _Queue:
    """What is not over, read in this order.

    Parameters
    ----------
    waiting
        The jobs that wait for parents, by number.
    workflows
        Their states of their jobs, and who waits for whom.
    states
        Of all jobs but the completed ones, by number.
    """

    waiting: dict[int, dict[str, Any]]
    workflows: list[dict[str, Any]]
    states: dict[int, str]

    @classmethod
    def read(cls, pad: LaunchPad) -> Self:
        """Read it."""
        fields = {**FIELDS, "spec._allow_fizzled_parents": 1}
        waiting = {row["fw_id"]: row for row in pad.fireworks.find({"state": "WAITING"}, fields)}
        fields = {"nodes": 1, "fw_states": 1, "parent_links": 1}
        return cls(waiting, list(pad.workflows.find(NOT_OVER, fields)), not_completed(pad))


def _half_recorded(pad: LaunchPad, queue: _Queue) -> Iterator[Finding]:
    """Yield jobs whose end is recorded in them, but not in their workflow, with what they add."""
    states = [workflow.get("fw_states") or {} for workflow in queue.workflows]
    jobs = {int(job) for each in states for job, state in each.items() if state != "COMPLETED"}
    for batch in batches(sorted(jobs.difference(queue.states))):
        ended = {"fw_id": {"$in": batch}, "state": "COMPLETED"}
        for firework in pad.fireworks.find(ended, FIELDS):
            # Asked after the job: whoever writes both holds the lock from before to after.
            not_told = {f"fw_states.{firework['fw_id']}": {"$ne": "COMPLETED"}}
            unlocked = {"nodes": firework["fw_id"], "locked": {"$exists": False}}
            if pad.workflows.find_one({**unlocked, **not_told}, {"_id": 1}):
                yield finding(firework, UNRECORDED)


def _stuck(pad: LaunchPad, queue: _Queue) -> Iterator[Finding]:
    """Yield jobs that wait although every parent has ended."""
    waiting = queue.waiting
    parents: dict[int, list[int]] = {}
    for workflow in queue.workflows:
        links = workflow["parent_links"]
        parents |= {job: links.get(str(job), []) for job in workflow["nodes"] if job in waiting}
    freed = {
        fw_id: above
        for fw_id, above in parents.items()
        if not any(queue.states.get(each) in _blocking(waiting[fw_id]) for each in above)
    }
    # That a parent is none of those may also be because it is not there yet.
    ended: set[int] = set()
    for batch in batches({parent for above in freed.values() for parent in above}):
        over = {"fw_id": {"$in": batch}, "state": {"$in": ["COMPLETED", "FIZZLED"]}}
        ended.update(row["fw_id"] for row in pad.fireworks.find(over, {"fw_id": 1}))
    for fw_id, above in freed.items():
        if ended.issuperset(above):
            yield finding(waiting[fw_id], UNRECORDED)


def _blocking(firework: Mapping[str, Any]) -> set[str]:
    """Return the states of a parent that a waiting job waits for."""
    allowed = firework.get("spec", {}).get("_allow_fizzled_parents")
    return set(NOT_COMPLETED) - ({"FIZZLED"} if allowed else set())


def _refresh_with_parents(pad: LaunchPad, fw_id: int) -> None:
    workflow = pad.workflows.find_one({"nodes": fw_id}, {"parent_links": 1})
    for parent in workflow["parent_links"].get(str(fw_id), []):
        pad._refresh_wf(parent)
    pad._refresh_wf(fw_id)
