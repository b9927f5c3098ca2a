"""Work done by batch jobs of a real Grid Engine."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

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
