"""What a launch that was given up would still write is refused, wherever it was interrupted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fireworks import Firework, FWAction, Workflow
from fireworks.core.fworker import FWorker
from fireworks.core.launchpad import LaunchPad
from pymongo.errors import AutoReconnect

from nearedge.errors import LaunchGivenUp
from nearedge.launch.conditional import ConditionalLaunchPad, Superseded
from nearedge.launch.fencing import FencedLaunchPad
from nearedge.launch.fireworks import JOB_OUTPUTS
from nearedge.launch.outputs import FencedOutputs
from nearedge.launch.token import CurrentLaunch, current_launch, hold

Idle = Callable[..., Firework]


@pytest.fixture
def job(pad: FencedLaunchPad, idle: Idle) -> int:
    """Return a job with one child that waits for it."""
    parent = idle()
    pad.add_wf(Workflow([parent, idle(parents=[parent])]))
    return 2  # FireWorks numbers what it was given last first


def take(pad: LaunchPad, folder: Path, worker: str = "one") -> int:
    """Let a worker begin with the next job, and return its launch."""
    firework, launch = pad.checkout_fw(FWorker(name=worker), str(folder))
    assert firework is not None
    return int(launch)


def states(pad: LaunchPad) -> list[str]:
    return [row["state"] for row in pad.fireworks.find({}).sort("fw_id", -1)]


def test_a_launch_that_was_given_up_cannot_end_its_job(
    pad: FencedLaunchPad, job: int, tmp_path: Path
) -> None:
    old = take(pad, tmp_path / "1")
    assert pad.give_up(job, old, "RUNNING", "lost")
    with pytest.raises(LaunchGivenUp, match=f"Launch {old} was given up"):
        pad.complete_launch(old, FWAction())
    new = take(pad, tmp_path / "2", "two")
    with pytest.raises(LaunchGivenUp):
        pad.complete_launch(old, FWAction(), "FIZZLED")
    assert states(pad) == ["RUNNING", "WAITING"]
    pad.complete_launch(new, FWAction())
    assert states(pad) == ["COMPLETED", "READY"]
    assert pad.launches.find_one({"launch_id": old})["given_up"] == "lost"


def test_a_launch_that_ended_before_it_could_be_given_up_is_left_as_it_ended(
    pad: FencedLaunchPad, job: int, tmp_path: Path
) -> None:
    launch = take(pad, tmp_path)
    pad.launches.update_one(
        {"launch_id": launch}, {"$set": {"state": "COMPLETED", "action": FWAction().to_dict()}}
    )
    assert not pad.give_up(job, launch, "RUNNING", "lost"), "its end is only not recorded yet"
    pad._refresh_wf(job)
    assert not pad.give_up(job, launch, "RUNNING", "lost")
    assert states(pad) == ["COMPLETED", "READY"]


def test_of_two_that_give_a_launch_up_one_does(
    pad: FencedLaunchPad, job: int, tmp_path: Path
) -> None:
    launch = take(pad, tmp_path)
    assert [pad.give_up(job, launch, "RUNNING", "lost") for _ in range(2)] == [True, False]
    assert states(pad) == ["READY", "WAITING"]
    again = take(pad, tmp_path / "again")
    assert not pad.give_up(job, launch, "RUNNING", "lost"), "the newer launch is not meant"
    assert pad.fireworks.find_one({"fw_id": job})["launches"] == [again]


@pytest.mark.parametrize("rerun", [False, True], ids=["put back", "runs again"])
def test_an_update_that_was_read_before_the_launch_was_given_up_changes_nothing(
    pad: FencedLaunchPad, job: int, tmp_path: Path, rerun: bool
) -> None:
    """As a process that is stopped in the middle of FireWorks' update finds it."""
    old = take(pad, tmp_path / "1")
    pad.launches.update_one(
        {"launch_id": old}, {"$set": {"state": "COMPLETED", "action": FWAction().to_dict()}}
    )
    stale = pad.get_wf_by_fw_id_lzyfw(job)
    updated = stale.refresh(job)
    assert stale.id_fw[job].state == "COMPLETED"
    pad.launches.update_one({"launch_id": old}, {"$set": {"state": "RUNNING"}})
    assert pad.give_up(job, old, "RUNNING", "lost")
    if rerun:
        take(pad, tmp_path / "2")
    before = states(pad)
    with pytest.raises(Superseded):
        pad._update_wf(stale, updated)
    assert states(pad) == before
    assert pad.workflows.find_one({})["fw_states"][str(job)] == before[0]


def test_jobs_that_a_refused_update_would_have_added_do_not_stay(
    pad: FencedLaunchPad, job: int, tmp_path: Path, idle: Idle
) -> None:
    old = take(pad, tmp_path)
    action = FWAction(detours=[Workflow([idle()])])
    pad.launches.update_one(
        {"launch_id": old}, {"$set": {"state": "COMPLETED", "action": action.to_dict()}}
    )
    stale = pad.get_wf_by_fw_id_lzyfw(job)
    updated = stale.refresh(job)
    pad.launches.update_one({"launch_id": old}, {"$set": {"state": "RUNNING"}})
    pad.give_up(job, old, "RUNNING", "lost")
    with pytest.raises(Superseded):
        pad._update_wf(stale, updated)
    assert pad.fireworks.count_documents({}) == 2


def test_a_reservation_that_was_given_up_meanwhile_is_no_launch(
    pad: FencedLaunchPad, job: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reserve = LaunchPad._get_a_fw_to_run
    other: list[int] = []

    def suspended(self: LaunchPad, *arguments: object, **options: object) -> Firework:
        found = reserve(self, *arguments, **options)
        if not other:
            other.append(0)
            self.fireworks.update_one({"fw_id": job}, {"$set": {"state": "READY"}})
            other[0] = take(self, tmp_path / "other", "two")
        return found

    monkeypatch.setattr(LaunchPad, "_get_a_fw_to_run", suspended)
    assert pad.checkout_fw(FWorker(name="one"), str(tmp_path / "mine")) == (None, None)
    assert current_launch() is None
    assert pad.fireworks.find_one({"fw_id": job})["launches"] == other
    assert [row["launch_id"] for row in pad.launches.find({})] == other, "no launch is left over"


def test_a_lock_that_stands_still_is_taken_over_and_its_holder_refused(
    pad: FencedLaunchPad, job: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nearedge.launch.conditional.LOCK_SECONDS", 0.2)
    launch = take(pad, tmp_path)
    other = FencedLaunchPad.__new__(FencedLaunchPad)
    other.__dict__.update(pad.__dict__)
    with pad._locked(job):
        stale = pad.get_wf_by_fw_id_lzyfw(job)
        other.complete_launch(launch, FWAction())
        assert states(pad) == ["COMPLETED", "READY"]
        with pytest.raises(Superseded, match="lock"):
            pad._update_wf(stale, [])
    assert pad.workflows.find_one({})["fw_states"][str(job)] == "COMPLETED"


def test_who_gives_a_launch_up_says_so_also_where_its_lock_was_taken_over_at_the_end(
    pad: FencedLaunchPad, job: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    launch = take(pad, tmp_path)
    write = FencedLaunchPad._upsert_fws

    def taken_over(self: FencedLaunchPad, *arguments: object) -> dict[int, int]:
        monkeypatch.setattr(FencedLaunchPad, "_upsert_fws", write)
        written: dict[int, int] = write(self, *arguments)
        self.workflows.update_one({}, {"$unset": {"locked": True}})
        return written

    monkeypatch.setattr(FencedLaunchPad, "_upsert_fws", taken_over)
    assert pad.give_up(job, launch, "RUNNING", "lost")
    assert states(pad) == ["READY", "WAITING"]
    workflow = pad.workflows.find_one({})
    assert (workflow["fw_states"][str(job)], "locked" in workflow) == ("READY", False)
    assert not pad.give_up(job, launch, "RUNNING", "lost"), "once"


def test_what_jobs_are_made_of_is_imported_before_a_lock_is_taken(
    pad: FencedLaunchPad, job: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    launch = take(pad, tmp_path)
    monkeypatch.setattr(ConditionalLaunchPad, "_has_read", False)
    read = FencedLaunchPad.get_fw_by_id
    locked = []

    def seen(self: FencedLaunchPad, fw_id: int) -> Firework:
        locked.append(self.workflows.count_documents({"locked": {"$exists": True}}))
        return read(self, fw_id)

    monkeypatch.setattr(FencedLaunchPad, "get_fw_by_id", seen)
    assert pad.give_up(job, launch, "RUNNING", "lost")
    assert locked == [0]


def test_a_job_can_be_left_fizzled_by_the_name_of_what_ended_it(
    pad: FencedLaunchPad, job: int, tmp_path: Path
) -> None:
    old = take(pad, tmp_path)
    error = "nearedge.errors.ResourceError: timed out three times"
    assert pad.give_up(job, old, "RUNNING", "timed_out", fizzle=error)
    assert states(pad) == ["FIZZLED", "WAITING"]
    with pytest.raises(LaunchGivenUp):
        pad.complete_launch(old, FWAction())
    assert states(pad) == ["FIZZLED", "WAITING"]
    assert pad.rerun_fw(job) == [job]
    assert states(pad) == ["READY", "WAITING"]


def test_a_ping_survives_a_database_that_is_away(
    pad: FencedLaunchPad, job: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    launch = take(pad, tmp_path)

    def away(*_: object, **__: object) -> None:
        raise AutoReconnect("connection closed")

    monkeypatch.setattr(LaunchPad, "ping_launch", away)
    pad.ping_launch(launch)


@pytest.fixture
def outputs(pad: FencedLaunchPad) -> FencedOutputs:
    """Return the store of outputs in the launchpad's database."""
    store = FencedOutputs(database="launchpad", collection_name=JOB_OUTPUTS)
    store._coll = pad.db[JOB_OUTPUTS]
    return store


def output(value: int) -> dict[str, Any]:
    return {"uuid": "u", "index": 1, "output": value}


def stored(pad: LaunchPad) -> list[int]:
    return [row["output"] for row in pad.db[JOB_OUTPUTS].find({})]


def test_an_old_launch_puts_no_output_before_or_after_the_newer_one(
    pad: FencedLaunchPad, job: int, tmp_path: Path, outputs: FencedOutputs
) -> None:
    old = CurrentLaunch(job, take(pad, tmp_path / "1"))
    pad.give_up(job, old.launch_id, "RUNNING", "lost")
    hold(old)
    with pytest.raises(LaunchGivenUp):
        outputs.update(output(1), key=["uuid", "index"])
    assert stored(pad) == []
    take(pad, tmp_path / "2")
    outputs.update(output(2), key=["uuid", "index"])
    outputs.update(output(2), key=["uuid", "index"])
    assert stored(pad) == [2]
    # Even had it been asked before it was given up: the condition is part of the write.
    with pytest.raises(LaunchGivenUp, match="later launch's"):
        outputs._put(output(1), old)
    assert stored(pad) == [2]


def test_an_output_of_an_earlier_launch_or_release_is_replaced(
    pad: FencedLaunchPad, job: int, tmp_path: Path, outputs: FencedOutputs
) -> None:
    pad.db[JOB_OUTPUTS].insert_one(output(1))
    take(pad, tmp_path)
    outputs.update([output(2)], key=["uuid", "index"])
    assert stored(pad) == [2]


def links(pad: LaunchPad) -> tuple[int, set[int]]:
    """Return how many jobs there are, and those that are in a workflow."""
    nodes = {node for row in pad.workflows.find({}) for node in row["nodes"]}
    return pad.fireworks.count_documents({}), nodes


def interrupt(
    pad: FencedLaunchPad, monkeypatch: pytest.MonkeyPatch, act: Callable[[], None]
) -> None:
    """Do something once between what an update writes of jobs and what it writes of workflows."""
    upsert = FencedLaunchPad._upsert_fws
    done: list[bool] = []

    def then(self: FencedLaunchPad, *arguments: Any, **options: Any) -> dict[int, int]:
        new = upsert(self, *arguments, **options)
        if new and not done:
            done.append(True)
            act()
        return new

    monkeypatch.setattr(FencedLaunchPad, "_upsert_fws", then)


def test_a_detour_is_linked_once_although_the_lock_was_lost_before_it_was(
    pad: FencedLaunchPad, job: int, tmp_path: Path, idle: Idle, monkeypatch: pytest.MonkeyPatch
) -> None:
    launch = take(pad, tmp_path)
    unlock = {"$unset": {"locked": True}}
    interrupt(pad, monkeypatch, lambda: pad.workflows.update_one({}, unlock))
    pad.complete_launch(launch, FWAction(detours=[Workflow([idle()])]))
    number, linked = links(pad)
    assert (number, len(linked)) == (3, 3), "none is left over and none is missing"
    (detour,) = linked - {1, 2}
    assert {row["fw_id"]: row["state"] for row in pad.fireworks.find({})} == {
        job: "COMPLETED", 1: "WAITING", detour: "READY"
    }  # fmt: skip
    assert pad.workflows.find_one({})["fw_states"][str(detour)] == "READY"


def test_no_worker_takes_a_job_before_it_is_linked(
    pad: FencedLaunchPad, job: int, tmp_path: Path, idle: Idle, monkeypatch: pytest.MonkeyPatch
) -> None:
    launch = take(pad, tmp_path)
    seen: list[int] = []
    ready = {"state": "READY"}
    interrupt(pad, monkeypatch, lambda: seen.append(pad.fireworks.count_documents(ready)))
    pad.complete_launch(launch, FWAction(detours=[Workflow([idle()])]))
    assert seen == [0]
    assert pad.fireworks.count_documents(ready) == 1


def test_a_worker_that_meets_a_job_in_no_workflow_does_not_run_it_and_goes_on(
    pad: FencedLaunchPad, job: int, tmp_path: Path, idle: Idle
) -> None:
    pad.fireworks.insert_one({**idle(_priority=9).to_db_dict(), "fw_id": 99, "state": "READY"})
    worker = FWorker(name="one")
    assert pad.checkout_fw(worker, str(tmp_path / "1")) == (None, None)
    assert pad.fireworks.find_one({"fw_id": 99})["state"] == "FIZZLED"
    firework, _ = pad.checkout_fw(worker, str(tmp_path / "2"))
    assert firework is not None
    assert firework.fw_id == job


def test_a_job_that_cannot_be_read_because_the_database_went_away_does_not_fizzle(
    pad: FencedLaunchPad, job: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as away:
        away.setattr(pad, "get_fw_dict_by_id", _goes_away)
        with pytest.raises(AutoReconnect):
            pad.run_exists(FWorker())
        assert states(pad) == ["READY", "WAITING"]
        with pytest.raises(AutoReconnect):
            take(pad, tmp_path)
    assert states(pad) == ["RESERVED", "WAITING"], "by nobody: `recover` makes it ready"


def test_a_worker_that_comes_back_does_not_unsay_why_its_launch_was_given_up(
    pad: FencedLaunchPad, job: int, tmp_path: Path
) -> None:
    launch = take(pad, tmp_path)
    assert pad.give_up(job, launch, "RUNNING", "lost")
    pad.restore_backup_data(launch, job)  # as FireWorks does when its end is refused
    assert pad.launches.find_one({"launch_id": launch})["given_up"] == "lost"


def _goes_away(_: int) -> dict[str, Any]:
    raise AutoReconnect("connection closed")


def test_nothing_is_noted_in_a_launch_that_its_worker_changed_since_it_was_seen(
    pad: FencedLaunchPad, job: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or a job that has just begun would be ready again at the next update of its workflow."""
    firework, launch = pad.reserve_fw(FWorker(name="queue"), str(tmp_path))
    assert firework.fw_id == job
    read = pad.get_wf_by_fw_id_lzyfw

    def begun_since(fw_id: int) -> Workflow:
        workflow = read(fw_id)
        assert [each.state for each in workflow.id_fw[fw_id].launches]
        pad.launches.update_one({"launch_id": launch}, {"$set": {"state": "RUNNING"}})
        pad.fireworks.update_one({"fw_id": fw_id}, {"$set": {"state": "RUNNING"}})
        return workflow

    with monkeypatch.context() as racing:
        racing.setattr(pad, "get_wf_by_fw_id_lzyfw", begun_since)
        assert not pad.give_up(job, launch, "RESERVED", "pending_cancelled")
    stored = pad.launches.find_one({"launch_id": launch})
    assert (stored["state"], "given_up" in stored) == ("RUNNING", False)
    pad._refresh_wf(job)
    assert states(pad) == ["RUNNING", "WAITING"]
