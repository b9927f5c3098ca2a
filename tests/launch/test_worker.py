"""A worker leaves nothing behind that only looks like the end of the queue."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import jobflow
import pytest
from fireworks import Firework, FWAction, Workflow
from fireworks.core.fworker import FWorker
from fireworks.core.launchpad import LaunchPad
from pymongo.errors import AutoReconnect

from nearedge.launch import recovery
from nearedge.launch.fencing import FencedLaunchPad
from nearedge.launch.fireworks import ensure_launchpad_indexes, launchpad
from nearedge.launch.recovery import bring_on
from nearedge.launch.worker import Worker
from nearedge.settings import Settings

Idle = Callable[..., Firework]


class ServerClock(Protocol):
    """The database server's clock."""

    def passes(self, minutes: float) -> None: ...


@pytest.fixture
def job_store() -> Iterator[None]:
    """Give back the job store that a worker replaces."""
    before = jobflow.SETTINGS.JOB_STORE
    yield
    jobflow.SETTINGS.JOB_STORE = before


def _fail_once(
    monkeypatch: pytest.MonkeyPatch, name: str, *, call: int = 1, after: bool = False
) -> list[str]:
    """Let the database go away in the given call of a method of the launchpad."""
    original, calls = getattr(FencedLaunchPad, name), []

    def failing(self: FencedLaunchPad, *arguments: object, **options: object) -> object:
        calls.append(name)
        gone = len(calls) == call
        if gone and not after:
            raise AutoReconnect("connection closed")
        result = original(self, *arguments, **options)
        if gone:
            raise AutoReconnect("connection closed")
        return result

    monkeypatch.setattr(FencedLaunchPad, name, failing)
    return calls


@pytest.mark.integration
@pytest.mark.usefixtures("job_store")
@pytest.mark.parametrize(
    ("name", "call", "after"),
    [
        ("get_new_launch_id", 1, False),  # reserved, and no launch
        ("_upsert_fws", 1, False),  # a launch that the job does not know of
        ("_update_wf", 1, False),  # runs, and FireWorks believes it fizzled
        ("get_wf_by_fw_id_lzyfw", 2, False),  # has ended, and the children do not know
        ("complete_launch", 1, True),  # all is done
    ],
)
def test_a_database_that_goes_away_anywhere_costs_no_job(
    live_settings: Settings, idle: Idle, monkeypatch: pytest.MonkeyPatch,
    name: str, call: int, after: bool,
) -> None:  # fmt: skip
    monkeypatch.setattr(recovery, "RESERVATION_SECONDS", 0.5)
    pad = launchpad(live_settings)
    ensure_launchpad_indexes(pad)
    site = idle()
    pad.add_wf(Workflow([site, idle(parents=[site])]))
    calls = _fail_once(monkeypatch, name, call=call, after=after)
    summary = Worker(live_settings).work()
    assert len(calls) >= call, "the database went away"
    states = [each["state"] for each in pad.fireworks.find({}, {"state": 1})]
    assert states == ["COMPLETED", "COMPLETED"]
    assert summary.failed == 0


def test_a_job_that_another_worker_has_just_reserved_is_waited_for(
    pad: LaunchPad, idle: Idle, clock: ServerClock
) -> None:
    pad.add_wf(idle())
    assert bring_on(pad, {})
    pad.fireworks.update_one({}, {"$set": {"state": "RESERVED"}})
    assert bring_on(pad, {}), "it runs in a moment, or is put back"
    assert not bring_on(pad, {"spec.nearedge.convergence_id": "another's"})
    assert pad.fireworks.find_one({})["state"] == "RESERVED"
    clock.passes(1.5)
    assert bring_on(pad, {})
    assert pad.fireworks.find_one({})["state"] == "READY"


def test_a_batch_queues_reservation_is_not_waited_for(pad: LaunchPad, idle: Idle) -> None:
    pad.add_wf(idle())
    pad.reserve_fw(FWorker(), "/nowhere")
    assert not bring_on(pad, {})


def test_a_job_whose_parents_have_ended_is_made_ready(pad: LaunchPad, idle: Idle) -> None:
    site = idle()
    pad.add_wf(Workflow([site, idle(parents=[site])]))
    firework, launch_id = pad.checkout_fw(FWorker(), "/nowhere")
    assert not bring_on(pad, {}), "the parent runs: its worker goes on with the child"
    pad.complete_launch(launch_id, FWAction())
    pad.fireworks.update_one({"state": "READY"}, {"$set": {"state": "WAITING"}})
    pad.workflows.update_one({}, {"$set": {f"fw_states.{firework.fw_id + 1}": "WAITING"}})
    assert bring_on(pad, {})
    assert pad.fireworks.count_documents({"state": "READY"}) == 1


@pytest.mark.integration
@pytest.mark.usefixtures("job_store")
def test_a_worker_that_puts_its_job_back_leaves_a_newer_launch_of_it_alone(
    live_settings: Settings, idle: Idle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = Worker(live_settings)
    worker.pad.add_wf(idle())
    folder = tmp_path / "mine"
    _, mine = worker.pad.checkout_fw(FWorker(name=worker.identity.name), str(folder))
    assert mine is not None
    look = Worker._left_half_way

    def overtaken(self: Worker, launch: dict[str, Any]) -> str | None:
        found = look(self, launch)
        assert self.pad.give_up(1, mine, "RUNNING", "lost"), "somebody took us for gone"
        self.pad.checkout_fw(FWorker(name="other"), str(tmp_path / "other"))
        return found

    monkeypatch.setattr(Worker, "_left_half_way", overtaken)
    worker._settle(folder)
    (job,) = worker.pad.fireworks.find({})
    assert (job["state"], job["launches"]) == ("RUNNING", [mine + 1])
    assert worker.summary.put_back == 0
