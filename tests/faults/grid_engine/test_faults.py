"""Bad luck on a real Grid Engine: jobs deleted, out of time, a silent master, a lost node."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import TYPE_CHECKING

import psutil
import pytest

from nearedge.launch.batch.reservation import BatchJob
from nearedge.launch.identity import WorkerIdentity
from nearedge.launch.scheduler import states_of
from nearedge.structures.source import LoadedStructure

if TYPE_CHECKING:
    from tests.faults.grid_engine.conftest import Farm

Molecule = Callable[[str], LoadedStructure]
Take = Callable[..., tuple[BatchJob, psutil.Process]]

pytestmark = [pytest.mark.integration, pytest.mark.slow]


@pytest.fixture
def taken(farm: Farm, molecule: Molecule) -> Take:
    """Return how a batch job takes a site, and its worker is suspended before it is done."""

    def take(**resources: object) -> tuple[BatchJob, psutil.Process]:
        farm.site.submit(molecule("CO"), "C")
        job = farm.asking(**resources).submit(pilots=False)
        farm.running()
        launch = farm.site.pad.launches.find_one({"state": "RUNNING"})
        worker = WorkerIdentity.parse(launch["fworker"]["name"])
        assert worker is not None
        assert worker.batch == job.batch_id
        process = psutil.Process(worker.pid)
        process.suspend()
        return job, process

    return take


def put_back(farm: Farm, job: BatchJob, why: str) -> None:
    """Recover once the job is over, check why the site is ready again, and compute it."""
    farm.over(job, began=why != "pending_cancelled")
    (found,) = farm.recover().findings
    assert (found.why, found.batch) == (why, job.batch_id)
    assert farm.site.state() == "READY"
    assert farm.recover().total == 0
    assert farm.site.run().completed == 2
    farm.site.check_complete()
    farm.site.check_nothing_over()


def test_a_job_deleted_while_it_waits_frees_its_firework(farm: Farm, molecule: Molecule) -> None:
    farm.site.submit(molecule("CO"), "C")
    farm.engine.ask("qmod", "-d", "all.q")
    try:
        job = farm.submit(pilots=False)
        assert farm.recover().total == 0, "it waits"
        farm.engine.ask("qdel", job.batch_id[4:])
        assert farm.over(job, began=False) == "ended", "it is in no accounts"
        put_back(farm, job, "pending_cancelled")
    finally:
        farm.engine.ask("qmod", "-e", "all.q")


def test_a_running_job_that_is_deleted_is_put_back_by_that_name(farm: Farm, taken: Take) -> None:
    job, worker = taken()
    assert farm.recover().total == 0, "it runs"
    farm.engine.ask("qdel", job.batch_id[4:])
    farm.site.until(lambda: not farm.site.works(worker))
    put_back(farm, job, "cancelled")


def test_a_job_that_meets_its_walltime_is_put_back_by_that_name(farm: Farm, taken: Take) -> None:
    job, worker = taken(walltime=60, margin=10)
    farm.site.until(lambda: not farm.site.works(worker))
    put_back(farm, job, "timed_out")


def test_a_worker_that_is_killed_is_put_back(farm: Farm, taken: Take) -> None:
    job, worker = taken()
    worker.kill()
    farm.site.until(lambda: not farm.site.works(worker))
    put_back(farm, job, "cancelled")


def test_a_master_that_is_killed_changes_nothing_until_it_answers_again(
    farm: Farm, taken: Take
) -> None:
    job, worker = taken()
    os.kill(farm.engine.pid("sge_qmaster"), signal.SIGKILL)
    farm.site.until(lambda: states_of([job.batch_id])[job.batch_id] == "unknown")
    assert farm.recover().total == 0
    farm.engine.up()
    assert states_of([job.batch_id])[job.batch_id] == "running"
    assert farm.recover().total == 0
    farm.engine.ask("qdel", job.batch_id[4:])
    farm.site.until(lambda: not farm.site.works(worker))
    put_back(farm, job, "cancelled")


def test_what_a_lost_node_leaves_behind_is_known_when_it_is_back(farm: Farm, taken: Take) -> None:
    job, worker = taken()
    shepherd = psutil.Process(worker.ppid())
    os.kill(farm.engine.pid("sge_execd"), signal.SIGKILL)
    shepherd.kill()
    worker.kill()
    farm.site.until(lambda: not farm.site.works(worker))
    assert states_of([job.batch_id])[job.batch_id] == "running", "nobody knows yet"
    farm.engine.up()
    put_back(farm, job, "node_failed")
