"""Pilots: how many there are, and which row is whose."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from fireworks.core.launchpad import LaunchPad

from nearedge.launch.batch import pilots
from nearedge.launch.batch.filling import Wanted, fill
from nearedge.launch.batch.pilots import PILOTS, pilots_alive, run_pilot
from nearedge.launch.pool import PoolSummary
from nearedge.launch.scheduler import JobState
from nearedge.launch.window import Window
from nearedge.settings import Settings


def test_a_pilot_that_has_ended_is_replaced_while_work_is_left(
    pad: LaunchPad,
    add: Callable[..., int],
    settings: Settings,
    submitted: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    add(kind="site", code="feff")
    fill(pad, "slurm", settings, Wanted(max_jobs=5))
    for state, replaced in ((JobState.UNKNOWN, 0), (JobState.RUNNING, 0), (JobState.TIMEOUT, 1)):
        monkeypatch.setattr(pilots, "states_of", lambda ids, s=state: dict.fromkeys(ids, s))
        done = fill(pad, "slurm", settings, Wanted(max_jobs=5))
        assert len(done.submitted) == replaced, state
    assert pad.db[PILOTS].find_one({"_id": "slurm:101"})["outcome"] == "timeout"
    assert pilots_alive(pad, "slurm", "another") == {}


def test_a_pilot_whose_submitter_died_before_it_was_entered_counts_for_its_project(
    pad: LaunchPad, settings: Settings, submitted: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pilots, "launchpad", lambda _: pad)
    monkeypatch.setattr(pilots, "batch_job", lambda: "slurm:7")
    alive: dict[str, int] = {}

    def look(*_: object, **__: object) -> PoolSummary:
        alive.update(pilots_alive(pad, "slurm", "a"))
        return PoolSummary()

    monkeypatch.setattr(pilots, "run_workers", look)
    run_pilot(settings, "feff", "a", 2, Window(0.0, 1.0, 1.0))
    assert alive == {"feff": 1}


def test_a_pilot_leaves_what_was_set_apart(
    pad: LaunchPad,
    add: Callable[..., int],
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pilots, "launchpad", lambda _: pad)
    add(kind="site", code="feff", set_apart=True)
    mine = add(kind="site", code="feff")
    found: list[int] = []

    def look(*_: object, query: dict[str, Any], **__: object) -> PoolSummary:
        found.extend(each["fw_id"] for each in pad.fireworks.find(query))
        return PoolSummary()

    monkeypatch.setattr(pilots, "run_workers", look)
    run_pilot(settings, "feff", None, 2, Window(0.0, 1.0, 1.0))
    assert found == [mine]


@pytest.mark.parametrize("other", ["ours", "theirs"])
def test_a_pilot_whose_number_another_had_counts_as_alive_and_takes_no_row_of_a_living_one(
    pad: LaunchPad,
    add: Callable[..., int],
    settings: Settings,
    submitted: list[str],
    monkeypatch: pytest.MonkeyPatch,
    other: str,
) -> None:
    add(kind="site", code="feff")
    monkeypatch.setattr(pilots, "cluster_of", lambda _: other)
    fill(pad, "slurm", settings, Wanted(2))
    if other == "ours":
        pad.db[PILOTS].update_one({}, {"$set": {"state": "ended", "outcome": "timeout"}})
    monkeypatch.setattr(pilots, "cluster_of", lambda _: "ours")
    submitted.clear()  # the scheduler begins its numbers anew
    fill(pad, "slurm", settings, Wanted(2))
    assert fill(pad, "slurm", settings, Wanted(2)).submitted == []
    rows = {row["_id"]: row["state"] for row in pad.db[PILOTS].find({})}
    assert rows == {f"{each}/slurm:101": "submitted" for each in ("ours", other)}


@pytest.mark.parametrize(
    ("stored", "kept"),
    [
        ({"_id": "ours/slurm:7", "batch": "slurm:7", "cluster": "ours"}, "ours/slurm:7"),
        ({"_id": "slurm:7", "cluster": "ours"}, "slurm:7"),
        ({"_id": "slurm:7", "cluster": None}, "slurm:7"),
        ({"_id": "slurm:7", "cluster": "theirs"}, "ours/slurm:7"),
        ({"_id": "slurm:7", "cluster": "ours", "state": "ended"}, "ours/slurm:7"),
    ],
)
def test_a_pilot_enters_itself_in_its_own_row_also_in_one_of_an_older_release(
    pad: LaunchPad,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    stored: dict[str, Any],
    kept: str,
) -> None:
    monkeypatch.setattr(pilots, "launchpad", lambda _: pad)
    monkeypatch.setattr(pilots, "batch_job", lambda: "slurm:7")
    monkeypatch.setattr(pilots, "cluster_of", lambda _: "ours")
    monkeypatch.setattr(pilots, "run_workers", lambda *_, **__: PoolSummary())
    monkeypatch.setenv("SLURM_CLUSTER_NAME", "ours")
    row = {"state": "submitted", "project": None, "codes": ["feff"], **stored}
    pad.db[PILOTS].insert_one(row)
    asked: set[str] = set()

    def pending(ids: list[str]) -> dict[str, JobState]:
        asked.update(ids)
        return dict.fromkeys(ids, JobState.PENDING)

    monkeypatch.setattr(pilots, "states_of", pending)
    ours = row["state"] == "submitted" and stored["cluster"] != "theirs"
    assert pilots_alive(pad, "slurm") == ({"feff": 1} if ours else {})
    assert asked == ({"slurm:7"} if ours else set())
    run_pilot(settings, "feff", None, 2, Window(0.0, 1.0, 1.0))
    (ran,) = pad.db[PILOTS].find({"started": {"$exists": True}})
    assert (ran["_id"], ran["state"]) == (kept, "ended")


def test_pilots_of_a_named_cluster_are_not_asked_about_while_ours_has_no_name(
    pad: LaunchPad,
    add: Callable[..., int],
    settings: Settings,
    submitted: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("nearedge.launch.scheduler.slurm._named_cluster", lambda: "theirs")
    add(kind="site", code="feff")
    fill(pad, "slurm", settings, Wanted(2))
    monkeypatch.setattr(pilots, "cluster_of", lambda _: None)
    over = lambda ids: dict.fromkeys(ids, JobState.FAILED)  # noqa: E731
    monkeypatch.setattr(pilots, "states_of", over)
    assert pilots_alive(pad, "slurm") == {"feff": 1}, "it may be ours: no second one is submitted"
    assert pilots_alive(pad, "pbs") == {}, "another scheduler's work nothing here"
    assert pad.db[PILOTS].count_documents({"state": "submitted"}) == 1
