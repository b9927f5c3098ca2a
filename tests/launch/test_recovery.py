"""Recovery puts back what lost its worker, and never what has one."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

import pytest
from fireworks import Firework, FWAction, Workflow
from fireworks.core.fworker import FWorker

from nearedge.launch import recovery
from nearedge.launch.failures import fizzled_jobs
from nearedge.launch.fencing import FencedLaunchPad
from nearedge.launch.fireworks import SPEC_KEY
from nearedge.launch.heartbeat import WORKERS
from nearedge.launch.identity import WorkerIdentity
from nearedge.launch.recovery import diagnose, recover, release_stale_locks
from nearedge.store.operations import MongoDatabase

ALIVE = WorkerIdentity.of_this_process()
GONE = replace(ALIVE, pid=2**22 + 1)
"""Beyond the largest process number that Linux gives."""
REUSED = replace(ALIVE, started=ALIVE.started - 3600)
ELSEWHERE = replace(ALIVE, machine="another")

COMPLETED = {"state": "COMPLETED", "action": FWAction().to_dict()}

Running = Callable[[WorkerIdentity], int]


class ServerClock(Protocol):
    """The database server's clock, and nobody else's."""

    def passes(self, minutes: float) -> None: ...


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recovery, "LOCK_SECONDS", 0.3)


@pytest.fixture
def running(pad: FencedLaunchPad, idle: Callable[..., Firework], tmp_path: Path) -> Running:
    """Return a function that adds a site and its average, and lets a worker take the site."""

    def start(worker: WorkerIdentity) -> int:
        spec = {SPEC_KEY: {"calculation_id": "c1", "label": "TiO2 Ti0 K", "project": None}}
        site = idle(**spec)
        average = idle(parents=[site], _allow_fizzled_parents=True)
        pad.add_wf(Workflow([site, average]))
        firework, _ = pad.checkout_fw(FWorker(name=worker.name), str(tmp_path / "launch"))
        assert firework is not None
        return int(firework.fw_id)

    return start


def state(pad: FencedLaunchPad, fw_id: int) -> str:
    return str(pad.fireworks.find_one({"fw_id": fw_id})["state"])


def average_of(site: int) -> int:
    # Ids go backwards in a workflow: FireWorks numbers what it was given last first.
    return 3 - site


def fizzle(pad: FencedLaunchPad, fw_id: int, error: str) -> None:
    launch = pad.launches.find_one({"fw_id": fw_id}, sort=[("launch_id", -1)])["launch_id"]
    trace = f"Traceback (most recent call last):\n  File x\n{error}\n"
    action = FWAction(stored_data={"_exception": {"_stacktrace": trace}}, exit=True)
    pad.complete_launch(launch, action, "FIZZLED")


@pytest.mark.parametrize("worker", [GONE, REUSED], ids=["gone", "number reused"])
def test_a_job_whose_worker_is_gone_is_put_back(
    pad: FencedLaunchPad, memory_database: MongoDatabase, running: Running, worker: WorkerIdentity
) -> None:
    fw_id = running(worker)
    assert diagnose(pad, memory_database).ids("lost") == (fw_id,)
    assert state(pad, fw_id) == "RUNNING", "a diagnosis changes nothing"
    assert recover(pad, memory_database).ids("lost") == (fw_id,)
    assert state(pad, fw_id) == "READY"
    assert recover(pad, memory_database).total == 0, "the second time there is nothing to do"


def test_a_job_whose_worker_is_alive_is_left_alone_however_old_its_ping(
    pad: FencedLaunchPad, memory_database: MongoDatabase, running: Running
) -> None:
    fw_id = running(ALIVE)
    long_ago = (datetime.now(UTC) - timedelta(days=3)).isoformat()
    pad.launches.update_one(
        {"fw_id": fw_id},
        {"$set": {"time_start": long_ago, "state_history.0.updated_on": long_ago}},
    )
    assert recover(pad, memory_database).total == 0
    assert state(pad, fw_id) == "RUNNING"


def looks(
    pad: FencedLaunchPad, database: MongoDatabase, clock: ServerClock, times: int, between: float
) -> None:
    for _ in range(times):
        recover(pad, database)
        clock.passes(between)


@pytest.mark.parametrize("hours", [-1, 1], ids=["slow", "fast"])
def test_a_worker_elsewhere_is_given_up_only_when_it_was_watched_and_showed_no_life(
    pad: FencedLaunchPad,
    memory_database: MongoDatabase,
    running: Running,
    clock: ServerClock,
    hours: int,
) -> None:
    """Its own clock may be an hour off: it is never asked."""
    fw_id = running(ELSEWHERE)
    began = (datetime.now(UTC) + timedelta(hours=hours)).isoformat()
    pad.launches.update_one({"fw_id": fw_id}, {"$set": {"time_start": began}})
    looks(pad, memory_database, clock, 5, between=2)
    pad.db[WORKERS].update_one({"_id": ELSEWHERE.name}, {"$inc": {"beat": 1}})
    looks(pad, memory_database, clock, 5, between=2)
    assert state(pad, fw_id) == "RUNNING"
    looks(pad, memory_database, clock, 1, between=2)
    assert state(pad, fw_id) == "READY", "ten minutes after the last beat"


def test_a_worker_elsewhere_that_holds_its_claim_lives(
    pad: FencedLaunchPad, memory_database: MongoDatabase, running: Running, clock: ServerClock
) -> None:
    fw_id = running(ELSEWHERE)
    memory_database["claims"].insert_one(
        {"_id": "c1", "owner": "o", "beat": 0, "machine": "another", "pid": ELSEWHERE.pid}
    )
    for _ in range(8):
        looks(pad, memory_database, clock, 1, between=2)
        memory_database["claims"].update_one({"_id": "c1"}, {"$inc": {"beat": 1}})
    assert state(pad, fw_id) == "RUNNING"


def test_an_outage_of_hours_makes_no_worker_dead(
    pad: FencedLaunchPad, memory_database: MongoDatabase, running: Running, clock: ServerClock
) -> None:
    """While the database is away nobody can show a sign of life, and nobody can see one."""
    fw_id = running(ELSEWHERE)
    looks(pad, memory_database, clock, 2, between=5 * 60)
    looks(pad, memory_database, clock, 1, between=0)
    assert state(pad, fw_id) == "RUNNING"


@pytest.mark.parametrize("hours", [-1, 0, 1], ids=["slow", "right", "fast"])
def test_a_reservation_that_never_became_a_launch_is_given_up_after_a_watched_minute(
    pad: FencedLaunchPad,
    memory_database: MongoDatabase,
    idle: Callable[..., Firework],
    clock: ServerClock,
    hours: int,
) -> None:
    """Whatever the clock of the machine says that reserved it."""
    pad.add_wf(idle())
    when = datetime.now(UTC) + timedelta(hours=hours)
    pad.fireworks.update_one({}, {"$set": {"state": "RESERVED", "updated_on": when}})
    looks(pad, memory_database, clock, 2, between=0.9)
    assert state(pad, 1) == "RESERVED"
    looks(pad, memory_database, clock, 1, between=0)
    assert state(pad, 1) == "READY"
    assert pad.db[WORKERS].count_documents({}) == 0


@pytest.mark.parametrize("worker", [GONE, ALIVE, ELSEWHERE], ids=["gone", "alive", "elsewhere"])
@pytest.mark.parametrize("linked", [True, False])
def test_a_reserved_job_with_a_launch_goes_back_when_its_worker_is_gone_and_not_before(
    pad: FencedLaunchPad,
    memory_database: MongoDatabase,
    running: Running,
    clock: ServerClock,
    tmp_path: Path,
    worker: WorkerIdentity,
    linked: bool,
) -> None:
    """Killed, or without a database, when the launch is written and not yet that the job runs."""
    fw_id = running(worker)
    fields = {"state": "RESERVED"} | ({} if linked else {"launches": []})
    pad.fireworks.update_one({"fw_id": fw_id}, {"$set": fields})
    if worker is not GONE:
        looks(pad, memory_database, clock, 3, between=2)
        assert state(pad, fw_id) == "RESERVED", "it may go on with it"
        return
    assert recover(pad, memory_database).ids("abandoned") == (fw_id,)
    assert state(pad, fw_id) == "READY"
    under_way = {"state": {"$in": ["RUNNING", "RESERVED"]}, "given_up": {"$exists": False}}
    assert pad.launches.count_documents(under_way) == 0
    pad.reserve_fw(FWorker(name=ALIVE.name), str(tmp_path / "next"))
    assert state(pad, fw_id) == "RESERVED", "nothing of the old launch is taken for the new one"


@pytest.mark.parametrize(
    "error",
    [
        "nearedge.errors.ResourceError: The disk of /scratch is full.",
        "nearedge.errors.DatabaseUnavailable: No database answers.",
        "pymongo.errors.AutoReconnect: connection closed",
        "nearedge.launch.worker.WorkerStopped",
        "OSError: [Errno 28] No space left on device",
        "MemoryError",
    ],
)
def test_a_job_that_fizzled_by_the_machines_fault_runs_again(
    pad: FencedLaunchPad, memory_database: MongoDatabase, running: Running, error: str
) -> None:
    fw_id = running(GONE)
    fizzle(pad, fw_id, error)
    assert state(pad, average_of(fw_id)) == "READY", "the average could go on without it"
    assert recover(pad, memory_database).ids("faulted") == (fw_id,)
    assert state(pad, fw_id) == "READY"
    assert state(pad, average_of(fw_id)) == "WAITING", "and is made again after it"


@pytest.mark.parametrize(
    ("error", "left"),
    [
        ("MemoryError", "FIZZLED"),
        ("nearedge.errors.ResourceError: The disk of /scratch is full.", "FIZZLED"),
        ("nearedge.errors.DatabaseUnavailable: No database answers.", "READY"),
        ("nearedge.launch.worker.WorkerStopped", "READY"),
    ],
)
def test_a_job_that_the_machine_fails_again_and_again_is_left_fizzled_and_says_by_what(
    pad: FencedLaunchPad,
    memory_database: MongoDatabase,
    running: Running,
    tmp_path: Path,
    error: str,
    left: str,
) -> None:
    fw_id = running(GONE)
    for expected in ("READY", "READY", left):
        fizzle(pad, fw_id, error)
        recover(pad, memory_database, tries=3)
        assert state(pad, fw_id) == expected
        pad.checkout_fw(FWorker(name=GONE.name), str(tmp_path / "next"), fw_id=fw_id)
    assert recover(pad, memory_database, tries=3).ids("faulted") == (), "it does not loop"
    if left == "FIZZLED":
        (told,) = fizzled_jobs(pad, by_machine=False)
        assert "MachineFault" in told.error
        assert error in told.error


@pytest.mark.parametrize(
    "error",
    ["nearedge.launch.worker.WorkerStopped", "pymongo.errors.ServerSelectionTimeoutError: mine:1"],
)
def test_what_comes_from_outside_is_forgiven_for_long_but_not_for_ever(
    pad: FencedLaunchPad,
    memory_database: MongoDatabase,
    running: Running,
    tmp_path: Path,
    error: str,
) -> None:
    fw_id = running(GONE)
    for expected in (*["READY"] * 9, "FIZZLED"):
        fizzle(pad, fw_id, error)
        recover(pad, memory_database, tries=1)
        assert state(pad, fw_id) == expected
        pad.checkout_fw(FWorker(name=GONE.name), str(tmp_path / "next"), fw_id=fw_id)
    (told,) = fizzled_jobs(pad, by_machine=False)
    assert (told.name, error in told.error) == ("MachineFault", True)


@pytest.mark.parametrize(
    "error",
    [
        "ValueError: nearedge.errors.ResourceError is only mentioned here",
        "nearedge.errors.StructureError: two atoms are 0.1 A apart",
        "nearedge.errors.ResourceError: first\n\nDuring handling of the above exception, another "
        "exception occurred:\n\nTraceback (most recent call last):\n  File y\nKeyError: 'second'",
    ],
)
def test_a_job_that_fizzled_by_its_own_fault_stays(
    pad: FencedLaunchPad, memory_database: MongoDatabase, running: Running, error: str
) -> None:
    fw_id = running(GONE)
    fizzle(pad, fw_id, error)
    assert recover(pad, memory_database).total == 0
    assert state(pad, fw_id) == "FIZZLED"
    assert state(pad, average_of(fw_id)) == "READY", "the average goes on without it"
    (told,) = fizzled_jobs(pad, by_machine=False)
    assert told.error
    assert told.error in error


def test_a_worker_killed_after_its_launch_completed_costs_nothing(
    pad: FencedLaunchPad, memory_database: MongoDatabase, running: Running
) -> None:
    fw_id = running(GONE)
    pad.launches.update_one({"fw_id": fw_id}, {"$set": COMPLETED})
    assert recover(pad, memory_database).ids("unrecorded") == (fw_id,)
    assert state(pad, fw_id) == "COMPLETED"
    assert state(pad, average_of(fw_id)) == "READY"


def test_a_worker_killed_before_it_told_the_children_leaves_none_waiting(
    pad: FencedLaunchPad, memory_database: MongoDatabase, running: Running
) -> None:
    fw_id = running(GONE)
    pad.launches.update_one({"fw_id": fw_id}, {"$set": COMPLETED})
    pad.fireworks.update_one({"fw_id": fw_id}, {"$set": {"state": "COMPLETED"}})
    assert diagnose(pad, memory_database).ids("unrecorded") == (fw_id, average_of(fw_id))
    assert recover(pad, memory_database).ids("unrecorded") == (fw_id,)
    assert state(pad, average_of(fw_id)) == "READY"
    assert recover(pad, memory_database).total == 0


def test_a_worker_killed_before_it_linked_a_detour_leaves_it_linked_once(
    pad: FencedLaunchPad,
    memory_database: MongoDatabase,
    running: Running,
    idle: Callable[..., Firework],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Killed between the jobs and the workflow: the jobs are written, and the lock is left."""
    site = running(GONE)
    launch = pad.launches.find_one({"fw_id": site})["launch_id"]
    action = FWAction(detours=[Workflow([idle(), idle()])])
    with monkeypatch.context() as patched:
        patched.setattr(Workflow, "to_db_dict", lambda self: sys.exit())
        patched.setattr(FencedLaunchPad, "_locked", leaves_its_lock)
        with pytest.raises(SystemExit):
            pad.complete_launch(launch, action)
    left = {row["fw_id"] for row in pad.fireworks.find({})} - {site, average_of(site)}
    assert (state(pad, site), len(left)) == ("COMPLETED", 2)
    assert recover(pad, memory_database).ids("unrecorded") == (site,)
    (workflow,) = pad.workflows.find({})
    added = set(workflow["nodes"]) - {site, average_of(site)}
    assert (len(added), added & left) == (2, set())
    assert {row["fw_id"] for row in pad.fireworks.find({})} == set(workflow["nodes"])
    assert [state(pad, each) for each in added] == ["READY", "READY"]
    assert state(pad, average_of(site)) == "WAITING", "until the detour has ended"
    assert recover(pad, memory_database).total == 0


@contextmanager
def leaves_its_lock(pad: FencedLaunchPad, fw_id: int) -> Iterator[None]:
    pad._acquire(fw_id, "token")
    pad._lock = "token"
    yield
    pad._lock = None


def test_a_lock_that_another_took_meanwhile_is_left_to_it(
    pad: FencedLaunchPad, running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    fw_id = running(ALIVE)
    pad.workflows.update_one({}, {"$set": {"locked": "0"}})
    turns = iter(range(1, 1000))

    def held_in_turn(_: float) -> None:
        pad.workflows.update_one({}, {"$set": {"locked": str(next(turns))}})

    monkeypatch.setattr(time, "sleep", held_in_turn)
    assert release_stale_locks(pad, 0.2) == 0
    assert "locked" in pad.workflows.find_one({"nodes": fw_id})


def test_a_lock_that_a_killed_worker_left_is_released(
    pad: FencedLaunchPad, memory_database: MongoDatabase, running: Running
) -> None:
    fw_id = running(GONE)
    pad.workflows.update_one({"nodes": fw_id}, {"$set": {"locked": True}})
    assert recover(pad, memory_database).ids("lost") == (fw_id,)
    assert state(pad, fw_id) == "READY"
    assert "locked" not in pad.workflows.find_one({"nodes": fw_id})


@pytest.mark.parametrize(("more", "kept"), [((), False), (("result.dat",), True)])
def test_the_folder_of_a_lost_launch_goes_unless_it_holds_more(
    pad: FencedLaunchPad,
    memory_database: MongoDatabase,
    running: Running,
    tmp_path: Path,
    more: tuple[str, ...],
    kept: bool,
) -> None:
    (tmp_path / "launch").mkdir()
    for name in ("FW.json", *more):
        (tmp_path / "launch" / name).write_text("{}")
    running(GONE)
    recover(pad, memory_database)
    assert (tmp_path / "launch").exists() is kept


def test_the_folder_of_a_launch_that_began_meanwhile_is_left_to_it(
    pad: FencedLaunchPad,
    memory_database: MongoDatabase,
    running: Running,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fw_id = running(GONE)
    newer = tmp_path / "newer"
    newer.mkdir()
    (newer / "FW.json").write_text("{}")
    (old,) = pad.fireworks.find_one({"fw_id": fw_id})["launches"]
    put_right = recovery._put_right

    def overtaken(*arguments: Any) -> bool:
        assert pad.give_up(fw_id, old, "RUNNING", "lost"), "another one was faster"
        pad.checkout_fw(FWorker(name=ALIVE.name), str(newer))
        return put_right(*arguments)

    monkeypatch.setattr(recovery, "_put_right", overtaken)
    assert recover(pad, memory_database).total == 0
    assert state(pad, fw_id) == "RUNNING"
    assert (newer / "FW.json").exists()
