"""One owner works on a calculation at a time, and a dead owner's claim is taken over."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from datetime import timedelta

import psutil
import pytest
from pymongo.errors import AutoReconnect

from nearedge.errors import DatabaseError
from nearedge.schemas.document import utc_now
from nearedge.store.claims import CLAIMS, ClaimInfo, Claims
from nearedge.store.operations import MongoDatabase
from nearedge.store.processes import machine


@pytest.fixture
def claims(memory_database: MongoDatabase) -> Claims:
    return Claims(memory_database, beat_seconds=0.02, patience_seconds=0.15, poll_seconds=0.01)


def until(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "what was waited for did not come"
        time.sleep(0.005)


def plant(database: MongoDatabase, **changes: object) -> None:
    """Leave a claim of somebody else on calculation ``c``."""
    with Claims(database).hold("c"):
        stored = database[CLAIMS].find_one({"_id": "c"}) or {}
    database[CLAIMS].insert_one({**stored, "owner": "another", **changes})


def test_an_owner_that_stated_the_time_of_day_at_which_it_began_is_known_again(
    memory_database: MongoDatabase,
) -> None:
    begun = psutil.Process().create_time()
    plant(memory_database, process_started=begun)
    assert [each.owner for each in Claims(memory_database).live()] == ["alive"]
    plant_again = {"$set": {"process_started": begun - 3600.0}}
    memory_database[CLAIMS].update_one({"_id": "c"}, plant_again)
    assert [each.owner for each in Claims(memory_database).live()] != ["alive"]


@pytest.mark.parametrize("error", [psutil.NoSuchProcess, psutil.AccessDenied])
def test_where_other_users_processes_are_hidden_each_user_is_a_machine_of_its_own(
    monkeypatch: pytest.MonkeyPatch, error: type[psutil.Error]
) -> None:
    def hidden(process: psutil.Process) -> float:
        raise error(process.pid)

    seen = machine.__wrapped__()
    monkeypatch.setattr(psutil.Process, "create_time", hidden)
    assert machine.__wrapped__() == f"{seen}/{os.getuid()}"


def test_a_second_worker_waits_until_the_first_is_done(claims: Claims) -> None:
    order: list[str] = []
    waited_for: list[ClaimInfo] = []

    def second() -> None:
        with claims.hold("c", waiting=waited_for.append):
            order.append("second")

    with claims.hold("c"):
        thread = threading.Thread(target=second)
        thread.start()
        until(lambda: bool(waited_for))
        order.append("first")
    thread.join(5)
    assert order == ["first", "second"]
    assert claims.live() == []


def test_different_calculations_do_not_wait(claims: Claims) -> None:
    with claims.hold("a"), claims.hold("b", timeout=0):
        assert {claim.calculation_id for claim in claims.live()} == {"a", "b"}


def test_a_claim_is_released_when_the_work_fails(claims: Claims) -> None:
    with pytest.raises(ZeroDivisionError), claims.hold("c"):
        _ = 1 / 0
    assert claims.live() == []


def test_progress_is_seen_by_others(claims: Claims) -> None:
    with claims.hold("c") as claim:
        claim.progress("fms")
        until(lambda: claims.live()[0].stage == "fms")
        assert claims.live()[0].owner == "alive"


def test_a_process_that_is_gone_is_taken_over_at_once(
    claims: Claims, memory_database: MongoDatabase
) -> None:
    plant(memory_database, process_started=1.0)  # the number is in use, by another process
    assert claims.live()[0].owner == "dead"
    with claims.hold("c", timeout=0):
        assert claims.live()[0].owner == "alive"


def test_another_machines_claim_is_taken_over_when_its_heart_stands_still(
    claims: Claims, memory_database: MongoDatabase
) -> None:
    # Its clock is hours ahead: clocks are never compared.
    plant(memory_database, machine="elsewhere", last_beat=utc_now() + timedelta(hours=5))
    assert claims.live()[0].owner == "unknown"
    started = time.monotonic()
    with claims.hold("c", timeout=5):
        assert time.monotonic() - started > 0.15


def test_another_machines_claim_is_respected_while_its_heart_beats(
    claims: Claims, memory_database: MongoDatabase
) -> None:
    plant(memory_database, machine="elsewhere", last_beat=utc_now() - timedelta(hours=5))
    stop = threading.Event()

    def beat() -> None:
        while not stop.wait(0.02):
            memory_database[CLAIMS].update_one({"_id": "c"}, {"$inc": {"beat": 1}})

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        with (
            pytest.raises(DatabaseError, match="still being worked on"),
            claims.hold("c", timeout=0.6),
        ):
            pass
    finally:
        stop.set()
        thread.join()


def test_an_owner_learns_that_its_claim_was_taken_over(
    claims: Claims, memory_database: MongoDatabase
) -> None:
    with claims.hold("c") as claim:
        assert not claim.lost
        memory_database[CLAIMS].update_one({}, {"$set": {"owner": "another"}})
        until(lambda: claim.lost)
    # and it does not release what is no longer its own
    assert memory_database[CLAIMS].count_documents({"owner": "another"}) == 1


def test_the_heart_beats_on_after_an_outage_and_the_claim_is_released_after_it(
    claims: Claims, memory_database: MongoDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    collection = type(memory_database[CLAIMS])
    update, delete = collection.update_many, collection.delete_many
    away = threading.Event()
    tries: list[str] = []

    def failing(name: str, real: Callable[..., object]) -> Callable[..., object]:
        def call(*args: object, **kwargs: object) -> object:
            if away.is_set():
                tries.append(name)
                raise AutoReconnect("the database is away")
            return real(*args, **kwargs)

        return call

    monkeypatch.setattr(collection, "update_many", failing("update", update))
    monkeypatch.setattr(collection, "delete_many", failing("delete", delete))
    monkeypatch.setattr("nearedge.store.claims._RELEASE_SECONDS", 0.05)
    monkeypatch.setattr("nearedge.store.claims._RETRY_SECONDS", 0.01)

    def beats() -> int:
        return int((memory_database[CLAIMS].find_one({}) or {"beat": -1})["beat"])

    with claims.hold("c") as claim:
        away.set()
        until(lambda: tries.count("update") > 2)
        away.clear()
        before = beats()
        until(lambda: beats() > before)
        assert not claim.lost
        away.set()
    until(lambda: tries.count("delete") > 1)
    assert len(claims.live()) == 1
    away.clear()
    until(lambda: claims.live() == [])


def test_dead_claims_of_this_machine_can_be_removed(
    claims: Claims, memory_database: MongoDatabase
) -> None:
    plant(memory_database, process_started=1.0)
    with claims.hold("alive"):
        assert claims.remove_dead() == 1
        assert [claim.calculation_id for claim in claims.live()] == ["alive"]
