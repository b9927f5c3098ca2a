"""FireWorks' page counts right, and what is completed is not read for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from fireworks import Firework, Workflow
from fireworks.core.launchpad import LaunchPad
from mongomock_ng.collection import Collection

from nearedge.launch.webpage.counting import CountedQueue, plain


def test_of_one_condition_there_is_no_and() -> None:
    assert plain({"$and": [{"state": "READY"}, {}, {}, {}]}) == {"state": "READY"}
    assert plain({"$and": [{}, {}]}) == {}
    assert plain({"$and": [{}, {"a": 1}, {"b": 2}]}) == {"$and": [{"a": 1}, {"b": 2}]}


def test_states_are_counted_and_completed_ones_not_read(
    pad: LaunchPad, idle: Callable[..., Firework], monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(4):
        pad.add_wf(Workflow([idle()]))
    done = {"$set": {"state": "COMPLETED"}}
    for collection, field in ((pad.fireworks, "fw_id"), (pad.workflows, "nodes")):
        collection.update_many({field: {"$lte": 3}}, done)
    asked: list[Any] = []
    aggregate: Any = Collection.aggregate

    def noted(self: Any, stages: Any, *args: Any, **options: Any) -> Any:
        asked.append(stages[0]["$match"])
        return aggregate(self, stages, *args, **options)

    monkeypatch.setattr(Collection, "aggregate", noted)
    queue = CountedQueue(pad)
    for count in (queue.get_fw_ids, queue.get_wf_ids):
        numbers = [count(query=query, count_only=True) for query in (
            {}, {"state": "READY"}, {"state": "COMPLETED"}, {"state": "FIZZLED"},
        )]  # fmt: skip
        assert numbers == [4, 1, 3, 0]
        filtered = {"$and": [{"state": "COMPLETED"}, {"name": "nobody"}]}
        assert count(query=filtered, count_only=True) == 0
    assert {"state": "READY"} in asked
    assert {} not in asked
    assert {"state": "COMPLETED"} not in asked
    assert len(queue.get_fw_ids({"state": "COMPLETED"}, limit=2)) == 2
