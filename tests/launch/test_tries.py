"""Who is to blame when a batch job fails that several jobs shared."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from fireworks import Firework, FWAction, Workflow
from fireworks.core.fworker import FWorker

from nearedge.launch import recovery
from nearedge.launch.fencing import FencedLaunchPad
from nearedge.launch.fireworks import SPEC_KEY
from nearedge.launch.identity import WorkerIdentity
from nearedge.launch.recovery import recover
from nearedge.launch.scheduler import JobState
from nearedge.launch.token import note_progress
from nearedge.store.operations import MongoDatabase

PILOT = replace(WorkerIdentity.of_this_process(), machine="a node", batch="slurm:77")

Begin = Callable[..., int]


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recovery, "LOCK_SECONDS", 0.0)


@pytest.fixture
def begin(pad: FencedLaunchPad, idle: Callable[..., Firework], tmp_path: Path) -> Begin:
    """Return a function that lets a worker of a batch job take a job, and adds that if need be."""

    def take(batch: str, fw_id: int | None = None, kind: str = "site") -> int:
        if fw_id is None:
            firework = idle(**{SPEC_KEY: {"kind": kind, "label": "TiO2 Ti0 K"}})
            pad.add_wf(Workflow([firework]))
            fw_id = int(firework.fw_id)
        pad.checkout_fw(FWorker(name=replace(PILOT, batch=batch).name), str(tmp_path), fw_id=fw_id)
        return fw_id

    return take


def failed(batch_ids: Iterable[str]) -> dict[str, JobState]:
    return dict.fromkeys(batch_ids, JobState.FAILED)


def state(pad: FencedLaunchPad, fw_id: int) -> str:
    return str(pad.fireworks.find_one({"fw_id": fw_id})["state"])


def is_apart(pad: FencedLaunchPad, fw_id: int) -> bool:
    return "set_apart" in pad.fireworks.find_one({"fw_id": fw_id})["spec"][SPEC_KEY]


def test_of_jobs_that_share_a_failed_batch_job_none_is_blamed_and_each_gets_one_of_its_own(
    pad: FencedLaunchPad, memory_database: MongoDatabase, begin: Begin
) -> None:
    jobs = [begin("slurm:77") for _ in range(3)]
    done = recover(pad, memory_database, tries=1, ask=failed)
    assert set(done.ids("job_failed")) == set(jobs)
    assert done.exhausted == ()
    assert {state(pad, each) for each in jobs} == {"READY"}
    assert all(is_apart(pad, each) for each in jobs)
    begin("slurm:78", jobs[0])
    done = recover(pad, memory_database, tries=1, ask=failed)
    assert done.exhausted == (jobs[0],), "there it is alone, and to blame"
    assert state(pad, jobs[0]) == "FIZZLED"


def test_a_job_that_is_alone_in_a_failed_batch_job_is_to_blame(
    pad: FencedLaunchPad, memory_database: MongoDatabase, begin: Begin
) -> None:
    one, other = begin("slurm:77"), begin("slurm:78")
    done = recover(pad, memory_database, tries=1, ask=failed)
    assert set(done.exhausted) == {one, other}
    assert not is_apart(pad, one)


def test_jobs_of_one_batch_job_that_two_looks_find_one_by_one_shared_it_as_well(
    pad: FencedLaunchPad, memory_database: MongoDatabase, begin: Begin
) -> None:
    first = begin("slurm:77")
    recover(pad, memory_database, tries=2, ask=failed)
    other = begin("slurm:77")
    assert recover(pad, memory_database, tries=1, ask=failed).exhausted == ()
    assert (is_apart(pad, first), is_apart(pad, other)) == (False, True)


def test_one_that_is_found_while_another_still_dies_shared_its_batch_job_as_well(
    pad: FencedLaunchPad, memory_database: MongoDatabase, begin: Begin
) -> None:
    dead, dying = begin("slurm:77"), begin("slurm:77")
    here = replace(WorkerIdentity.of_this_process(), batch="slurm:77")
    pad.launches.update_one({"fw_id": dying}, {"$set": {"fworker.name": here.name}})
    done = recover(pad, memory_database, tries=1, ask=failed)
    assert (done.ids("job_failed"), done.exhausted) == ((dead,), ())
    assert (is_apart(pad, dead), state(pad, dying)) == (True, "RUNNING")


def test_what_is_light_is_not_set_apart(
    pad: FencedLaunchPad, memory_database: MongoDatabase, begin: Begin
) -> None:
    site, average = begin("slurm:77"), begin("slurm:77", kind="average")
    recover(pad, memory_database, tries=1, ask=failed)
    assert (is_apart(pad, site), is_apart(pad, average)) == (True, False)
    assert state(pad, average) == "READY"


def test_jobs_that_share_failed_batch_jobs_again_and_again_are_left_as_failures_in_the_end(
    pad: FencedLaunchPad, memory_database: MongoDatabase, begin: Begin
) -> None:
    """As where no `nearedge queue` gives them a batch job of their own."""
    jobs = [begin("slurm:77") for _ in range(2)]
    for _ in range(9):
        assert recover(pad, memory_database, tries=1, ask=failed).exhausted == ()
        for each in jobs:
            begin("slurm:77", each)
    assert set(recover(pad, memory_database, tries=1, ask=failed).exhausted) == set(jobs)


@pytest.mark.parametrize("how", ["cut off", "the machine's fault"])
def test_a_launch_that_has_stored_something_is_not_counted_and_one_that_has_not_is(
    pad: FencedLaunchPad, memory_database: MongoDatabase, begin: Begin, how: str
) -> None:
    """As of a pack that comes to its end over several batch jobs, or gets nowhere in any."""

    def ask(batch_ids: Iterable[str]) -> dict[str, JobState]:
        return dict.fromkeys(batch_ids, JobState.TIMEOUT)

    def ends() -> None:
        if how == "cut off":
            return
        error = "nearedge.errors.ResourceError: The disk is full."
        action = FWAction(stored_data={"_exception": {"_stacktrace": error}}, exit=True)
        pad.complete_launch(pad.fireworks.find_one({})["launches"][-1], action, "FIZZLED")

    job = begin("slurm:70", kind="pack")
    for number in range(3):
        for _ in range(2):
            note_progress(pad.db)
        ends()
        assert recover(pad, memory_database, tries=2, ask=ask).exhausted == ()
        begin(f"slurm:{71 + number}", job)
    ends()
    assert recover(pad, memory_database, tries=2, ask=ask).exhausted == (), "the first in vain"
    begin("slurm:77", job)
    ends()
    assert recover(pad, memory_database, tries=2, ask=ask).exhausted == (job,)
    assert state(pad, job) == "FIZZLED"


@pytest.mark.parametrize(("scheduler", "ends"), [("sge", True), ("slurm", False)])
def test_what_grid_engine_calls_cancelled_whoever_killed_it_is_not_repeated_for_ever(
    pad: FencedLaunchPad,
    memory_database: MongoDatabase,
    begin: Begin,
    scheduler: str,
    ends: bool,
) -> None:
    def ask(batch_ids: Iterable[str]) -> dict[str, JobState]:
        return dict.fromkeys(batch_ids, JobState.CANCELLED)

    job = begin(f"{scheduler}:1")
    for number in range(2, 11):
        assert recover(pad, memory_database, tries=1, ask=ask).exhausted == ()
        begin(f"{scheduler}:{number}", job)
    done = recover(pad, memory_database, tries=1, ask=ask)
    assert done.exhausted == ((job,) if ends else ())
    assert state(pad, job) == ("FIZZLED" if ends else "READY")
