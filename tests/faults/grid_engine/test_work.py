"""Work done by batch jobs of a real Grid Engine."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from fireworks import Firework, Workflow
from jobflow import Job
from jobflow.managers.fireworks import JobFiretask

from nearedge.launch.fireworks import ensure_launchpad_indexes
from nearedge.launch.identity import WorkerIdentity
from nearedge.structures.source import LoadedStructure

if TYPE_CHECKING:
    from tests.faults.grid_engine.conftest import Farm

Molecule = Callable[[str], LoadedStructure]

pytestmark = [pytest.mark.integration, pytest.mark.slow]


def test_a_site_is_computed_end_to_end_in_a_batch_job_of_its_own(
    farm: Farm, molecule: Molecule
) -> None:
    farm.site.submit(molecule("CO"), "C")
    job = farm.submit(pilots=False)
    assert farm.over(job) == "completed", farm.said(job)
    assert "2 completed, 0 fizzled" in farm.said(job), "with the average"
    farm.site.check_complete()


def test_a_pilot_computes_sites_of_two_crystals(farm: Farm, molecule: Molecule) -> None:
    farm.site.submit(molecule("CO"), "C")
    farm.site.submit(molecule("CN"), "C")
    job = farm.asking(tasks=2, parallel_environment="smp").submit(pilots=True)
    farm.running()
    launch = farm.site.pad.launches.find_one({"state": "RUNNING"})
    worker = WorkerIdentity.parse(launch["fworker"]["name"])
    assert worker is not None
    assert worker.batch == job.batch_id
    assert farm.fill(pilots=True).submitted == [], "it works already"
    assert farm.over(job) == "completed", farm.said(job)
    row = farm.site.pad.db["pilots"].find_one({"batch": job.batch_id})
    assert (row["state"], row["completed"], row["failed"]) == ("ended", 4, 0)
    farm.site.check_complete(calculations=2, crystals=2)


def add(farm: Farm, function: Callable[..., object], *arguments: float) -> int:
    """Queue a job that is no simulation, and return its number."""
    task = JobFiretask(job=Job(function, function_args=arguments), store=None)
    firework = Firework([task], spec={"nearedge": {"kind": "idle"}}, name="idle")
    ensure_launchpad_indexes(farm.site.pad)
    farm.site.pad.add_wf(Workflow([firework]))
    return int(firework.fw_id)


def state(farm: Farm, fw_id: int) -> str:
    return str(farm.site.pad.get_fw_dict_by_id(fw_id)["state"])


@pytest.mark.parametrize("pilots", [False, True], ids=["of its own", "in a pilot"])
def test_a_firework_that_fizzles_makes_its_batch_job_fail(farm: Farm, *, pilots: bool) -> None:
    bad = add(farm, math.sqrt, -1.0)
    good = [add(farm, math.sqrt, 4.0)] if pilots else []
    job = farm.submit(pilots=pilots)
    assert farm.over(job) == "failed", farm.said(job)
    record = farm.engine.record(job.batch_id[4:])
    assert (record["failed"], record["exit_status"]) == ("0", "1")
    assert state(farm, bad) == "FIZZLED"
    assert [state(farm, each) for each in good] == ["COMPLETED"] * len(good)


def test_what_still_runs_when_the_margin_begins_is_put_back_before_the_walltime(farm: Farm) -> None:
    asking = farm.asking(walltime=120, margin=60, setup=["sleep 20"])
    long = add(farm, time.sleep, 300.0)
    job = asking.submit(pilots=False)
    assert farm.over(job) == "completed", farm.said(job)
    assert state(farm, long) == "READY"
    assert "0 completed, 0 fizzled, 1 put back" in farm.said(job)
    record = farm.engine.record(job.batch_id[4:])
    assert float(record["ru_wallclock"].removesuffix("s")) < 120
    assert farm.recover().total == 0


def test_a_pilot_that_is_deleted_leaves_nothing_running_and_all_is_put_back(farm: Farm) -> None:
    runs = {add(farm, time.sleep, 300.0), add(farm, time.sleep, 300.0)}
    job = farm.asking(tasks=2, parallel_environment="smp").submit(pilots=True)
    running = {"state": "RUNNING"}
    farm.site.until(lambda: farm.site.pad.fireworks.count_documents(running) == 2)
    started = farm.processes()
    assert len(started) >= 3, "the pilot, and two workers"
    farm.engine.ask("qdel", job.batch_id[4:])
    assert farm.over(job) == "cancelled"
    farm.site.until(lambda: not any(farm.site.works(each) for each in started))
    # Grid Engine kills the pilot; its workers see that, and put their runs back if they get to it.
    left = {each for each in runs if state(farm, each) != "READY"}
    found = farm.recover().findings
    assert {(each.fw_id, each.why, each.batch) for each in found} == {
        (fw_id, "cancelled", job.batch_id) for fw_id in left
    }
    assert {state(farm, each) for each in runs} == {"READY"}
    assert farm.fill(pilots=True).submitted != [], "another takes its place"
