"""Pilots: batch jobs that work the queue with several workers until their time is nearly over."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from datetime import UTC, datetime

from fireworks.core.launchpad import LaunchPad
from pymongo.errors import PyMongoError

from nearedge.errors import DatabaseError, LaunchError
from nearedge.launch.batch.classes import FOR_PILOTS, LIGHT, of_classes
from nearedge.launch.batch.reservation import BatchJob, SubmissionRefused
from nearedge.launch.batch.script import Task, job_of, new_job_folder, submit_script
from nearedge.launch.fireworks import launchpad
from nearedge.launch.heartbeat import CLUSTER
from nearedge.launch.identity import batch_job
from nearedge.launch.pool import PoolSummary, run_workers
from nearedge.launch.scheduler import JobState, cluster_of, own_cluster, states_of
from nearedge.launch.window import Window
from nearedge.queue_settings import Resources, SchedulerName
from nearedge.settings import Settings
from nearedge.store.operations import database_errors, operation

PILOTS = "pilots"
"""Collection of pilots, in the launchpad's database."""

BATCH = "batch"
"""Field of a pilot: its batch job, such as ``slurm:1234``; of an older release it is the `_id`."""

ALIVE = {"state": {"$in": ["submitted", "running"]}}


def capacity(resources: Resources) -> int:
    """Return how many runs of the usual length one pilot gets done."""
    time = resources.walltime - resources.margin
    return resources.tasks * max(1, time // resources.expected)


@database_errors()  # not repeated: a second time would submit a second pilot
def submit_pilot(
    pad: LaunchPad,
    job_class: str,
    scheduler: SchedulerName,
    settings: Settings,
    project: str | None = None,
) -> BatchJob:
    """Submit a pilot for a class of work and enter it into the database.

    Raises
    ------
    SubmissionRefused
        If the scheduler does not take it.
    """
    resources = settings.batch.resources(job_class)
    folder = new_job_folder(settings)
    try:
        number = submit_script(
            job_of(pilot_task(job_class, project), scheduler, resources, settings),
            scheduler,
            folder,
        )
    except LaunchError as error:
        raise SubmissionRefused(job_class, str(error)) from None
    batch_id = f"{scheduler}:{number}"
    cluster = cluster_of(scheduler)
    row = {
        BATCH: batch_id,
        "submitted": datetime.now(UTC),
        "project": project,
        "codes": [job_class],
        "cores": resources.tasks * resources.threads,
        "workers": resources.tasks,
        "walltime": resources.walltime,
        "folder": str(folder),
        CLUSTER: cluster,
    }
    key = _key(cluster, batch_id)
    # A scheduler may begin its numbers anew. What has ended without being submitted is this very
    # pilot, if it was faster.
    earlier = {"_id": key, "state": "ended", "submitted": {"$exists": True}}
    pad.db[PILOTS].delete_one(earlier)
    # It may run already: what it has entered itself stays.
    pad.db[PILOTS].update_one(
        {"_id": key}, {"$set": row, "$setOnInsert": {"state": "submitted"}}, upsert=True
    )
    return BatchJob(batch_id, job_class, folder, f"pilot with {resources.tasks} workers")


def pilot_task(job_class: str, project: str | None) -> Task:
    """Return what a pilot's batch job is for."""
    return Task(job_class, None, project, f"nearedge-{job_class}")


@operation
def pilots_alive(
    pad: LaunchPad, scheduler: SchedulerName, project: str | None = None
) -> dict[str, int]:
    """Return how many pilots of each class wait or run for a project (None: for all).

    The scheduler is asked; one that it does not know any more has ended, and is entered as such.
    One of which it says nothing counts as alive: no second one is started in its place. Those of
    another scheduler are left out, and of another cluster, which may give the same numbers;
    while ours does not say what it is called, those of a named one count, and are not asked about.
    """
    found = pad.db[PILOTS].find(ALIVE, {"codes": 1, "project": 1, CLUSTER: 1, BATCH: 1})
    rows = [row for row in found if _batch_of(row).startswith(f"{scheduler}:")]
    here = cluster_of(scheduler) if any(row.get(CLUSTER) for row in rows) else None
    if here is not None:
        rows = [row for row in rows if row.get(CLUSTER) in (None, here)]
    ours = [_batch_of(row) for row in rows if row.get(CLUSTER) in (None, here)]
    states = states_of(ours) if ours else {}
    alive: dict[str, int] = {}
    for row in rows:
        asked = row.get(CLUSTER) in (None, here)
        state = states[_batch_of(row)] if asked else JobState.UNKNOWN
        if state.over or state is JobState.FORGOTTEN:
            ended = {"state": "ended", "outcome": str(state), "ended": datetime.now(UTC)}
            pad.db[PILOTS].update_one({"_id": row["_id"], **ALIVE}, {"$set": ended})
        elif row["project"] == project:
            for name in row["codes"]:
                alive[name] = alive.get(name, 0) + 1
    return alive


def run_pilot(
    settings: Settings, job_class: str, project: str | None, workers: int, window: Window
) -> PoolSummary:
    """Work the queue until nothing is ready or `window` closes; light work is taken along."""
    pad = launchpad(settings)
    key = _own_key(pad)
    # Its submitter may have died before it could enter it.
    about = {"project": project, "codes": [job_class], "workers": workers}
    _enter(pad, key, {"state": "running", "started": datetime.now(UTC), **about})
    summary = PoolSummary(interrupted=True)
    try:
        summary = run_workers(
            workers,
            settings,
            query=of_classes([job_class, LIGHT], project) | FOR_PILOTS,
            window=window,
        )
    finally:
        done = {
            "state": "ended",
            "ended": datetime.now(UTC),
            "completed": summary.completed,
            "failed": summary.failed,
            "put_back": summary.put_back,
        }
        # It may be the database that ended the pilot.
        with contextlib.suppress(PyMongoError, DatabaseError):
            _enter(launchpad(settings), key, done)
    return summary


def _enter(pad: LaunchPad, key: str | None, fields: Mapping[str, object]) -> None:
    """Enter what this process, a pilot, says of itself; outside of a batch job nothing."""
    if key is None:
        return
    of_itself = {BATCH: batch_job(), CLUSTER: own_cluster()}
    pad.db[PILOTS].update_one(
        {"_id": key}, {"$set": dict(fields), "$setOnInsert": of_itself}, upsert=True
    )


def _own_key(pad: LaunchPad) -> str | None:
    """Return the `_id` of the row of this process, a pilot; None outside of a batch job."""
    batch, cluster = batch_job(), own_cluster()
    if batch is None:
        return None
    key = _key(cluster, batch)
    # PBS names its server in the environment, and not always when a job is submitted. A row has no
    # cluster in its `_id` if it is of an older release, or if Slurm did not say it then.
    other = {"_id": {"$in": [batch, batch.split(".")[0]]}, CLUSTER: {"$in": [None, cluster]}}
    if pad.db[PILOTS].find_one({"_id": key}, {"_id": 1}) is not None:
        return key
    known = pad.db[PILOTS].find_one({**other, **ALIVE}, {"_id": 1})
    return key if known is None else str(known["_id"])


def _key(cluster: str | None, batch: str) -> str:
    """Return the `_id` of a pilot: two clusters may give the same numbers."""
    return batch if cluster is None else f"{cluster}/{batch}"


def _batch_of(row: Mapping[str, object]) -> str:
    return str(row.get(BATCH, row["_id"]))
