"""How far a project is: jobs in the queue, calculations in the store, and the rate between."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from fireworks import Firework
from fireworks.core.launchpad import LaunchPad

from nearedge.launch.progress import failures_by_name, progress
from nearedge.store.operations import MongoDatabase

NOW = datetime(2026, 1, 2, 12, 0, tzinfo=UTC)


def site(idle: Callable[..., Firework], project: str, code: str) -> Firework:
    return idle(nearedge={"kind": "site", "project": project, "code": code})


def recorded(database: MongoDatabase, count: int, state: str = "completed") -> None:
    for number in range(count):
        database["calculations"].insert_one(
            {
                "_id": f"{state}-{number}",
                "code": "feff",
                "state": state,
                "projects": ["oxides"],
                "cpu_seconds": 36.0,
                "origin": "run",
                "created_at": NOW - timedelta(minutes=30) + timedelta(minutes=number),
            }
        )


def test_remaining_rate_and_expected_end(
    pad: LaunchPad, memory_database: MongoDatabase, idle: Callable[..., Firework]
) -> None:
    for code in ("feff", "feff", "feff", "elk"):
        pad.add_wf(site(idle, "oxides", code))
    pad.add_wf(idle(nearedge={"kind": "average", "project": "oxides"}))
    pad.fireworks.update_one({"fw_id": 1}, {"$set": {"state": "RUNNING"}})
    recorded(memory_database, 10)
    recorded(memory_database, 1, "stage_timeout")
    elk, feff = progress(pad, memory_database, now=NOW)
    assert (elk.code, elk.waiting, elk.rate, elk.expected_end) == ("elk", 1, None, None)
    assert (feff.waiting, feff.running, feff.remaining) == (2, 1, 3)
    assert (feff.completed, feff.failed, feff.failures) == (10, 1, {"stage_timeout": 1})
    assert (feff.cpu_seconds, feff.failed_cpu_seconds) == (396.0, 36.0)
    # Ten ended after the first, within half an hour.
    assert feff.rate == pytest.approx(20.0)
    assert feff.expected_end == NOW + timedelta(hours=3 / 20)


def test_nothing_ran_lately_gives_no_rate(pad: LaunchPad, memory_database: MongoDatabase) -> None:
    recorded(memory_database, 10)
    (part,) = progress(pad, memory_database, now=NOW + timedelta(days=1))
    assert (part.rate, part.expected_end) == (None, None)


def test_one_project_alone_and_failures_over_all(
    pad: LaunchPad, memory_database: MongoDatabase, idle: Callable[..., Firework]
) -> None:
    for project in ("oxides", "metals"):
        pad.add_wf(site(idle, project, "feff"))
    pad.fireworks.update_one({"fw_id": 1}, {"$set": {"state": "FIZZLED"}})
    recorded(memory_database, 2, "stage_timeout")
    (metals,) = progress(pad, memory_database, project="metals")
    assert (metals.project, metals.remaining) == ("metals", 1)
    assert failures_by_name(progress(pad, memory_database)) == {"stage_timeout": 2, "fizzled": 1}


def test_a_pack_counts_as_many_sites_as_it_has(
    pad: LaunchPad, memory_database: MongoDatabase, idle: Callable[..., Firework]
) -> None:
    pad.add_wf(site(idle, "oxides", "feff"))
    about = {"kind": "pack", "project": "oxides", "code": "feff", "calculation_id": ["a", "b"]}
    pad.add_wf(idle(nearedge=about))
    (part,) = progress(pad, memory_database, now=NOW)
    assert part.waiting == 3


def test_of_a_pack_that_fizzled_only_what_has_no_record_counts_and_at_least_one_site(
    pad: LaunchPad, memory_database: MongoDatabase, idle: Callable[..., Firework]
) -> None:
    ids = [f"completed-{number}" for number in range(4)]
    about = {"kind": "pack", "project": "oxides", "code": "feff", "calculation_id": ids}
    pad.add_wf(idle(nearedge=about))
    pad.fireworks.update_one({}, {"$set": {"state": "FIZZLED"}})
    for in_all, without in ((0, 4), (2, 2), (4, 1)):
        for collection in ("calculations", "sums"):
            memory_database[collection].delete_many({})
        recorded(memory_database, in_all)
        (part,) = progress(pad, memory_database, now=NOW)
        assert (part.completed, part.fizzled) == (in_all, without)


def test_what_a_running_pack_has_recorded_is_not_remaining(
    pad: LaunchPad, memory_database: MongoDatabase, idle: Callable[..., Firework]
) -> None:
    about = {"kind": "pack", "project": "oxides", "code": "feff"}
    for pack in range(2):
        ids = [f"completed-{2 * pack + number}" for number in range(2)]
        pad.add_wf(idle(nearedge={**about, "calculation_id": ids}))
    pad.fireworks.update_one({"fw_id": 1}, {"$set": {"state": "RUNNING"}})
    recorded(memory_database, 1)
    (part,) = progress(pad, memory_database, now=NOW)
    assert (part.completed, part.running, part.waiting, part.remaining) == (1, 1, 2, 3)
    failed = {"spec.nearedge.failures": {"completed-0": "when"}}
    pad.fireworks.update_one({"fw_id": 1}, {"$set": failed})
    (part,) = progress(pad, memory_database, now=NOW)
    assert part.running == 2, "a failure that it computes again is recorded from the beginning"
