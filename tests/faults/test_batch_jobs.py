"""Bad luck on a cluster: jobs cancelled, out of time, on a failed node, or a silent scheduler.

A real Slurm of one node. Each job is a worker that is suspended as soon as it runs something, so
that it seldom puts its own affairs in order.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest
from fireworks.core.fworker import FWorker

from nearedge.launch.identity import WorkerIdentity
from nearedge.launch.pool import worker_environment
from nearedge.launch.scheduler import states_of
from nearedge.structures.source import LoadedStructure

if TYPE_CHECKING:
    from tests.conftest import Slurm
    from tests.faults.conftest import Site

Molecule = Callable[[str], LoadedStructure]

pytestmark = pytest.mark.integration

_WORKER = "from nearedge.launch.worker import main; raise SystemExit(main([]))"


@pytest.fixture
def submit(slurm: Slurm, site: Site, tmp_path: Path) -> Callable[..., str]:
    """Return a function that submits a worker of this installation, with options of `sbatch`."""

    def sbatch(*options: str) -> str:
        script = tmp_path / "job.sh"
        script.write_text(f"#!/bin/sh\nexec {sys.executable} -P -c '{_WORKER}'\n")
        done = subprocess.run(
            ["sbatch", "--parsable", f"--output={tmp_path}/job.out", *options, str(script)],
            env=worker_environment(site.settings) | {"SLURM_CONF": str(slurm.conf)},
            capture_output=True,
            text=True,
            check=True,
            cwd=tmp_path,
        )
        return done.stdout.strip()

    return sbatch


def suspended(site: Site, number: str) -> psutil.Process:
    """Suspend the worker of a batch job as soon as it has taken a Firework, and return it."""
    site.until(lambda: site.pad.fireworks.find_one({"state": "RUNNING"}))
    found = site.pad.launches.find_one({"state": "RUNNING"})
    worker = WorkerIdentity.parse(found["fworker"]["name"])
    assert worker is not None
    assert worker.batch == f"slurm:{number}"
    process = psutil.Process(worker.pid)
    process.suspend()
    return process


@contextmanager
def kept_suspended(worker: psutil.Process) -> Iterator[None]:
    """Suspend a worker again whenever Slurm wakes it: it might end its job before it is killed."""
    over = threading.Event()

    def keep() -> None:
        while not over.wait(0.005):
            with suppress(psutil.NoSuchProcess):
                worker.suspend()

    keeping = threading.Thread(target=keep, daemon=True)
    keeping.start()
    try:
        yield
    finally:
        over.set()
        keeping.join()


def put_back_once_over(
    site: Site, number: str, why: str, told: Callable[[float], None], seconds: float
) -> None:
    """Wait until a batch job is over and its Firework READY again, by `recover` or by itself.

    Slurm wakes what it ends: now and then the worker gets to put its job back.
    """
    site.until(lambda: states_of([f"slurm:{number}"])[f"slurm:{number}"].over, seconds=seconds)
    if site.state() != "READY":
        told(site.put_back(why, number))
    assert site.state() == "READY"
    assert site.recover().total == 0


def run_to_the_end(site: Site) -> None:
    assert site.run().completed == 2
    site.check_complete()
    site.check_nothing_over()


def test_a_job_cancelled_while_it_waits_frees_its_firework_and_a_stranger_is_left_alone(
    site: Site, slurm: Slurm, molecule: Molecule, submit: Callable[..., str], tmp_path: Path,
    told: Callable[[str, float], None],
) -> None:  # fmt: skip
    site.submit(molecule("CO"), "C")
    number = submit("--hold")
    name = WorkerIdentity.of_this_process().name
    _, launch = site.pad.reserve_fw(FWorker(name=name), str(tmp_path))
    site.pad.set_reservation_id(launch, "99999")
    assert site.recover().total == 0, "Slurm does not know it: it is left alone"
    held = {"launch_id": launch, "state_history.reservation_id": "99999"}
    ours = {"$set": {"state_history.$.reservation_id": number}}
    assert site.pad.launches.update_one(held, ours).matched_count == 1
    assert site.recover().total == 0, "it waits"
    slurm.ask("scancel", number)
    told("scancel of a pending job", site.put_back("pending_cancelled", number))
    run_to_the_end(site)


@pytest.mark.slow
def test_a_running_job_that_is_cancelled_is_put_back_by_that_name(
    site: Site, slurm: Slurm, molecule: Molecule, submit: Callable[..., str],
    told: Callable[[str, float], None],
) -> None:  # fmt: skip
    site.submit(molecule("CO"), "C")
    number = submit()
    suspended(site, number)
    assert site.recover().total == 0, "it runs"
    slurm.ask("scancel", number)
    put_back_once_over(site, number, "cancelled", partial(told, "scancel of a running job"), 60)
    run_to_the_end(site)


@pytest.mark.slow
def test_of_a_job_whose_worker_is_killed_with_its_codes_supervisor_nothing_runs_on(
    site: Site, molecule: Molecule, submit: Callable[..., str],
    told: Callable[[str, float], None],
) -> None:  # fmt: skip
    site.submit(molecule("CO"), "C")
    number = submit()
    site.until(site.feff)
    found = site.pad.launches.find_one({"state": "RUNNING"})
    worker = WorkerIdentity.parse(found["fworker"]["name"])
    assert worker is not None
    site.kill_with_supervisor(psutil.Process(worker.pid))
    site.until(lambda: not site.feff(), seconds=10)
    told("worker and supervisor killed", site.put_back("job_failed", number))
    run_to_the_end(site)


@pytest.mark.slow
def test_a_job_that_meets_its_walltime_is_put_back_by_that_name(
    site: Site, molecule: Molecule, submit: Callable[..., str],
    told: Callable[[str, float], None],
) -> None:  # fmt: skip
    site.submit(molecule("CO"), "C")
    number = submit("--time=1")
    with kept_suspended(suspended(site, number)):
        put_back_once_over(site, number, "timed_out", partial(told, "walltime"), 180)
    run_to_the_end(site)


@pytest.mark.slow
def test_what_a_failed_node_left_behind_is_run_again_and_refused(
    site: Site, slurm: Slurm, molecule: Molecule, submit: Callable[..., str], tmp_path: Path,
    told: Callable[[str, float], None],
) -> None:  # fmt: skip
    site.submit(molecule("CO"), "C")
    number = submit()
    worker = suspended(site, number)
    os.kill(slurm.pid("slurmd"), signal.SIGKILL)
    assert site.recover().total == 0, "nobody knows yet"
    told("slurmd killed", site.put_back("node_failed", number))
    assert worker.is_running()
    assert site.run().completed == 2
    worker.resume()
    site.until(lambda: not site.works(worker))
    (said,) = [
        json.loads(line)
        for line in (tmp_path / "job.out").read_text().splitlines()
        if line.startswith("{")
    ]
    assert (said["completed"], said["refused"]) == (0, 1)
    site.check_complete()
    site.check_nothing_over()


@pytest.mark.slow
def test_a_controller_that_is_killed_changes_nothing_until_it_answers_again(
    site: Site, slurm: Slurm, molecule: Molecule, submit: Callable[..., str], tmp_path: Path,
    told: Callable[[str, float], None],
) -> None:  # fmt: skip
    site.submit(molecule("CO"), "C")
    job_name = uuid.uuid4().hex
    number = submit("--hold", f"--job-name={job_name}")
    name = WorkerIdentity.of_this_process().name
    _, launch = site.pad.reserve_fw(FWorker(name=name), str(tmp_path))
    site.pad.set_reservation_id(launch, number)
    # What slurmctld saves every few seconds is all that it knows after it was killed: a job that it
    # took since is lost, and its number given again.
    saved = slurm.folder / "state" / "job_state"
    site.until(lambda: job_name.encode() in saved.read_bytes())
    os.kill(slurm.pid("slurmctld"), signal.SIGKILL)
    site.until(lambda: states_of([f"slurm:{number}"])[f"slurm:{number}"] == "unknown")
    assert site.recover().total == 0, "it does not answer"
    slurm.up()
    assert states_of([f"slurm:{number}"])[f"slurm:{number}"] == "pending"
    assert site.recover().total == 0, "the job still waits"
    assert site.state() == "RESERVED"
    slurm.ask("scancel", number)
    told(
        "slurmctld killed and started again, then scancel",
        site.put_back("pending_cancelled", number),
    )
    run_to_the_end(site)
