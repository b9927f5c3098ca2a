"""What batch jobs ask of a real Grid Engine, and what it says of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from nearedge.launch.batch.adapter import version
from nearedge.launch.heartbeat import CLUSTER
from nearedge.launch.scheduler import cluster_of, states_of
from nearedge.structures.source import LoadedStructure

if TYPE_CHECKING:
    from tests.faults.grid_engine.conftest import Farm

Molecule = Callable[[str], LoadedStructure]

pytestmark = [pytest.mark.integration, pytest.mark.slow]


def test_resources_are_honoured(farm: Farm, molecule: Molecule) -> None:
    farm.site.submit(molecule("CO"), "C")
    asked = farm.asking(
        tasks=2, parallel_environment="smp", memory="8G", walltime=600, partition="all.q",
        account="beamtime", options=["-P xas"], environment={"PLACE": "here"},
        setup=["env > environment"],
    )  # fmt: skip
    job = asked.submit(pilots=True)
    number = job.batch_id.removeprefix("sge:")
    requested = farm.engine.requested(number)
    assert requested["hard resource_list"] == "h_rt=600,h_vmem=4096M"
    assert requested["parallel environment"] == "smp range: 2"
    assert requested["hard_queue_list"] == "all.q"
    assert (requested["project"], requested["account"]) == ("xas", "beamtime")
    assert requested["cwd"] == str(job.folder)
    assert (requested["restart"], requested["job_name"]) == ("n", "nearedge-feff")
    assert farm.over(job) == "completed", farm.said(job)
    record = farm.engine.record(number)
    assert (record["slots"], record["granted_pe"], record["project"]) == ("2", "smp", "xas")
    said = (job.folder / "environment").read_text().splitlines()
    assert {"NSLOTS=2", "PLACE=here", f"JOB_ID={number}"} <= set(said)
    farm.site.check_complete()


def test_as_many_jobs_are_in_the_queue_as_max_allows(farm: Farm, molecule: Molecule) -> None:
    farm.engine.ask("qmod", "-d", "all.q")  # nothing starts
    try:
        for name in ("CO", "CN", "OCO"):
            farm.site.submit(molecule(name), "C")
        assert len(farm.fill(pilots=False, max_jobs=2).submitted) == 2
        done = farm.fill(pilots=False, max_jobs=2)
        assert (done.in_queue, done.submitted) == (2, [])
        assert len(farm.fill(pilots=False, max_jobs=9).submitted) == 1
    finally:
        farm.engine.ask("qmod", "-e", "all.q")


def test_a_queue_that_does_not_exist_is_refused_and_the_job_is_ready_again(
    farm: Farm, molecule: Molecule
) -> None:
    farm.site.submit(molecule("CO"), "C")
    done = farm.asking(partition="nosuch.q").fill(pilots=False)
    assert done.submitted == []
    assert "nosuch.q" in done.refused["feff"]
    assert farm.site.state() == "READY"


def test_its_clusters_name_is_noted_and_a_number_of_another_cluster_is_left_alone(
    farm: Farm, molecule: Molecule
) -> None:
    assert version("sge") == "SGE 8.1.9"
    assert cluster_of("sge") == "lab"
    farm.site.submit(molecule("CO"), "C")
    farm.engine.ask("qmod", "-d", "all.q")
    try:
        job = farm.submit(pilots=False)
        launches = farm.site.pad.launches
        (launch,) = launches.find({"state": "RESERVED"})
        reserved = launch["state_history"][0]
        assert (reserved["reservation_id"], reserved[CLUSTER]) == (job.batch_id[4:], "lab")
        launches.update_one({}, {"$set": {f"state_history.0.{CLUSTER}": "elsewhere"}})
        farm.engine.ask("qdel", job.batch_id[4:])
        assert states_of([job.batch_id])[job.batch_id].over
        assert farm.recover().total == 0, "another cluster's job of that number may wait"
        launches.update_one({}, {"$set": {f"state_history.0.{CLUSTER}": "lab"}})
        (found,) = farm.recover().findings
        assert (found.why, found.batch) == ("pending_cancelled", job.batch_id)
    finally:
        farm.engine.ask("qmod", "-e", "all.q")


def test_a_number_that_it_does_not_know_is_left_alone(farm: Farm, molecule: Molecule) -> None:
    farm.site.submit(molecule("CO"), "C")
    farm.engine.ask("qmod", "-d", "all.q")
    try:
        job = farm.submit(pilots=False)
        farm.site.pad.launches.update_one({}, {"$set": {"state_history.0.reservation_id": "99999"}})
        assert states_of(["sge:99999", job.batch_id]) == {
            "sge:99999": "forgotten",
            job.batch_id: "pending",
        }
        assert farm.recover().total == 0
        assert farm.site.state() == "RESERVED"
    finally:
        farm.engine.ask("qmod", "-e", "all.q")
