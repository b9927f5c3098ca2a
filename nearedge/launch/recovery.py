"""Put back the work of workers that are gone.

FireWorks' own `detect_lostruns` goes by the age of a ping, and the thread that pings dies for good
in a longer outage of the database, so it restarts jobs that are still running. Here
`nearedge.launch.reconcile` finds out what is true, and what it finds is put back by a change that
holds only if the job still is as it was seen: two that recover at once do no harm.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from fireworks.core.launchpad import LaunchPad

from nearedge.errors import LaunchError
from nearedge.launch.batch.adapter import find_scheduler
from nearedge.launch.conditional import LOCK_SECONDS
from nearedge.launch.failures import fizzled_launches, machine_fault
from nearedge.launch.fencing import FencedLaunchPad
from nearedge.launch.heartbeat import WORKERS, stands_still
from nearedge.launch.identity import WorkerIdentity
from nearedge.launch.liveness import AskScheduler, Liveness
from nearedge.launch.reconcile import (
    ABANDONED,
    FAULTED,
    FIELDS,
    PENDING_CANCELLED,
    UNRECORDED,
    Finding,
    finding,
    last_launch,
    reserved,
    running,
)
from nearedge.launch.scheduler import states_of
from nearedge.launch.submission import withdraw_torn
from nearedge.launch.tries import last_word, set_apart
from nearedge.launch.untold import NOT_OVER, bring_up_to_date, not_completed, untold
from nearedge.settings import get_settings
from nearedge.store.claims import Claims
from nearedge.store.operations import MongoDatabase, operation

RESERVATION_SECONDS = 60.0
"""A checkout takes milliseconds; a Firework that is watched to be reserved for longer, without a
launch, was abandoned. Where it has one, its worker is asked."""

FIREWORKS_FILE = "FW.json"
"""What FireWorks writes into the folder of a launch."""


@dataclass(frozen=True)
class Recovery:
    """What `recover` put right, or `diagnose` would.

    Parameters
    ----------
    findings
        One for each job.
    exhausted
        Jobs that met the same end as often as they may, and were left fizzled by that name.
    """

    findings: tuple[Finding, ...] = ()
    exhausted: tuple[int, ...] = ()

    @property
    def total(self) -> int:
        """Number of jobs concerned."""
        return len({each.fw_id for each in self.findings})

    def ids(self, why: str) -> tuple[int, ...]:
        """Return the jobs of which that was found."""
        return tuple(each.fw_id for each in self.findings if each.why == why)


@operation
def diagnose(pad: LaunchPad, database: MongoDatabase, *, ask: AskScheduler = states_of) -> Recovery:
    """Return what `recover` would put right now, and change nothing of any job."""
    found = {each.fw_id: each for each in _findings(pad, database, ask)}
    return Recovery(tuple(found.values()))


@operation
def recover(
    pad: FencedLaunchPad,
    database: MongoDatabase,
    *,
    tries: int | None = None,
    ask: AskScheduler = states_of,
) -> Recovery:
    """Put back every Firework whose worker is gone, never one whose worker is alive.

    Also puts back those that fizzled because the disk was full, memory ran out, the worker was
    stopped or the database was away, gives up reservations whose batch job is over, and takes out
    what a submitter left torn. Safe to call while workers run, more than once, and by several.

    Parameters
    ----------
    pad, database
        The launchpad, and the store's database.
    tries
        How often a job may meet the same end (its batch job's walltime or failure, a lost worker, a
        fault of the machine) before it is left fizzled; default: as the settings say. What comes
        from outside (an absent database, a stopped worker, a batch job that others shared) it may
        meet ten times as often.
    ask
        How schedulers are asked.
    """
    unlinked = _unlinked(pad)
    release_stale_locks(pad, LOCK_SECONDS)
    if unlinked:
        # Whoever was about to link one of these has done so by now, or has lost its lock.
        pad.fireworks.delete_many({"fw_id": {"$in": list(unlinked & _unlinked(pad))}})
    withdraw_torn(pad)
    Claims(database).remove_dead()
    tries = get_settings().batch.tries if tries is None else tries
    done: list[Finding] = []
    exhausted: list[int] = []
    gone = list(running(pad, database, ask))
    set_apart(pad, gone)
    for found in (*gone, *_of_a_batch_queue(pad, ask), *_faulted(pad)):
        fizzle = last_word(pad, found, tries)
        if _put_right(pad, database, found, fizzle):
            done.append(found)
            exhausted += [found.fw_id] if fizzle is not None else []
    done += _give_up_reservations(pad)
    done += bring_up_to_date(pad)
    return Recovery(tuple(done), tuple(exhausted))


def _findings(pad: LaunchPad, database: MongoDatabase, ask: AskScheduler) -> Iterator[Finding]:
    yield from running(pad, database, ask)
    yield from _of_a_batch_queue(pad, ask)
    yield from _abandoned(pad)
    yield from _faulted(pad)
    yield from untold(pad)


def _of_a_batch_queue(pad: LaunchPad, ask: AskScheduler) -> Iterator[Finding]:
    try:
        scheduler = find_scheduler(get_settings().batch)
    except LaunchError:  # there is none here: whoever can ask it judges its reservations
        return
    yield from reserved(pad, scheduler, ask)


def _put_right(
    pad: FencedLaunchPad, database: MongoDatabase, found: Finding, fizzle: str | None
) -> bool:
    """Act on a finding; return whether it was this call that did."""
    if found.why == UNRECORDED:
        pad._refresh_wf(found.fw_id)
        return True
    if not pad.give_up(found.fw_id, found.launch_id, found.state, found.why, fizzle=fizzle):
        return False
    # Only now, and of that launch alone: another of the job may have begun since it was found.
    if found.launch_id is not None:
        _remove_launch_folder(pad, found.launch_id)
    if found.launch_id is not None and found.why not in (FAULTED, PENDING_CANCELLED):
        _release_claims(pad, database, found.launch_id)
    return True


def _release_claims(pad: LaunchPad, database: MongoDatabase, launch_id: int) -> None:
    """Take the claims of a worker away that is judged gone, though its process may yet live."""
    launch = pad.launches.find_one({"launch_id": launch_id}, {"fworker.name": 1})
    worker = WorkerIdentity.parse(str((launch or {}).get("fworker", {}).get("name", "")))
    if worker is not None:
        Claims(database).remove_of(worker.machine, worker.pid)


@operation
def bring_on(pad: LaunchPad, query: Mapping[str, Any]) -> bool:
    """Return whether a job that `query` finds is neither ready nor under way, but on its way there.

    FireWorks reserves a job, and notes in a second step who runs it; a worker whose database goes
    away in between leaves it reserved by nobody, and one that loses it while it tells the children
    of a job leaves them waiting. To a queue that is looked at for ready jobs alone, both are at
    their end. So what was abandoned is put back here, and what only waits is made ready.
    """
    _give_up_reservations(pad)
    if _coming(pad, query):
        return True
    bring_up_to_date(pad)
    return _coming(pad, query)


def _coming(pad: LaunchPad, query: Mapping[str, Any]) -> bool:
    # By stages, because the embedded server uses no index for the `$or` of a query.
    coming = [{"$match": {"state": {"$in": ["READY", "RESERVED"]}}}, {"$match": dict(query)}]
    return any(
        firework["state"] == "READY" or not _in_a_batch_queue(pad, firework)
        for firework in pad.fireworks.aggregate([*coming, {"$project": FIELDS}])
    )


def _give_up_reservations(pad: FencedLaunchPad) -> list[Finding]:
    """Make what was abandoned ready, unless somebody did so first, and perhaps runs it by now."""
    given_up = []
    for firework in list(_abandoned_reservations(pad)):
        if _made_ready(pad, firework):
            given_up.append(finding(firework, ABANDONED))
            pad.db[WORKERS].delete_one({"_id": f"reserved {firework['fw_id']}"})
    return given_up


def _made_ready(pad: FencedLaunchPad, firework: Mapping[str, Any]) -> bool:
    fw_id = firework["fw_id"]
    launch = last_launch(pad, firework)
    if launch is not None and launch["state"] == "RUNNING":
        # Left with the job, it would be taken for that of whoever runs it next.
        return pad.give_up(fw_id, launch["launch_id"], "RESERVED", ABANDONED)
    as_seen = {"fw_id": fw_id, "state": "RESERVED", "updated_on": firework.get("updated_on")}
    left = [each["_id"] for each in pad.launches.find(_never_linked(firework), {"_id": 1})]
    if not pad.fireworks.update_one(as_seen, {"$set": {"state": "READY"}}).modified_count:
        return False
    pad.launches.delete_many({"_id": {"$in": left}})
    return True


def _remove_launch_folder(pad: LaunchPad, launch_id: int) -> None:
    """Remove the folder of a launch here, if only FireWorks' own file is in it."""
    fields = {"launch_dir": 1, "fworker.name": 1}
    launch = pad.launches.find_one({"launch_id": launch_id}, fields) or {}
    worker = WorkerIdentity.parse(str(launch.get("fworker", {}).get("name", "")))
    if worker is None or not worker.here:
        return
    folder = Path(launch["launch_dir"])
    with contextlib.suppress(OSError):  # gone already, or it holds more
        if {path.name for path in folder.iterdir()} == {FIREWORKS_FILE}:
            (folder / FIREWORKS_FILE).unlink()
        folder.rmdir()


def release_stale_locks(pad: LaunchPad, patience: float = LOCK_SECONDS) -> int:
    """Unlock workflows that stay locked for `patience` seconds; return how many.

    A worker that is killed while it updates a workflow leaves the lock behind, and FireWorks then
    refuses every later update (materialsproject/fireworks#490).
    """
    query: dict[str, Any] = {"locked": {"$exists": True}}
    locked = {row["_id"]: row["locked"] for row in pad.workflows.find(query, {"locked": 1})}
    deadline = time.monotonic() + patience
    while locked and time.monotonic() < deadline:
        time.sleep(0.1)
        rows = pad.workflows.find({"_id": {"$in": list(locked)}, **query}, {"locked": 1})
        still = {row["_id"]: row["locked"] for row in rows}
        # Of another token, it is another's by now, who has held it for less.
        locked = {each: token for each, token in locked.items() if still.get(each) == token}
    released = 0
    for each, token in locked.items():
        as_seen = {"_id": each, "locked": token}
        left = pad.workflows.update_one(as_seen, {"$unset": {"locked": True}})
        released += int(left.modified_count)
    return released


def _abandoned(pad: LaunchPad) -> Iterator[Finding]:
    return (finding(firework, ABANDONED) for firework in _abandoned_reservations(pad))


def _abandoned_reservations(pad: LaunchPad) -> Iterator[dict[str, Any]]:
    for firework in pad.fireworks.find({"state": "RESERVED"}, {**FIELDS, "archived_launches": 1}):
        if _in_a_batch_queue(pad, firework):
            continue
        if (worker := _taker(pad, firework)) is not None:
            if Liveness.of(pad.db, pad.db, [worker]).gone(worker) is not None:
                yield firework
            continue
        # Whose clock `updated_on` is of is not known; that it does not change can be watched.
        watched, since = f"reserved {firework['fw_id']}", str(firework.get("updated_on"))
        if stands_still(pad.db, watched, since, timedelta(seconds=RESERVATION_SECONDS)):
            yield firework


def _taker(pad: LaunchPad, firework: Mapping[str, Any]) -> str | None:
    """Return the worker that has a launch of a reserved job already, if one has."""
    launch = last_launch(pad, firework)
    if launch is None or launch["state"] != "RUNNING":
        launch = pad.launches.find_one(_never_linked(firework), {"fworker.name": 1})
    return None if launch is None else str(launch["fworker"]["name"])


def _never_linked(firework: Mapping[str, Any]) -> dict[str, Any]:
    """Return the query for launches that a worker wrote and did not get to tell the job of."""
    known = [*firework.get("launches", ()), *firework.get("archived_launches", ())]
    under_way = {"state": {"$in": ["RUNNING", "RESERVED"]}}
    return {"fw_id": firework["fw_id"], "launch_id": {"$nin": known}, **under_way}


def _in_a_batch_queue(pad: LaunchPad, firework: Mapping[str, Any]) -> bool:
    """Return whether a launch is itself RESERVED: that queue is asked elsewhere."""
    launch = last_launch(pad, firework)
    return launch is not None and launch["state"] == "RESERVED"


def _faulted(pad: LaunchPad) -> Iterator[Finding]:
    for firework, launch in fizzled_launches(pad):
        if launch is not None and machine_fault(launch):
            yield finding(firework, FAULTED, launch["launch_id"])


def _unlinked(pad: LaunchPad) -> set[int]:
    """Return the jobs that are in no workflow; a submission inserts its workflows first."""
    jobs = set(not_completed(pad))
    for workflow in pad.workflows.find(NOT_OVER, {"nodes": 1}):
        jobs.difference_update(workflow["nodes"])
    return {each for each in jobs if pad.workflows.find_one({"nodes": each}, {"_id": 1}) is None}
