"""Batch jobs under a real Slurm, with the real database."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from fireworks import Firework, Workflow
from fireworks.core.launchpad import LaunchPad

from nearedge.launch.batch.filling import Pass, Wanted, fill, refuse_unreachable
from nearedge.launch.batch.kept_settings import batch_folder, keep_settings
from nearedge.launch.batch.pilots import PILOTS
from nearedge.launch.batch.reservation import BatchJob
from nearedge.launch.fireworks import ensure_launchpad_indexes, launchpad
from nearedge.launch.identity import WorkerIdentity
from nearedge.launch.scheduler import cluster_of
from nearedge.queue_settings import QueueSettings
from nearedge.settings import Settings

if TYPE_CHECKING:
    from tests.conftest import Slurm

pytestmark = pytest.mark.integration

SHORT = {"walltime": 300, "margin": 20, "expected": 1, "tasks": 1, "memory": "700M"}
"""Seconds and memory that idle jobs need on a busy machine."""


class Cluster:
    """A launchpad, and a Slurm that works it."""

    def __init__(self, settings: Settings, slurm: Slurm, idle: Callable[..., Firework]) -> None:
        self.settings = settings
        self.slurm = slurm
        self._idle = idle
        self.pad: LaunchPad = launchpad(settings)
        ensure_launchpad_indexes(self.pad)

    def add(self, number: float = 4.0) -> int:
        """Add a job that takes a square root, which fizzles below zero."""
        firework = self._idle(nearedge={"kind": "idle"})
        firework.tasks[0]["job"].function_args = (number,)
        self.pad.add_wf(Workflow([firework]))
        return int(firework.fw_id)

    def fill(self, *, pilots: bool) -> Pass:
        return fill(self.pad, "slurm", self.settings, Wanted(max_jobs=9, pilots=pilots))

    def wait(self, job: BatchJob, seconds: float = 240.0) -> str:
        """Wait until a batch job has ended, and return how."""
        number = job.batch_id.partition(":")[2]
        deadline = time.monotonic() + seconds
        while (state := self.slurm.states()[number]) in ("PENDING", "RUNNING", "COMPLETING"):
            assert time.monotonic() < deadline, state
            time.sleep(0.3)
        return state

    def said(self, job: BatchJob) -> str:
        return "".join(path.read_text() for path in sorted(job.folder.glob("*-*.*")))

    def state(self, fw_id: int) -> str:
        return str(self.pad.get_fw_dict_by_id(fw_id)["state"])


@pytest.fixture
def cluster(
    embedded_settings: Settings, slurm: Slurm, idle: Callable[..., Firework], tmp_path: Path
) -> Cluster:
    queue = QueueSettings.model_validate({"all": SHORT})
    settings = embedded_settings.model_copy(
        update={"queue": queue, "run_dir": tmp_path / "runs", "trusted_jobs": "math"}
    )
    return Cluster(settings, slurm, idle)


def test_a_pilot_works_the_queue_and_fails_because_one_job_fizzled(cluster: Cluster) -> None:
    refuse_unreachable(cluster.settings, "slurm")  # Slurm's only node is this machine
    good, bad, last = cluster.add(), cluster.add(-1.0), cluster.add()
    (pilot,) = cluster.fill(pilots=True).submitted
    assert cluster.fill(pilots=True).submitted == [], "it waits, or runs, already"
    assert cluster.wait(pilot) == "FAILED", cluster.said(pilot)
    assert [cluster.state(each) for each in (good, bad, last)] == [
        "COMPLETED",
        "FIZZLED",
        "COMPLETED",
    ]
    row = cluster.pad.db[PILOTS].find_one({"batch": pilot.batch_id})
    assert (row["state"], row["completed"], row["failed"]) == ("ended", 2, 1)
    launch = cluster.pad.launches.find_one({"fw_id": good})
    worker = WorkerIdentity.parse(launch["fworker"]["name"])
    assert worker is not None
    assert worker.batch == pilot.batch_id


def test_a_reserved_job_runs_in_a_batch_job_of_its_own(cluster: Cluster) -> None:
    number = cluster.add()
    (job,) = cluster.fill(pilots=False).submitted
    assert cluster.pad.get_reservation_id_from_fw_id(number) == job.batch_id.partition(":")[2]
    launch = cluster.pad.launches.find_one({"fw_id": number})
    assert cluster_of("slurm") is not None
    assert launch["state_history"][0]["cluster"] == cluster_of("slurm")
    assert cluster.wait(job) == "COMPLETED", cluster.said(job)
    assert cluster.state(number) == "COMPLETED"
    assert (job.folder / "submit.sh").stat().st_mode & 0o777 == 0o600


def test_settings_stay_while_their_job_waits_and_go_once_it_is_cancelled(
    cluster: Cluster, slurm: Slurm
) -> None:
    cluster.add()
    queue = QueueSettings.model_validate({"all": {**SHORT, "options": ["--hold"]}})
    before = cluster.settings.model_copy(update={"queue": queue, "keep_runs": True})
    (job,) = fill(cluster.pad, "slurm", before, Wanted(9, pilots=False)).submitted
    path = keep_settings(before)
    os.utime(path, (time.time() - 3600,) * 2)
    cluster.fill(pilots=False)
    assert path.is_file(), "the job waits"
    slurm.ask("scancel", job.batch_id.partition(":")[2])
    cluster.fill(pilots=False)
    assert not path.exists()
    assert keep_settings(cluster.settings).is_file()


def test_a_worker_that_cannot_reach_its_database_fails_before_it_takes_a_job(
    cluster: Cluster,
) -> None:
    number = cluster.add()
    lost = cluster.settings.model_copy(update={"database_timeout": 1.0})
    uri = "mongodb://127.0.0.1:9/"
    (job,) = fill(cluster.pad, "slurm", lost, Wanted(9, pilots=False)).submitted
    (kept,) = [
        path
        for path in batch_folder(lost).glob("settings-*.yaml")
        if str(path) in (job.folder / "submit.sh").read_text()
    ]
    kept.write_text(kept.read_text() + f"mongo_uri: {uri}\n")
    assert cluster.wait(job) == "FAILED", cluster.said(job)
    assert "127.0.0.1:9" in cluster.said(job)
    assert cluster.state(number) == "RESERVED"
    assert not (job.folder / "started").exists()
