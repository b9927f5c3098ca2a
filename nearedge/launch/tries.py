"""How often a job may meet the same end, and who is to blame where several met it together.

A pilot's workers share the memory of one batch job. Where the scheduler ends that for want of it,
nothing says which of the jobs took too much: each of them is set apart, in a batch job of its own,
and what happens to it there is counted as its own. The end that they shared is forgiven them as an
outage is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from fireworks.core.launchpad import LaunchPad

from nearedge.launch.batch.classes import LIGHT_KINDS, SET_APART
from nearedge.launch.failures import from_outside, last_error
from nearedge.launch.fencing import GIVEN_UP
from nearedge.launch.fireworks import SPEC_KEY
from nearedge.launch.liveness import Gone
from nearedge.launch.reconcile import FAULTED, Finding
from nearedge.launch.token import PROGRESSED

SHARED = "shared"
"""Field of a launch that was given up together with others of its batch job."""

PATIENCE = 10
"""How many times as often as `tries` a job may be stopped or lose its database: an outage is no
job's fault, but a job may look for a database of its own that never answers."""

_LEFT_BY = "reconcile"
"""What a launch names as its worker that `FencedLaunchPad.give_up` left fizzled."""

_TOGETHER = (Gone.JOB_FAILED, Gone.LOST)
"""Ends that one job may bring about for all that run beside it."""

_LAST_WORDS: dict[str, str] = {
    Gone.TIMED_OUT: "nearedge.launch.worker.WalltimeExceeded: {label} met the walltime of its "
    "batch job {times} times: give its code a longer one in the section `queue` of the settings.",
    Gone.JOB_FAILED: "nearedge.launch.recovery.BatchJobFailed: {times} batch jobs failed while "
    "they ran {label}, most likely for want of memory: give its code more in the section `queue` "
    "of the settings, and have it run again.",
    Gone.LOST: "nearedge.launch.recovery.WorkerLost: {times} workers were lost while they ran "
    "{label}, killed perhaps because it needs more memory than there is: run it where there is "
    "more, or fewer workers side by side.",
    Gone.CANCELLED: "nearedge.launch.recovery.BatchJobCancelled: {times} batch jobs ended by a "
    "signal while they ran {label}: if nobody deleted them, give its code more memory in the "
    "section `queue` of the settings, and have it run again.",
    FAULTED: "nearedge.launch.recovery.MachineFault: the machine failed {label} {times} times, at "
    "last by {error!r}: mend that, and have it run again.",
}
"""What a job is left with that met the same end as often as it may; other ends are not counted:
they are a person's doing, or a node's."""


def last_word(pad: LaunchPad, found: Finding, tries: int) -> str | None:
    """Return the error that a job is left with which met the same end too often, or None."""
    if found.why not in _LAST_WORDS or (found.why == Gone.CANCELLED and not _by_any_kill(found)):
        return None
    own = outside = 0
    error = ""
    # One that was left fizzled and is run again by its command has all its tries again.
    for launch in pad.launches.find({"fw_id": found.fw_id}, sort=[("launch_id", -1)]):
        if launch["fworker"]["name"] == _LEFT_BY:
            break
        counted = launch["launch_id"] == found.launch_id or launch.get(GIVEN_UP) == found.why
        # One that left less to do for the next is no failure of the job, which so comes to its end.
        if counted and PROGRESSED not in launch:
            by_a_person = found.why == Gone.CANCELLED
            forgiven = by_a_person or from_outside(launch) or SHARED in launch
            own, outside = own + (not forgiven), outside + forgiven
            error = error or last_error(launch)
    if own < tries and outside < PATIENCE * tries:
        return None
    return _LAST_WORDS[found.why].format(label=found.label, times=own + outside, error=error)


def _by_any_kill(found: Finding) -> bool:
    """Whether a job may be called cancelled which the machine killed, for want of memory."""
    return (found.batch or "").startswith("sge:")


def set_apart(pad: LaunchPad, findings: Iterable[Finding]) -> None:
    """Mark the jobs that were lost together with others of their batch job.

    Parameters
    ----------
    findings
        What was found at one look, before anything is done about it.
    """
    together: dict[str, list[Finding]] = {}
    for found in findings:
        if found.why in _TOGETHER and found.batch is not None and found.launch_id is not None:
            together.setdefault(found.batch, []).append(found)
    for batch, lost in together.items():
        if len(lost) == 1 and not _others_lost(pad, batch, lost[0]):
            continue
        for found in lost:
            launch = {"launch_id": found.launch_id, GIVEN_UP: {"$exists": False}}
            pad.launches.update_one(launch, {"$set": {SHARED: True}})
            job = {"fw_id": found.fw_id, "launches": found.launch_id}
            heavy = {f"spec.{SPEC_KEY}.kind": {"$nin": list(LIGHT_KINDS)}}
            pad.fireworks.update_one({**job, **heavy}, {"$set": {SET_APART: True}})


def _others_lost(pad: LaunchPad, batch: str, found: Finding) -> bool:
    """Return whether other jobs of that batch job were put back already, or are yet to be."""
    of_others = {
        "fw_id": {"$ne": found.fw_id},
        "fworker.name": {"$regex": re.escape(f"|{batch}") + "$"},
    }
    lost: list[dict[str, Any]] = [{GIVEN_UP: {"$in": list(_TOGETHER)}}]
    if found.why == Gone.JOB_FAILED:  # it is over: whatever runs in it is lost, and dies just now
        lost.append({"state": "RUNNING", GIVEN_UP: {"$exists": False}})
    return any(pad.launches.find_one({**of_others, **each}, {"_id": 1}) for each in lost)
