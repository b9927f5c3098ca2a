"""What the launchpad says, compared with what is true: the processes, and the batch jobs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from fireworks.core.launchpad import LaunchPad
from pymongo.errors import DuplicateKeyError

from nearedge.launch.fireworks import SPEC_KEY
from nearedge.launch.heartbeat import CLUSTER, WORKERS, stands_still
from nearedge.launch.liveness import AskScheduler, Liveness
from nearedge.launch.scheduler import JobState, cluster_of, states_of
from nearedge.store.operations import MongoDatabase, server_time

UNRECORDED = "unrecorded"
ABANDONED = "abandoned"
FAULTED = "faulted"
PENDING_CANCELLED = "pending_cancelled"

MEANINGS = {
    "lost": "marked as running by a worker that is gone",
    "cancelled": "in a batch job that was cancelled",
    "timed_out": "in a batch job that met its walltime",
    "node_failed": "on a node that failed",
    "job_failed": "in a batch job that failed",
    PENDING_CANCELLED: "reserved for a batch job that will never start it",
    ABANDONED: "reserved by a worker that never started it",
    FAULTED: "fizzled by the fault of the machine or the database",
    UNRECORDED: "ended, and not recorded as such",
}
"""Every name of a finding, and what it says of the jobs."""

FIELDS = {"fw_id": 1, "state": 1, "launches": 1, "updated_on": 1, f"spec.{SPEC_KEY}": 1}

SCHEDULER = "scheduler"
"""Field of a reservation: whose number it holds, such as ``slurm``; older ones do not say."""

RESERVATION_ID = "reservation_id"
"""Field of a reservation, FireWorks' own: the number of its batch job, once that is submitted."""

FOLDER = "folder"
"""Field of a reservation: its batch job's folder, which stays that also once its launch has one."""

_TURN = "turn to reconcile"


@dataclass(frozen=True)
class Finding:
    """A job about which the launchpad is wrong.

    Parameters
    ----------
    fw_id, label
        The job.
    why
        One of `MEANINGS`.
    state, launch_id
        What the launchpad said, and the launch it meant; None if there is none.
    batch
        The batch job, such as ``slurm:1234``, if there is one.
    """

    fw_id: int
    label: str
    why: str
    state: str
    launch_id: int | None = None
    batch: str | None = None


def running(
    pad: LaunchPad, database: MongoDatabase, ask: AskScheduler = states_of
) -> Iterator[Finding]:
    """Yield the jobs marked as running whose worker is gone."""
    launched = [
        (firework, last_launch(pad, firework))
        for firework in pad.fireworks.find({"state": "RUNNING"}, FIELDS)
    ]
    workers = {_worker(launch) for _, launch in launched if launch is not None}
    liveness = Liveness.of(pad.db, database, workers, ask)
    for firework, launch in launched:
        if launch is None:
            yield finding(firework, "lost")
            continue
        gone = liveness.gone(_worker(launch))
        if gone is not None:
            over = launch["state"] in ("COMPLETED", "FIZZLED")
            batch = _worker(launch).split("|")[4:]
            yield finding(
                firework,
                UNRECORDED if over else str(gone),
                launch["launch_id"],
                batch[0] if batch else None,
            )


def reserved(pad: LaunchPad, scheduler: str, ask: AskScheduler = states_of) -> Iterator[Finding]:
    """Yield the jobs reserved for a batch job that is over, or long forgotten by its scheduler.

    Those of another scheduler or cluster are left to whoever can ask it; while this one does not
    say what it is called, those of any named one.

    Parameters
    ----------
    scheduler
        Whose numbers the reservations hold: ``slurm``, ``pbs`` or ``sge``.
    """
    found: dict[int, tuple[dict[str, Any], str]] = {}
    clusters: dict[int, str] = {}
    for firework in pad.fireworks.find({"state": "RESERVED"}, FIELDS):
        launch = last_launch(pad, firework)
        if launch is not None and launch["state"] == "RESERVED":
            number = reservation_number(launch)
            if number is not None and noted(launch, SCHEDULER) in (None, scheduler):
                found[launch["launch_id"]] = (firework, f"{scheduler}:{number}")
            if (cluster := noted(launch, CLUSTER)) is not None:
                clusters[launch["launch_id"]] = cluster
    here = cluster_of(scheduler) if clusters else None
    waiting = {i: each for i, each in found.items() if clusters.get(i, here) == here}
    states = ask({batch for _, batch in waiting.values()}) if waiting else {}
    for launch_id, (firework, batch) in waiting.items():
        state = states[batch]
        forgotten = state is JobState.FORGOTTEN and stands_still(
            pad.db, f"reservation {launch_id}", batch
        )
        if state.over or forgotten:
            yield finding(firework, PENDING_CANCELLED, launch_id, batch)


def finding(
    firework: Mapping[str, Any], why: str, launch_id: int | None = None, batch: str | None = None
) -> Finding:
    """Return what was found out about a stored Firework."""
    fw_id = int(firework["fw_id"])
    about = firework.get("spec", {}).get(SPEC_KEY, {})
    label = str(about.get("label", f"job {fw_id}"))
    return Finding(fw_id, label, why, str(firework["state"]), launch_id, batch)


def last_launch(pad: LaunchPad, firework: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the newest launch of a stored Firework, or None."""
    launches = firework.get("launches") or []
    if not launches:
        return None
    found: dict[str, Any] | None = pad.launches.find_one({"launch_id": max(launches)})
    return found


def reservation_number(launch: Mapping[str, Any]) -> str | None:
    """Return the scheduler's number of a launch that is reserved for a batch job, once it is."""
    return noted(launch, RESERVATION_ID)


def take_turn(queue: MongoDatabase, seconds: float) -> bool:
    """Return whether it is time to reconcile, and nobody else does: so of many workers one asks."""
    workers = queue[WORKERS]
    now = server_time(queue)
    stored = workers.find_one({"_id": _TURN})
    if stored is None:
        try:
            workers.insert_one({"_id": _TURN, "at": now})
        except DuplicateKeyError:
            return False
        return True
    age = now - stored["at"].replace(tzinfo=now.tzinfo)
    if age.total_seconds() < seconds:
        return False
    as_seen = {"_id": _TURN, "at": stored["at"]}
    return workers.update_one(as_seen, {"$set": {"at": now}}).matched_count == 1


def noted(launch: Mapping[str, Any], name: str) -> str | None:
    """Return what a launch's history says last of its reservation, or None."""
    found = [each[name] for each in launch["state_history"] if name in each]
    return str(found[-1]) if found else None


def _worker(launch: Mapping[str, Any]) -> str:
    return str((launch.get("fworker") or {}).get("name", ""))
