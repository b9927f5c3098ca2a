"""Bad luck on a cluster: a pilot loses a worker, or its scheduler ends it for want of memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from nearedge.launch.failures import fizzled_jobs
from nearedge.launch.identity import WorkerIdentity
from nearedge.launch.recovery import recover
from nearedge.store.connection import connect
from nearedge.structures.source import LoadedStructure

if TYPE_CHECKING:
    from tests.conftest import Slurm
    from tests.faults.conftest import BatchQueue, Site

Molecule = Callable[[str], LoadedStructure]

pytestmark = [pytest.mark.integration, pytest.mark.slow]

_WAITS = """
import os
import time
from pathlib import Path
from nearedge.codes.feff import run
from nearedge.store import packing
packing.TEXT_LIMIT = 10
here, follow = Path({folder!r}), run._follow

def wait(process, reading, outcome, timeout, _):
    def during(stage):
        (here / f"computes-{{os.getpid()}}").touch()
        while not (here / "go").exists():
            time.sleep(0.05)
    follow(process, reading, outcome, timeout, during)

run._follow = wait
"""
_EATS = """
import time
from pathlib import Path
from nearedge.launch.token import current_launch
from nearedge.codes.feff import run
execute = run.execute

def eat(*arguments, **options):
    if current_launch().fw_id == {glutton}:
        taken = bytearray(2 * 2**30)
        taken[::4096] = bytes(1) * len(taken[::4096])
        time.sleep(600)
    if {together!r}:
        time.sleep(600)
    return execute(*arguments, **options)

run.execute = eat
"""


def two_sites(site: Site, molecule: Molecule) -> list[int]:
    """Submit two sites and return their jobs."""
    for name in ("CO", "OCO"):
        site.submit(molecule(name), "C")
    return [each["fw_id"] for each in site.pad.fireworks.find({"spec.nearedge.kind": "site"})]


def states(site: Site, jobs: list[int]) -> list[str]:
    return [site.pad.fireworks.find_one({"fw_id": each})["state"] for each in jobs]


def workers(site: Site) -> list[WorkerIdentity]:
    """Return the workers that compute."""
    found = site.pad.launches.find({"state": "RUNNING", "given_up": {"$exists": False}})
    names = [WorkerIdentity.parse(each["fworker"]["name"]) for each in found]
    return [each for each in names if each is not None]


def both_compute(site: Site, folder: Path) -> list[WorkerIdentity]:
    """Wait until two workers have begun the code, where they wait in turn, and return them."""
    site.until(lambda: len(list(folder.glob("computes-*"))) == 2, seconds=240)
    return workers(site)


def kill_a_worker(site: Site, number: str, folder: Path) -> None:
    """Kill one of two workers of a pilot while both compute."""
    one, other = both_compute(site, folder)
    assert one.batch == other.batch == f"slurm:{number}"
    psutil.Process(one.pid).kill()
    site.until(lambda: not one.alive())
    assert other.alive()


def test_a_job_whose_worker_is_killed_in_a_pilot_is_taken_by_another_worker_of_that_pilot(
    site: Site, batch: BatchQueue, molecule: Molecule, tmp_path: Path
) -> None:
    jobs = two_sites(site, molecule)
    number = batch.submit_pilot(_WAITS.format(folder=str(tmp_path)))
    kill_a_worker(site, number, tmp_path)
    (found,) = site.recover().findings
    assert (found.why, found.batch) == ("lost", f"slurm:{number}")
    assert sorted(states(site, jobs)) == ["READY", "RUNNING"]
    (tmp_path / "go").touch()
    assert batch.end(number) == "FAILED", "a worker of it was killed"
    site.check_complete(2, 2)
    site.check_nothing_over()


def test_a_job_whose_worker_is_killed_in_a_pilot_goes_back_once_the_pilot_is_over(
    site: Site, batch: BatchQueue, molecule: Molecule, tmp_path: Path
) -> None:
    jobs = two_sites(site, molecule)
    number = batch.submit_pilot(_WAITS.format(folder=str(tmp_path)))
    kill_a_worker(site, number, tmp_path)
    (tmp_path / "go").touch()
    assert batch.end(number) == "FAILED"
    assert sorted(states(site, jobs)) == ["COMPLETED", "RUNNING"]
    (found,) = site.recover().findings
    assert (found.why, found.batch) == ("job_failed", f"slurm:{number}")
    assert site.recover().total == 0
    again = batch.submit_pilot("from nearedge.store import packing\npacking.TEXT_LIMIT = 10\n")
    assert batch.end(again) == "COMPLETED"
    site.check_complete(2, 2)
    site.check_nothing_over()


def test_a_pilot_that_is_killed_itself_leaves_nothing_behind(
    site: Site, batch: BatchQueue, molecule: Molecule, tmp_path: Path
) -> None:
    jobs = two_sites(site, molecule)
    number = batch.submit_pilot(_WAITS.format(folder=str(tmp_path)))
    one, other = both_compute(site, tmp_path)
    psutil.Process(psutil.Process(one.pid).ppid()).kill()
    assert batch.end(number) == "FAILED"
    site.until(lambda: not one.alive() and not other.alive())
    site.until(lambda: site.recover().total == 0 and states(site, jobs) == ["READY"] * 2)
    assert site.feff() == []
    again = batch.submit_pilot("from nearedge.store import packing\npacking.TEXT_LIMIT = 10\n")
    assert batch.end(again) == "COMPLETED"
    site.check_complete(2, 2)
    site.check_nothing_over()


def test_of_a_pilot_that_slurm_ends_for_memory_only_the_job_that_took_it_is_to_blame(
    site: Site,
    another_slurm: Callable[[Mapping[str, str]], Slurm],
    batch: BatchQueue,
    molecule: Molecule,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    strict = another_slurm(
        {
            "JobAcctGatherType=jobacct_gather/none": "JobAcctGatherType=jobacct_gather/linux\n"
            "JobAcctGatherFrequency=task=1\nJobAcctGatherParams=OverMemoryKill"
        }
    )
    monkeypatch.setenv("SLURM_CONF", str(strict.conf))
    batch.slurm = strict
    glutton, innocent = two_sites(site, molecule)

    def look(*jobs: int) -> set[int]:
        """Look until these jobs have been put right, and return those left as failures."""
        found: set[int] = set()
        exhausted: set[int] = set()

        def all_found() -> bool:
            done = recover(site.pad, connect(site.settings), tries=1)
            assert {each.why for each in done.findings} <= {"job_failed"}
            found.update(each.fw_id for each in done.findings)
            exhausted.update(done.exhausted)
            return found == set(jobs)

        site.until(all_found)
        return exhausted

    number = batch.submit_pilot(_EATS.format(glutton=glutton, together=True), memory="2G")
    assert batch.end(number) == "FAILED"
    assert look(glutton, innocent) == set()
    assert states(site, [glutton, innocent]) == ["READY"] * 2
    alone = batch.settings(_EATS.format(glutton=glutton, together=False), memory="2G")
    submitted = batch.fill(alone)
    assert {job.fw_id for job in submitted} == {glutton, innocent}, "though FEFF has pilots"
    ends = {job.fw_id: batch.end(job.batch_id.removeprefix("slurm:")) for job in submitted}
    assert ends == {glutton: "FAILED", innocent: "COMPLETED"}
    assert look(glutton) == {glutton}
    assert states(site, [glutton, innocent]) == ["FIZZLED", "COMPLETED"]
    (left,) = fizzled_jobs(site.pad)
    assert left.name == "BatchJobFailed"
    assert site.feff() == []
