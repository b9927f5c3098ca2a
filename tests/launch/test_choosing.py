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
