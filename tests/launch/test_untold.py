"""An end that nobody was told of is found in long queues too."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import mongomock_ng
import pytest
from fireworks import Firework, Workflow

from nearedge.launch.fencing import FencedLaunchPad
from nearedge.launch.untold import untold
from nearedge.store.batches import ID_BATCH

PAIRS = 110
"""Of a site and an average that waits for it: more than one question may name."""


def ids_named(condition: Any) -> int:
    """Return the length of the longest list of numbers in a condition."""
    if isinstance(condition, Mapping):
        return max((ids_named(each) for each in condition.values()), default=0)
    return len(condition) if isinstance(condition, list | tuple) else 0


@pytest.fixture
def pairs(pad: FencedLaunchPad, idle: Callable[..., Firework]) -> list[tuple[int, int]]:
    """Return the numbers of the sites and averages that were added."""
    numbers = []
    for _ in range(PAIRS):
        site = idle()
        average = idle([site])
        new = pad.add_wf(Workflow([site, average]))
        numbers.append((int(site.fw_id), int(average.fw_id)))
        assert len(new) == 2
    return numbers


def test_what_waits_for_a_job_that_has_not_ended_is_told_everything(
    pad: FencedLaunchPad, pairs: list[tuple[int, int]]
) -> None:
    pad.fireworks.delete_one({"fw_id": pairs[0][0]})  # not there yet
    pad.fireworks.update_one({"fw_id": pairs[1][0]}, {"$set": {"state": "FIZZLED"}})
    assert list(untold(pad)) == []


def test_sites_that_ended_are_found_by_questions_that_name_few_jobs(
    pad: FencedLaunchPad, pairs: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    pad.fireworks.update_many(
        {"fw_id": {"$in": [site for site, _ in pairs]}}, {"$set": {"state": "COMPLETED"}}
    )
    named: list[int] = []
    find = mongomock_ng.collection.Collection.find

    def noted(self: Any, condition: Any = None, *args: Any, **options: Any) -> Any:
        named.append(ids_named(condition))
        return find(self, condition, *args, **options)

    with monkeypatch.context() as noting:
        noting.setattr(mongomock_ng.collection.Collection, "find", noted)
        found = {each.fw_id for each in untold(pad)}
    assert found == {number for pair in pairs for number in pair}
    assert 0 < max(named) <= ID_BATCH
