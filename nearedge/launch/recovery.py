"""Put back the work of workers that are gone.

FireWorks' own `detect_lostruns` goes by the age of a ping, and the thread that pings dies for good
in a longer outage of the database, so it restarts jobs that are still running (FIELD.md). Here the
worker's process is asked: its number and start are part of every launch. A worker on another
machine cannot be asked; its calculation is given up only when it is old and nobody holds a claim on
it, whose heartbeat survives outages.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from fireworks.core.launchpad import LaunchPad

from nearedge.launch.fireworks import SPEC_KEY
from nearedge.launch.identity import FOREIGN_GRACE, WorkerIdentity
from nearedge.launch.submission import withdraw_torn
from nearedge.store.claims import Claims
from nearedge.store.operations import MongoDatabase, operation

RESERVATION_SECONDS = 60.0
"""A checkout takes milliseconds; a Firework reserved for longer without a launch was abandoned."""

FIREWORKS_FILE = "FW.json"
"""What FireWorks writes into the folder of a launch."""

LOCK_SECONDS = 5.0
"""A workflow's lock is held for milliseconds; one held this long belongs to a killed worker."""

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
_NO_EXCEPTION = ("Traceback", "During handling", "The above exception")
_EXCEPTION_LINE = re.compile(r"^[A-Za-z_][\w.]*(: |$)")


@dataclass(frozen=True)
class Recovery:
    """What `recover` put back, as ids of Fireworks.

    Parameters
    ----------
    lost
        Were marked as running by a worker that is gone.
    abandoned
        Were reserved by a worker that never started them.
    faulted
        Fizzled because of the machine or the database, not of the calculation.
    unfinished
        Had ended, but the worker was killed before the queue was brought up to date.
    """

    lost: tuple[int, ...] = ()
    abandoned: tuple[int, ...] = ()
    faulted: tuple[int, ...] = ()
    unfinished: tuple[int, ...] = ()

    @property
    def total(self) -> int:
        """Number of Fireworks concerned."""
        return len({*self.lost, *self.abandoned, *self.faulted, *self.unfinished})


@operation
def diagnose(pad: LaunchPad, database: MongoDatabase) -> Recovery:
    """Return what `recover` would put back now, and change nothing."""
    ended, lost = _running(pad, database)
    return Recovery(
        lost=tuple(lost),
        abandoned=tuple(firework["fw_id"] for firework in _abandoned(pad)),
        faulted=tuple(_faulted(pad)),
        unfinished=(*ended, *_stuck(pad)),
    )


@operation
def recover(pad: LaunchPad, database: MongoDatabase) -> Recovery:
    """Put back every Firework whose worker is gone, never one whose worker is alive.

    Also puts back those that fizzled because the disk was full, memory ran out, the worker was
    stopped or the database was away, and takes out what a submitter left torn. Safe to call while
    workers run, and more than once.
    """
    release_stale_locks(pad, LOCK_SECONDS)
    withdraw_torn(pad)
    Claims(database).remove_dead()
    ended, lost = _running(pad, database)
    for fw_id in ended:
        pad._refresh_wf(fw_id)
    abandoned, faulted = _give_up_reservations(pad), list(_faulted(pad))
    for fw_id in (*lost, *faulted):
        _remove_launch_folders(pad, fw_id)
        pad.rerun_fw(fw_id)
    stuck = list(_stuck(pad))
    for fw_id in stuck:
        _refresh_with_parents(pad, fw_id)
    return Recovery(tuple(lost), tuple(abandoned), tuple(faulted), (*ended, *stuck))


@operation
def bring_on(pad: LaunchPad, query: Mapping[str, Any]) -> bool:
    """Return whether a job that `query` finds is neither ready nor under way, but on its way there.

    FireWorks reserves a job, and notes in a second step who runs it; a worker whose database goes
    away in between leaves it reserved by nobody, and one that loses it while it tells the children
    of a job leaves them waiting. To a queue that is looked at for ready jobs alone, both are at
    their end. So what was abandoned is put back here, and what only waits is made ready.
    """
    _give_up_reservations(pad)
    for fw_id in list(_stuck(pad)):
        _refresh_with_parents(pad, fw_id)
    coming = {**query, "state": {"$in": ["READY", "RESERVED"]}}
    return any(
        firework["state"] == "READY" or not _in_a_batch_queue(pad, firework)
        for firework in pad.fireworks.find(coming, {**_FIELDS, "state": 1})
    )


def _give_up_reservations(pad: LaunchPad) -> list[int]:
    """Make what was abandoned ready, unless somebody did so first, and perhaps runs it by now."""
    given_up = []
    for firework in list(_abandoned(pad)):
        as_seen = {"fw_id": firework["fw_id"], "state": "RESERVED",
                   "updated_on": firework.get("updated_on")}  # fmt: skip
        if pad.fireworks.update_one(as_seen, {"$set": {"state": "READY"}}).modified_count:
            given_up.append(firework["fw_id"])
    return given_up


def _remove_launch_folders(pad: LaunchPad, fw_id: int) -> None:
    """Remove the folders of a Firework's launches here, if only FireWorks' own file is in them."""
    for launch in pad.launches.find({"fw_id": fw_id}, {"launch_dir": 1, "fworker.name": 1}):
        worker = WorkerIdentity.parse(launch.get("fworker", {}).get("name", ""))
        if worker is None or not worker.here:
            continue
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
    locked = {row["_id"] for row in pad.workflows.find({"locked": {"$exists": True}}, {"_id": 1})}
    deadline = time.monotonic() + patience
    while locked and time.monotonic() < deadline:
        time.sleep(0.1)
        query = {"_id": {"$in": list(locked)}, "locked": {"$exists": True}}
        locked &= {row["_id"] for row in pad.workflows.find(query, {"_id": 1})}
    if locked:
        pad.workflows.update_many({"_id": {"$in": list(locked)}}, {"$unset": {"locked": True}})
    return len(locked)


def machine_fault(launch: Mapping[str, Any]) -> bool:
    """Return whether a launch fizzled by an error that is the machine's, not the job's."""
    return _MACHINE_FAULT.match(_last_error(launch)) is not None


def database_fault(launch: Mapping[str, Any]) -> bool:
    """Return whether a launch fizzled because the database was away."""
    return _DATABASE_FAULT.match(_last_error(launch)) is not None


def _last_error(launch: Mapping[str, Any]) -> str:
    """Return the line of a launch's stored traceback that names the error it ended with."""
    stored = (launch.get("action") or {}).get("stored_data") or {}
    last = ""
    for line in str((stored.get("_exception") or {}).get("_stacktrace", "")).splitlines():
        if _EXCEPTION_LINE.match(line) and not line.startswith(_NO_EXCEPTION):
            last = line
    return last


def _running(pad: LaunchPad, database: MongoDatabase) -> tuple[list[int], list[int]]:
    """Return the Fireworks marked as running that have ended, and those whose worker is gone."""
    ended: list[int] = []
    lost: list[int] = []
    claimed: set[str] | None = None
    for firework in pad.fireworks.find({"state": "RUNNING"}, _FIELDS):
        launch = _last_launch(pad, firework)
        if launch is None:
            lost.append(firework["fw_id"])
            continue
        worker = WorkerIdentity.parse(launch.get("fworker", {}).get("name", ""))
        if worker is not None and worker.here:
            gone = not worker.alive()
        else:
            claimed = _claimed(database) if claimed is None else claimed
            gone = _age(launch.get("time_start")) > FOREIGN_GRACE and not _may_take_hours(
                firework["spec"].get(SPEC_KEY, {}), claimed
            )
        if gone:
            over = launch["state"] in ("COMPLETED", "FIZZLED")
            (ended if over else lost).append(firework["fw_id"])
    return ended, lost


def _may_take_hours(about: Mapping[str, Any], claimed: set[str]) -> bool:
    """Return whether a job of another machine may still be at work after the grace.

    A calculation shows it by its claim; averages and decisions take milliseconds; training and the
    like show nothing, so only a worker on their own machine puts them back.
    """
    if "calculation_id" in about:
        return about["calculation_id"] in claimed
    return about.get("kind") not in ("average", "converge")


def _claimed(database: MongoDatabase) -> set[str]:
    """Return the calculations whose owner showed a sign of life within the grace."""
    return {
        claim.calculation_id
        for claim in Claims(database).live()
        if claim.owner != "dead" and _age(claim.last_beat) < FOREIGN_GRACE
    }


def _abandoned(pad: LaunchPad) -> Iterator[dict[str, Any]]:
    for firework in pad.fireworks.find({"state": "RESERVED"}, _FIELDS):
        if _in_a_batch_queue(pad, firework):
            continue
        if _age(firework.get("updated_on")) > timedelta(seconds=RESERVATION_SECONDS):
            yield firework


def _in_a_batch_queue(pad: LaunchPad, firework: Mapping[str, Any]) -> bool:
    """Return whether a launch is itself RESERVED: that queue is asked elsewhere."""
    launch = _last_launch(pad, firework)
    return launch is not None and launch["state"] == "RESERVED"


def _faulted(pad: LaunchPad) -> Iterator[int]:
    for firework, launch in _last_launches_of_fizzled(pad):
        if launch is not None and machine_fault(launch):
            yield firework["fw_id"]


@dataclass(frozen=True)
class Fizzled:
    """A job that ended by an error of its own; `error` is the line that names it."""

    kind: str
    label: str
    error: str


def fizzled(pad: LaunchPad) -> Iterator[Fizzled]:
    """Yield the jobs that `recover` leaves as they are: they need their command again."""
    for firework, launch in _last_launches_of_fizzled(pad):
        if launch is None or not machine_fault(launch):
            about = firework.get("spec", {}).get(SPEC_KEY, {})
            kind = "converge" if "convergence_id" in about else about.get("kind", "job")
            error = "" if launch is None else _last_error(launch)
            yield Fizzled(kind, about.get("label", f"job {firework['fw_id']}"), error)


def _last_launches_of_fizzled(
    pad: LaunchPad,
) -> Iterator[tuple[dict[str, Any], dict[str, Any] | None]]:
    for firework in pad.fireworks.find({"state": "FIZZLED"}, _FIELDS):
        yield firework, _last_launch(pad, firework)


def _stuck(pad: LaunchPad) -> Iterator[int]:
    """Yield Fireworks that wait although every parent has ended."""
    fields = {"fw_id": 1, "spec._allow_fizzled_parents": 1}
    waiting = {
        row["fw_id"]: bool(row["spec"].get("_allow_fizzled_parents"))
        for row in pad.fireworks.find({"state": "WAITING"}, fields)
    }
    if not waiting:
        return
    parents: dict[int, list[int]] = {}
    for workflow in pad.workflows.find({"nodes": {"$in": list(waiting)}}, {"parent_links": 1}):
        for child, above in workflow["parent_links"].items():
            parents[int(child)] = above
    wanted = list({parent for fw_id in waiting for parent in parents.get(fw_id, [])})
    ended = pad.fireworks.find(
        {"fw_id": {"$in": wanted}, "state": {"$in": ["COMPLETED", "FIZZLED"]}},
        {"fw_id": 1, "state": 1},
    )
    states = {row["fw_id"]: row["state"] for row in ended}
    for fw_id, fizzled_allowed in waiting.items():
        enough = ("COMPLETED", "FIZZLED") if fizzled_allowed else ("COMPLETED",)
        if all(states.get(parent) in enough for parent in parents.get(fw_id, [])):
            yield fw_id


def _refresh_with_parents(pad: LaunchPad, fw_id: int) -> None:
    workflow = pad.workflows.find_one({"nodes": fw_id}, {"parent_links": 1})
    for parent in workflow["parent_links"].get(str(fw_id), []):
        pad._refresh_wf(parent)
    pad._refresh_wf(fw_id)


_FIELDS = {"fw_id": 1, "launches": 1, "updated_on": 1, f"spec.{SPEC_KEY}": 1}


def _last_launch(pad: LaunchPad, firework: Mapping[str, Any]) -> dict[str, Any] | None:
    launches = firework.get("launches") or []
    if not launches:
        return None
    found: dict[str, Any] | None = pad.launches.find_one(
        {"launch_id": {"$in": launches}}, sort=[("launch_id", -1)]
    )
    return found


def _age(moment: datetime | str | None) -> timedelta:
    """Return how long ago `moment` was; FireWorks stores both datetimes and ISO strings, in UTC."""
    if moment is None:
        return timedelta.max
    if isinstance(moment, str):
        moment = datetime.fromisoformat(moment)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return datetime.now(UTC) - moment
