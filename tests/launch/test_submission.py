"""A submission that dies half-way leaves nothing that looks queued and cannot be finished."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Protocol

import pytest
from fireworks import Firework, Workflow
from fireworks.core.launchpad import LaunchPad
from pymongo.errors import AutoReconnect

from nearedge.launch.heartbeat import WORKERS
from nearedge.launch.identity import WorkerIdentity
from nearedge.launch.submission import SUBMISSIONS, add_workflows, withdraw_torn

Idle = Callable[..., Firework]


class ServerClock(Protocol):
    """The database server's."""

    def passes(self, minutes: float) -> None: ...


def pair(idle: Idle) -> Workflow:
    first = idle()
    return Workflow([first, idle(parents=[first])])


@pytest.fixture
def torn(pad: LaunchPad, idle: Idle, monkeypatch: pytest.MonkeyPatch) -> LaunchPad:
    """A launchpad whose database went away after the first Firework of the second of two flows."""
    insert = pad.fireworks.insert_many

    def some(documents: object) -> None:
        insert(list(documents)[:3])  # type: ignore[call-overload]
        raise AutoReconnect("gone")

    with monkeypatch.context() as patched:
        patched.setattr(pad.fireworks, "insert_many", some)
        with pytest.raises(AutoReconnect):
            add_workflows(pad, [pair(idle), pair(idle)])
    assert pad.workflows.count_documents({}) == 2
    assert pad.fireworks.count_documents({}) == 3
    return pad


def test_what_is_torn_is_taken_out_and_what_is_whole_stays(torn: LaunchPad) -> None:
    assert withdraw_torn(torn) == 1
    (whole,) = torn.workflows.find({})
    kept = torn.fireworks.distinct("fw_id")
    assert sorted(kept) == sorted(whole["nodes"])
    assert torn.db[SUBMISSIONS].count_documents({}) == 0
    assert withdraw_torn(torn) == 0


def test_a_batch_that_somebody_alive_inserts_is_left_alone(
    torn: LaunchPad, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = WorkerIdentity.of_this_process()
    torn.db[SUBMISSIONS].update_many(
        {}, {"$set": {"submitter": WorkerIdentity(other.host, other.machine, 1, 5.0).name}}
    )
    monkeypatch.setattr(WorkerIdentity, "alive", lambda self: True)
    assert withdraw_torn(torn) == 0
    monkeypatch.setattr(WorkerIdentity, "alive", lambda self: False)
    assert withdraw_torn(torn) == 1


@pytest.mark.parametrize("hours", [-2, 2], ids=["slow", "fast"])
def test_another_machines_batch_is_given_time_whatever_its_clock_says(
    torn: LaunchPad, clock: ServerClock, hours: int
) -> None:
    since = datetime.now(UTC) + timedelta(hours=hours)
    far = {"submitter": "far|away|1|5.0", "since": since}
    torn.db[SUBMISSIONS].update_many({}, {"$set": far})
    assert withdraw_torn(torn) == 0
    for _ in range(5):
        clock.passes(2)
        taken_out = withdraw_torn(torn)
    assert taken_out == 1, "ten minutes were watched"
    assert torn.db[WORKERS].count_documents({}) == 0


def test_a_whole_submission_announces_nothing_afterwards(pad: LaunchPad, idle: Idle) -> None:
    add_workflows(pad, [pair(idle) for _ in range(3)])
    assert pad.fireworks.count_documents({}) == 6
    assert pad.db[SUBMISSIONS].count_documents({}) == 0
    assert withdraw_torn(pad) == 0


def test_adding_many_workflows_draws_no_bar(
    pad: LaunchPad, idle: Idle, capfd: pytest.CaptureFixture[str]
) -> None:
    add_workflows(pad, [pair(idle) for _ in range(5)])
    assert capfd.readouterr() == ("", "")
