"""Progress and failures are counted by the database, by project, code and name."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from nearedge.store.operations import MongoDatabase
from nearedge.store.progress import all_recorded, failure_groups

NOW = datetime(2026, 1, 2, 12, 0, tzinfo=UTC)


def put(database: MongoDatabase, name: str, state: str, **more: object) -> None:
    database["calculations"].insert_one(
        {
            "_id": name,
            "code": "feff",
            "state": state,
            "projects": ["oxides"],
            "cpu_seconds": 10.0,
            "origin": "run",
            "created_at": NOW - timedelta(minutes=30),
            **more,
        }
    )


def fill(database: MongoDatabase) -> None:
    put(database, "a", "completed")
    put(database, "b", "completed", created_at=NOW - timedelta(minutes=10))
    put(database, "c", "completed", created_at=NOW - timedelta(days=1))
    put(database, "d", "completed", origin="ingest:x", projects=["oxides", "theirs"])
    put(database, "e", "scf_not_converged")
    put(database, "f", "scf_not_converged", created_at=NOW - timedelta(days=9), cpu_seconds=None)
    put(database, "g", "scf_not_converged", code="elk", projects=[])


def test_a_project_is_tallied_by_code_and_state_with_what_ran_lately(
    memory_database: MongoDatabase,
) -> None:
    fill(memory_database)
    found = {
        (t.project, t.code, t.state): t for t in all_recorded(memory_database, NOW - HOUR).tallies()
    }
    assert set(found) == {
        ("oxides", "feff", "completed"),
        ("oxides", "feff", "scf_not_converged"),
        ("theirs", "feff", "completed"),
        ("", "elk", "scf_not_converged"),
    }
    done = found["oxides", "feff", "completed"]
    assert (done.count, done.cpu_seconds, done.recent) == (4, 40.0, 2)
    assert done.first_recent == NOW - timedelta(minutes=30)
    ingested = found["theirs", "feff", "completed"]
    assert (ingested.count, ingested.recent, ingested.first_recent) == (1, 0, None)
    alone = all_recorded(memory_database, NOW - HOUR, "theirs").tallies("theirs")
    assert [(t.project, t.count) for t in alone] == [("theirs", 1)]


def test_failures_are_grouped_by_code_and_name_with_what_they_cost(
    memory_database: MongoDatabase,
) -> None:
    fill(memory_database)
    first, second = failure_groups(memory_database)
    assert (first.code, first.name, first.count, first.cpu_seconds) == (
        "feff", "scf_not_converged", 2, 10.0,
    )  # fmt: skip
    assert (first.first, first.last) == (NOW - timedelta(days=9), NOW - timedelta(minutes=30))
    assert second.code == "elk"
    assert [g.count for g in failure_groups(memory_database, since=NOW - HOUR)] == [1, 1]
    assert [g.code for g in failure_groups(memory_database, code="elk")] == ["elk"]
    assert [g.code for g in failure_groups(memory_database, project="oxides")] == ["feff"]


HOUR = timedelta(hours=1)
