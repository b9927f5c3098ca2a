"""A worker says who it is, and in which batch job, in a name that is read back."""

from __future__ import annotations

from dataclasses import replace

import psutil
import pytest

from nearedge.launch.identity import WorkerIdentity, batch_job


@pytest.mark.parametrize(
    ("environment", "batch"),
    [
        ({"SLURM_JOB_ID": "1234"}, "slurm:1234"),
        ({"SLURM_JOB_ID": "1235", "SLURM_ARRAY_JOB_ID": "1234"}, "slurm:1235"),
        ({"PBS_JOBID": "77.head"}, "pbs:77.head"),
        ({"JOB_ID": "9", "SGE_ROOT": "opt"}, "sge:9"),
        ({"JOB_ID": "9"}, None),
        ({"SLURM_JOB_ID": ""}, None),
        ({}, None),
    ],
)
def test_the_batch_job_is_read_from_the_schedulers_environment(
    environment: dict[str, str], batch: str | None
) -> None:
    assert batch_job(environment) == batch


@pytest.mark.parametrize("batch", [None, "slurm:1234", "pbs:77.head"])
def test_a_name_is_read_back_with_its_batch_job(batch: str | None) -> None:
    worker = WorkerIdentity("node1", "boot-1", 42, 1700000000.25, batch)
    assert WorkerIdentity.parse(worker.name) == worker


def test_a_worker_outside_of_a_batch_job_is_named_as_before() -> None:
    assert WorkerIdentity("node1", "boot-1", 42, 5.0).name == "node1|boot-1|42|5.00"


@pytest.mark.parametrize("name", ["", "a", "a|b|c|1", "a|b|1|x", "a|b|1|2|slurm:1|more"])
def test_the_name_of_another_program_is_not_read(name: str) -> None:
    assert WorkerIdentity.parse(name) is None


def test_this_process_says_the_batch_job_it_runs_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    worker = WorkerIdentity.of_this_process()
    assert worker.batch == "slurm:77"
    assert worker.alive()


def test_a_process_that_named_itself_by_the_time_of_day_is_known_again() -> None:
    worker = WorkerIdentity.of_this_process()
    begun = psutil.Process().create_time()
    assert replace(worker, started=begun).alive()
    assert not replace(worker, started=begun - 3600.0).alive()


def test_a_process_that_may_not_be_looked_into_counts_as_alive(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    worker = WorkerIdentity.of_this_process()

    def refuse(process: psutil.Process) -> str:
        raise psutil.AccessDenied(process.pid)

    monkeypatch.setattr(psutil.Process, "status", refuse)
    assert worker.alive()


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_process_stays_the_same_when_its_machines_clock_is_set(
    monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    worker = WorkerIdentity.of_this_process()
    booted = psutil.boot_time() + 3600 * hours
    started = psutil.Process().create_time() + 3600 * hours
    monkeypatch.setattr(psutil, "boot_time", lambda: booted)
    monkeypatch.setattr(psutil.Process, "create_time", lambda _: started)
    assert worker.alive()
    assert WorkerIdentity.of_this_process() == worker
