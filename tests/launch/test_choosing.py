"""The next job is found by its priority, and what is over is not looked through for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from fireworks import Firework, Workflow
from fireworks.core.fworker import FWorker
from pymongo.collection import Collection

from nearedge.launch.batch.classes import LIGHT, of_classes
from nearedge.launch.fencing import FencedLaunchPad
from nearedge.launch.fireworks import SPEC_KEY, ensure_launchpad_indexes, launchpad
from nearedge.launch.progress import in_queue
from nearedge.launch.recovery import bring_on, diagnose, recover
from nearedge.settings import Settings
from nearedge.store.connection import connect

OVER = 60
FEFF = FWorker(name="worker", query=of_classes(["feff", LIGHT]))


def site(idle: Callable[..., Firework], code: str = "feff", priority: int = 0) -> Firework:
    return idle(_priority=priority, **{SPEC_KEY: {"kind": "site", "code": code}})


def taken(pad: FencedLaunchPad) -> int | None:
    firework, _ = pad.checkout_fw(FEFF, "/somewhere")
    return None if firework is None else int(firework.fw_id)


def test_of_what_a_worker_may_run_the_first_by_priority_is_begun(
    pad: FencedLaunchPad, idle: Callable[..., Firework]
) -> None:
    given = [("feff", 0), ("elk", 9), ("feff", 5)]
    low, _, high = (
        next(iter(pad.add_wf(site(idle, code, priority)).values())) for code, priority in given
    )
    assert pad.run_exists(FEFF)
    assert [taken(pad) for _ in range(3)] == [high, low, None]
    assert not pad.run_exists(FEFF)


def test_what_others_took_since_one_looked_is_left_to_them(
    pad: FencedLaunchPad, idle: Callable[..., Firework]
) -> None:
    pad.add_wf(site(idle, priority=1))
    assert pad.run_exists(FEFF)
    pad.fireworks.update_many({}, {"$set": {"state": "RUNNING"}})
    (later,) = pad.add_wf(site(idle)).values()
    assert [taken(pad), taken(pad)] == [later, None]


def over(number: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a workflow that has ended, and its job."""
    at = "2026-01-01T00:00:00"
    job = {"fw_id": number, "name": "site", "state": "COMPLETED", "created_on": at, "launches": [],
           "archived_launches": [], "updated_on": at,
           "spec": {SPEC_KEY: {"kind": "site", "code": "feff"}}}  # fmt: skip
    workflow = {"nodes": [number], "links": {}, "parent_links": {}, "name": "w", "metadata": {},
                "state": "COMPLETED", "fw_states": {str(number): "COMPLETED"}, "created_on": at,
                "updated_on": at}  # fmt: skip
    return workflow, job


def test_the_oldest_of_a_priority_is_begun_first_also_where_it_was_put_back(
    pad: FencedLaunchPad, idle: Callable[..., Firework]
) -> None:
    for _ in range(6):
        pad.add_wf(site(idle, priority=3))
        pad.add_wf(site(idle))
    pad.fireworks.update_many({"fw_id": {"$in": [2, 4]}}, {"$unset": {"spec._priority": 1}})
    assert [taken(pad) for _ in range(3)] == [1, 3, 5]
    pad.fireworks.update_many({"fw_id": {"$in": [1, 5]}}, {"$set": {"state": "READY"}})
    assert [taken(pad) for _ in range(5)] == [1, 5, 7, 9, 11]
    assert taken(pad) == 6
    (urgent,) = pad.add_wf(site(idle, priority=7)).values()
    assert [taken(pad) for _ in range(7)] == [urgent, 8, 10, 12, 2, 4, None]


@pytest.mark.integration
def test_to_find_the_next_job_as_much_is_read_of_a_long_queue_as_of_a_short_one(
    live_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    pad = launchpad(live_settings)
    ensure_launchpad_indexes(pad)
    jobs = [over(number)[1] | {"state": "READY"} for number in range(1, 1001)]
    for number, job in enumerate(jobs):
        job["spec"]["_priority"] = (0, 5)[number % 2]
    assert pad.get_new_fw_id(len(jobs)) == 1
    pad.fireworks.insert_many(jobs)
    assert pad._first_ready(FEFF.query)[0] == 2
    pad.fireworks.update_many({"fw_id": {"$lt": 100}}, {"$set": {"state": "COMPLETED"}})
    asked: list[Mapping[str, Any]] = []
    find, aggregate = Collection.find, Collection.aggregate

    def noted_find(self: Any, condition: Any = None, *args: Any, **options: Any) -> Any:
        if self.name == "fireworks":
            asked.append(condition)
        return find(self, condition, *args, **options)

    def noted_aggregate(self: Any, stages: Any, *args: Any, **options: Any) -> Any:
        asked.append(stages[0]["$match"])
        return aggregate(self, stages, *args, **options)

    with monkeypatch.context() as noting:
        noting.setattr(Collection, "find", noted_find)
        noting.setattr(Collection, "aggregate", noted_aggregate)
        first = pad._first_ready(FEFF.query)
    assert first == list(range(100, 140, 2))
    read = 0
    assert asked
    for condition in asked:
        explained = pad.fireworks.find(condition).explain()
        plan = explained["queryPlanner"]["winningPlan"]
        assert plan.get("inputStage", plan)["stage"] == "IXSCAN", condition
        read += explained["executionStats"]["totalDocsExamined"]
    assert read <= 64


@pytest.mark.integration
def test_a_document_is_found_and_changed_by_its_id_on_the_condition_it_was_found_by(
    live_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = launchpad(live_settings).fireworks
    jobs.insert_many([{"fw_id": n, "state": "READY", "spec": {}} for n in range(3)])
    asked: list[Mapping[str, Any]] = []
    update = Collection.update_one

    def taken_meanwhile(self: Any, condition: Any, *args: Any, **options: Any) -> Any:
        asked.append(condition)
        if len(asked) == 1:
            update(self, {"fw_id": 1}, {"$set": {"state": "RUNNING"}})
        return update(self, condition, *args, **options)

    monkeypatch.setattr(Collection, "update_one", taken_meanwhile)
    reserve = {"$set": {"state": "RESERVED"}}
    wanted = {"fw_id": {"$in": [1, 2]}, "state": "READY"}
    assert jobs.find_one_and_update(wanted, reserve)["fw_id"] == 2
    assert jobs.find_one_and_update(wanted, reserve) is None
    assert [next(iter(condition)) for condition in asked] == ["_id", "_id"]
    assert [job["state"] for job in jobs.find({}, sort=[("fw_id", 1)])] == [
        "READY", "RUNNING", "RESERVED",
    ]  # fmt: skip
    for upsert in (False, True):
        assert jobs.find_one_and_replace({"fw_id": 9}, {"fw_id": 9}, upsert=upsert) is None
        assert jobs.count_documents({"fw_id": 9}) == int(upsert)
    assert jobs.find_one_and_replace({"fw_id": 9}, {"fw_id": 9, "x": 1})["fw_id"] == 9
    assert jobs.find_one({"x": 1})["fw_id"] == 9


@pytest.mark.integration
def test_looking_for_work_and_for_what_is_lost_reads_only_what_is_not_over(
    live_settings: Settings, idle: Callable[..., Firework], monkeypatch: pytest.MonkeyPatch
) -> None:
    pad, database = launchpad(live_settings), connect(live_settings)
    ensure_launchpad_indexes(pad)
    first = site(idle)
    pad.bulk_add_wfs([Workflow([first, idle(parents=[first])])])
    ended = [over(number) for number in range(100, 100 + OVER)]
    pad.workflows.insert_many([workflow for workflow, _ in ended])
    pad.fireworks.insert_many([job for _, job in ended])
    asked: list[tuple[str, Mapping[str, Any]]] = []
    find, aggregate = Collection.find, Collection.aggregate

    def noted_find(self: Any, condition: Any = None, *args: Any, **options: Any) -> Any:
        asked.append((self.name, condition or {}))
        return find(self, condition, *args, **options)

    def noted_aggregate(self: Any, stages: Any, *args: Any, **options: Any) -> Any:
        asked.append((self.name, stages[0]["$match"]))
        return aggregate(self, stages, *args, **options)

    with monkeypatch.context() as noting:
        noting.setattr(Collection, "find", noted_find)
        noting.setattr(Collection, "aggregate", noted_aggregate)
        assert pad.run_exists(FEFF)
        assert bring_on(pad, FEFF.query)
        assert not bring_on(pad, of_classes(["elk", LIGHT]))
        assert recover(pad, database).total == diagnose(pad, database).total == 0
        assert {each.state: each.jobs for each in in_queue(pad)} == {"READY": 1, "WAITING": 1}
    conditions = [each for each in asked if each[0] in ("fireworks", "workflows", "launches")]
    assert {name for name, _ in conditions} >= {"fireworks", "workflows"}
    for name, condition in conditions:
        # The embedded server takes the first clause that has an index, and none beside an `$or`;
        # its `explain` says so of one clause alone.
        assert not [field for field in condition if field.startswith("$")], (name, condition)
        field, value = next(iter(condition.items()))
        explained = pad.db[name].find({field: value}).explain()
        plan = explained["queryPlanner"]["winningPlan"]
        assert plan.get("inputStage", plan)["stage"] == "IXSCAN", (name, condition)
        assert explained["executionStats"]["totalDocsExamined"] <= 2, (name, condition)
