"""One batch job for one Firework: FireWorks' reservation mode.

As FireWorks' own queue launcher does, a Firework is reserved first, then its script is submitted,
then the job's number is noted in its launch; which scheduler it is for, and of which cluster, the
launch says before the script is submitted. A submitter that is killed in between leaves a
reservation without a number: `settle_half_made` finds the job of such a one by its folder.
"""

from __future__ import annotations

import getpass
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fireworks import Firework
from fireworks.core.fworker import FWorker
from fireworks.core.launchpad import LaunchPad

from nearedge.errors import LaunchError
from nearedge.launch.batch.adapter import ASK_SECONDS
from nearedge.launch.batch.classes import class_of, of_classes
from nearedge.launch.batch.script import Task, job_of, new_job_folder, submit_script
from nearedge.launch.fencing import GIVEN_UP, FencedLaunchPad
from nearedge.launch.heartbeat import CLUSTER, stands_still
from nearedge.launch.identity import WorkerIdentity
from nearedge.launch.reconcile import (
    FOLDER,
    RESERVATION_ID,
    SCHEDULER,
    noted,
    reservation_number,
)
from nearedge.launch.scheduler import cluster_of
from nearedge.queue_settings import SchedulerName
from nearedge.settings import Settings
from nearedge.store.operations import database_errors, operation

HALF_MADE = "half made"
"""Why a reservation was given up whose submitter noted no number."""


@dataclass(frozen=True)
class BatchJob:
    """A batch job that was submitted.

    Parameters
    ----------
    batch_id
        Such as ``slurm:1234``.
    job_class
        What work it is for.
    folder
        Where its script and its output are.
    label
        What it computes; of a pilot, with how many workers.
    fw_id
        The Firework it was submitted for; None for a pilot.
    """

    batch_id: str
    job_class: str
    folder: Path
    label: str
    fw_id: int | None = None


class SubmissionRefused(LaunchError):
    """The scheduler did not take a job; its Firework is ready again."""

    def __init__(self, job_class: str, message: str) -> None:
        super().__init__(message)
        self.job_class = job_class


@database_errors()  # not repeated: a second time would submit a second job
def reserve_one(
    pad: LaunchPad,
    classes: list[str],
    scheduler: SchedulerName,
    settings: Settings,
    project: str | None = None,
    also: Mapping[str, Any] | None = None,
) -> BatchJob | None:
    """Submit a batch job for the first Firework of these classes, by priority; None: none is ready.

    Parameters
    ----------
    also
        A query that the Firework answers as well.

    Raises
    ------
    SubmissionRefused
        If the scheduler does not take it.
    """
    folder = new_job_folder(settings)
    query = {**of_classes(classes, project), **(also or {})}
    submitter = FWorker(name=WorkerIdentity.of_this_process().name, query=query)
    firework, launch_id = pad.reserve_fw(submitter, str(folder))
    if firework is None:
        folder.rmdir()
        return None
    task = task_of(firework)
    try:
        resources = settings.batch.resources(task.job_class)
        _say(pad, launch_id, {**_place_of(scheduler), FOLDER: str(folder)})
        number = submit_script(job_of(task, scheduler, resources, settings), scheduler, folder)
    except BaseException as error:
        _let_go(pad, launch_id)
        if isinstance(error, LaunchError):
            raise SubmissionRefused(task.job_class, str(error)) from None
        raise
    _note(pad, launch_id, scheduler, number)
    return BatchJob(f"{scheduler}:{number}", task.job_class, folder, firework.name, firework.fw_id)


def _place_of(scheduler: SchedulerName) -> dict[str, str]:
    """Return what a reservation says of where its batch job is: two clusters give equal numbers."""
    cluster = cluster_of(scheduler)
    return {SCHEDULER: scheduler} | ({} if cluster is None else {CLUSTER: cluster})


def _note(pad: LaunchPad, launch_id: int, scheduler: SchedulerName, number: str) -> None:
    """Note in a launch which batch job it waits for."""
    _say(pad, launch_id, {**_place_of(scheduler), RESERVATION_ID: number})


def _say(pad: LaunchPad, launch_id: int, said: Mapping[str, str]) -> None:
    """Add to what a launch says of its reservation.

    Only that is written: FireWorks' own writes all of the launch as it was read before, and the job
    may run by now. Entries of the history are added to, never moved. Where another has noted the
    number, or gave the reservation up, nothing is written.
    """
    place = _unnumbered(pad.launches.find_one({"launch_id": launch_id}, {"state_history": 1}))
    if place is None:
        return
    entry = f"state_history.{place}"
    pad.launches.update_one(
        {
            "launch_id": launch_id,
            GIVEN_UP: {"$exists": False},
            f"{entry}.{RESERVATION_ID}": {"$exists": False},
        },
        {"$set": {f"{entry}.{name}": value for name, value in said.items()}},
    )


def _let_go(pad: FencedLaunchPad, launch_id: int) -> bool:
    """Give a reservation up that has no number, and make its Firework ready; return whether.

    It is by one write that it is given up, or has its number, or that its job runs: whoever comes
    second finds it so. FireWorks' own reads, decides, and writes the launch as it was read.
    """
    held = {
        "launch_id": launch_id,
        "state": "RESERVED",
        f"state_history.{RESERVATION_ID}": {"$exists": False},
    }
    given_up = {"state": "READY", GIVEN_UP: HALF_MADE, "given_up_on": datetime.now(UTC)}
    launch = pad.launches.find_one_and_update(held, {"$set": given_up}, {"fw_id": 1})
    if launch is None:
        return False
    pad.give_up(launch["fw_id"], launch_id, "RESERVED", HALF_MADE)
    return True


def _unnumbered(launch: Mapping[str, Any] | None) -> int | None:
    """Return the place of the reservation without a number in a launch's history, or None."""
    places = (
        place
        for place, each in enumerate([] if launch is None else launch["state_history"])
        if each["state"] == "RESERVED" and RESERVATION_ID not in each
    )
    return next(places, None)


def task_of(firework: Firework) -> Task:
    """Return what the batch job of a Firework is for."""
    return Task(class_of(firework.spec), firework.fw_id, None, firework.name)


def may_run(pad: LaunchPad, fw_id: int, batch: str | None) -> bool:
    """Return whether a batch job may begin its Firework.

    It may not where the reservation was given up and another batch job has it by now, or where the
    Firework runs already, has ended or is gone.
    """
    firework = pad.fireworks.find_one({"fw_id": fw_id}, {"state": 1, "launches": 1})
    if firework is None or firework["state"] not in ("READY", "RESERVED"):
        return False
    if firework["state"] == "READY" or batch is None:
        return True
    held = _reservation(pad, firework["launches"])
    number = batch.partition(":")[2]
    return held is None or held.split(".")[0] == number.split(".")[0]


def _reservation(pad: LaunchPad, launch_ids: list[int]) -> str | None:
    query = {"launch_id": {"$in": launch_ids}, "state": "RESERVED"}
    launch = pad.launches.find_one(query, {"state_history": 1}, sort=[("launch_id", -1)])
    return None if launch is None else reservation_number(launch)


@operation
def settle_half_made(pad: LaunchPad, scheduler: SchedulerName) -> int:
    """Bring reservations to an end that a killed submitter left; return how many were found.

    A submitter here is asked itself; one elsewhere, or from before this machine was started again,
    is gone when its reservation stands still for as long as a worker's sign of life may. What this
    very process left when the database went away is settled too: it must be submitting nothing
    now. One whose job is in the queue gets its number; the others are given up. Those of another
    scheduler or cluster are left to whoever can ask it.
    """
    left = list(_half_made(pad, scheduler))
    if not left:
        return 0
    by_folder = _numbers_by_folder() if scheduler == "slurm" else {}
    if by_folder is None:
        return 0
    for launch in left:
        number = by_folder.get(launch["launch_dir"])
        if number is None:
            _let_go(pad, launch["launch_id"])
        else:
            _note(pad, launch["launch_id"], scheduler, number)
    return len(left)


def _half_made(pad: LaunchPad, scheduler: SchedulerName) -> Iterator[dict[str, Any]]:
    own = WorkerIdentity.of_this_process().name
    fields = {"launch_id": 1, "launch_dir": 1, "state_history": 1, "fworker.name": 1}
    for launch in pad.launches.find({"state": "RESERVED"}, fields):
        submitter = WorkerIdentity.parse(launch["fworker"]["name"])
        if submitter is None or reservation_number(launch) is not None:
            continue
        if not _is_of(launch, scheduler):
            continue
        if submitter.here:
            gone = submitter.name == own or not submitter.alive()
        else:
            gone = stands_still(pad.db, f"reservation {launch['launch_id']}", HALF_MADE)
        if gone:
            yield launch


def _is_of(launch: Mapping[str, Any], scheduler: SchedulerName) -> bool:
    """Return whether a reservation's batch job, if it has one, is where this scheduler is asked.

    One that does not say was left before anything was submitted, or by an older release.
    """
    if noted(launch, SCHEDULER) not in (None, scheduler):
        return False
    cluster = noted(launch, CLUSTER)
    return cluster is None or cluster == cluster_of(scheduler)


def _numbers_by_folder() -> dict[str, str] | None:
    """Return the user's jobs by the folder that they were submitted from; None: Slurm is silent."""
    command = ["squeue", "--noheader", "--format=%A|%Z", f"--user={getpass.getuser()}"]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=ASK_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    pairs = (line.strip().partition("|") for line in done.stdout.splitlines())
    return {folder: number for number, _, folder in pairs}
