"""What is completed is counted once, and still the counts are those of what is there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pymongo
import pytest
from pymongo.monitoring import (
    CommandFailedEvent,
    CommandListener,
    CommandStartedEvent,
    CommandSucceededEvent,
)

from nearedge.settings import Settings
from nearedge.store import sums
from nearedge.store.connection import connect, mongo_uri
from nearedge.store.operations import Document, MongoDatabase
from nearedge.store.progress import all_recorded, failure_groups
from nearedge.store.records import Record
from nearedge.store.spectra_store import SpectraStore
from nearedge.store.sums import COLLECTION, completed

START = datetime(2026, 1, 2, 12, 0, tzinfo=UTC)
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = START
        monkeypatch.setattr(sums, "server_time", lambda _: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def put(database: MongoDatabase, name: str, created: datetime, **more: object) -> None:
    stored = {"_id": name, "code": "feff", "state": "completed", "projects": ["oxides"]}
    more = {"cpu_seconds": 10.0, "origin": "run", "created_at": created, **more}
    database["calculations"].insert_one({**stored, **more})


def counts(database: MongoDatabase, clock: Clock) -> dict[tuple[str, ...], tuple[int, float, int]]:
    """Return projects to number, CPU seconds and how many are of the last hour."""
    found = completed(database, clock.now - HOUR)
    recent = {
        part.projects: sum(r.count for r in part.recent.values() if r.first >= clock.now - HOUR)
        for part in found
    }
    return {part.projects: (part.count, part.cpu_seconds, recent[part.projects]) for part in found}


def test_sums_go_on_as_calculations_are_recorded_and_get_older(
    memory_database: MongoDatabase, clock: Clock
) -> None:
    for minute in range(200):
        put(memory_database, str(minute), clock.now)
        clock.now += MINUTE
        expected = (minute + 1, 10.0 * (minute + 1), min(minute + 1, 60))
        assert counts(memory_database, clock) == {("oxides",): expected}


def test_what_the_sums_missed_for_any_reason_counts_after_a_day(
    memory_database: MongoDatabase, clock: Clock
) -> None:
    put(memory_database, "one", clock.now - HOUR)
    assert counts(memory_database, clock) == {("oxides",): (1, 10.0, 1)}
    # Joined by a server whose clock had gone back: before the sums were made, as it says.
    joined = {"projects": ["oxides", "rutile"], "filed_at": START - HOUR}
    memory_database["calculations"].update_one({"_id": "one"}, {"$set": joined})
    clock.now += 12 * HOUR
    assert counts(memory_database, clock) == {("oxides",): (1, 10.0, 0)}
    clock.now += 12 * HOUR
    assert counts(memory_database, clock) == {("oxides", "rutile"): (1, 10.0, 0)}


@pytest.mark.integration
def test_what_joins_a_project_later_counts_there(
    embedded_database: MongoDatabase, clock: Clock, make_record: Callable[..., Record]
) -> None:
    store = SpectraStore(embedded_database)
    records = [make_record(site) for site in range(3)]
    store.record_many(records)
    clock.now = datetime.now(UTC) + HOUR
    assert set(counts(embedded_database, clock)) == {("titania",)}
    names = [record.calculation.calculation_id for record in records]
    real = datetime.now(UTC)
    for change in (
        lambda: store.add_project(names[:1], "late"),
        lambda: store.record_many([make_record(1, project="late")]),
    ):
        # By the server's clock, which stamps the change, the sums are from before.
        embedded_database[COLLECTION].update_one({}, {"$set": {"read_at": real}})
        change()
        clock.now += 2 * MINUTE
        found = counts(embedded_database, clock)
    assert {projects: number for projects, (number, *_) in found.items()} == {
        ("titania",): 1,
        ("titania", "late"): 2,
    }


def test_a_project_that_a_calculation_has_already_is_no_change(
    memory_database: MongoDatabase, make_record: Callable[..., Record]
) -> None:
    store, record = SpectraStore(memory_database), make_record(0)
    store.record_many([record])
    store.add_project([record.calculation.calculation_id], "titania")
    store.record_many([record])
    assert memory_database["calculations"].find_one({})["filed_at"] is None  # type: ignore[index]


@pytest.mark.parametrize("proved_within", [timedelta(0), sums.PROVED_WITHIN])
def test_what_comes_late_is_missed_no_longer_than_said(
    memory_database: MongoDatabase, clock: Clock, proved_within: timedelta
) -> None:
    put(memory_database, "a", clock.now - HOUR)
    assert completed(memory_database, clock.now - HOUR).count == 1
    clock.now += proved_within
    put(memory_database, "by a clock that is wrong", clock.now - HOUR)
    assert completed(memory_database, clock.now - HOUR, proved_within=proved_within).count == 2


def test_a_failure_that_completes_counts_once(memory_database: MongoDatabase, clock: Clock) -> None:
    put(memory_database, "a", clock.now - HOUR, state="scf_not_converged")
    put(memory_database, "b", clock.now - HOUR)
    for state in ("scf_not_converged", "completed"):
        clock.now += HOUR
        change = {"$set": {"state": state, "created_at": clock.now}}
        memory_database["calculations"].update_one({"_id": "a"}, change)
        found = all_recorded(memory_database, clock.now - HOUR).states()
        assert sum(found.values()) == 2
    assert found == {("feff", "completed"): 2}


def test_who_asks_for_one_project_first_sums_that_alone(
    memory_database: MongoDatabase, clock: Clock
) -> None:
    put(memory_database, "a", clock.now)
    put(memory_database, "b", clock.now, projects=["others"])
    found = completed(memory_database, clock.now - HOUR, "oxides")
    assert [part.projects for part in found] == [("oxides",)]
    assert memory_database[COLLECTION].find_one() is None


class _Read(CommandListener):
    """How many documents the server gave for each question."""

    def __init__(self) -> None:
        self.documents: dict[str, int] = {}

    def started(self, event: CommandStartedEvent) -> None:
        """Nothing is known yet."""

    def succeeded(self, event: CommandSucceededEvent) -> None:
        cursor: Document = event.reply.get("cursor", {})
        batch = cursor.get("firstBatch") or cursor.get("nextBatch") or []
        where = str(cursor.get("ns", "")).rpartition(".")[2]
        self.documents[where] = self.documents.get(where, 0) + len(batch)

    def failed(self, event: CommandFailedEvent) -> None:
        """Nothing was read."""


@contextmanager
def listening(settings: Settings) -> Iterator[tuple[MongoDatabase, _Read]]:
    read = _Read()
    with pymongo.MongoClient[Document](
        mongo_uri(settings), tz_aware=True, event_listeners=[read]
    ) as client:
        yield client[settings.database], read


@pytest.mark.integration
def test_of_what_is_over_nothing_is_read_again_and_of_failures_only_those(
    live_settings: Settings, make_record: Callable[..., Record]
) -> None:
    database = connect(live_settings)
    store = SpectraStore(database)
    store.record_many(make_record(site, structure="old") for site in range(40))
    long_ago = datetime.now(UTC) - 2 * HOUR
    database["calculations"].update_many({}, {"$set": {"created_at": long_ago}})
    young = [make_record(site, structure="new") for site in range(2)]
    failed = [make_record(site, state="a_name", structure="bad") for site in range(2)]
    failed += [make_record(9, state="scf_not_converged", structure="bad")]
    store.record_many([*young, *failed])
    now = datetime.now(UTC)
    with listening(live_settings) as (heard, read):
        assert sum(all_recorded(heard, now - HOUR).states().values()) == 45
        assert read.documents["calculations"] == 45
        for project in (None, "titania"):
            read.documents.clear()
            found = all_recorded(heard, now - HOUR, project)
            assert sum(tally.count for tally in found.tallies(project)) == 45
            assert read.documents == {COLLECTION: 1, "calculations": 5, "": 0}
        assert [group.count for group in failure_groups(heard, code="feff")] == [2, 1]
    # And what the server itself looks at for these answers: its `explain` is of one clause alone.
    calculations = database["calculations"]
    for condition in (
        {"state": "completed", "created_at": {"$gte": now - HOUR}},
        *({"state": each} for each in sums.FAILED),
        *({"projects": "titania", "state": each} for each in sums.FAILED),
        {"filed_at": {"$gte": now - HOUR}},
    ):
        explained = calculations.find(condition).explain()
        plan = explained["queryPlanner"]["winningPlan"]
        assert plan.get("inputStage", plan)["stage"] == "IXSCAN", condition
        assert explained["executionStats"]["totalDocsExamined"] <= 3, condition
