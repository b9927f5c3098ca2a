"""What is told while the queue is worked: packs by their sites and averages, processes once."""

from __future__ import annotations

from datetime import UTC, datetime

import mongomock_ng
import pytest
from fireworks.core import launchpad as fireworks_launchpad
from fireworks.core.launchpad import LaunchPad

from nearedge.cli import database_state, watching
from nearedge.cli.database_state import Overview
from nearedge.cli.watching import Ended, QueueWatch, _of_pack, under_way
from nearedge.launch.failures import FizzledJob
from nearedge.settings import Settings
from nearedge.store.claims import ClaimInfo
from nearedge.store.operations import MongoDatabase

WHEN = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def pad(monkeypatch: pytest.MonkeyPatch) -> LaunchPad:
    """Return an empty launchpad in this process's memory."""
    monkeypatch.setattr(fireworks_launchpad, "MongoClient", mongomock_ng.MongoClient)
    monkeypatch.setattr(fireworks_launchpad, "GRIDFS_FALLBACK_COLLECTION", None)
    return LaunchPad(host="mongodb://localhost", uri_mode=True, name="l", strm_lvl="CRITICAL")


def add(pad: LaunchPad, number: int, state: str, **about: object) -> None:
    pad.fireworks.insert_one({"fw_id": number, "state": state, "spec": {"nearedge": about}})


def claim(calculation_id: str, pid: int) -> ClaimInfo:
    return ClaimInfo(calculation_id, "here", pid, "fms", WHEN, WHEN, "alive")


def test_a_process_that_computes_a_pack_is_one_line(pad: LaunchPad) -> None:
    add(pad, 1, "READY", kind="site", calculation_id="c", label="site c")
    add(pad, 2, "RUNNING", kind="pack", calculation_id=["a", "b", "c"], label="3 sites")
    claims = [claim("x", 3), claim("a", 1), claim("b", 1), claim("c", 1), claim("d", 2)]
    found = [(each.pid, label) for each, label in under_way(pad, claims)]
    assert found == [(3, None), (1, "3 sites"), (2, None)]


def test_a_pack_that_ended_is_told_by_its_sites_and_averages(
    pad: LaunchPad, memory_database: MongoDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    about = {"calculation_id": ["a", "b"], "average_id": ["m", "missing"], "label": "2 sites"}
    add(pad, 1, "RUNNING", kind="pack", **about)
    memory_database["calculations"].insert_many(
        {"_id": name, "formula": "CO", "absorber": "C", "absorbing_index": 0, "state": state}
        for name, state in (("a", "completed"), ("b", "stage_timeout"))
    )
    memory_database["spectra"].insert_one(
        {"_id": "m", "formula": "CO", "absorber": "C", "edge": "K", "state": "completed"}
    )
    monkeypatch.setattr(watching, "launchpad", lambda _: pad)
    monkeypatch.setattr(watching, "connect", lambda _: memory_database)
    watch = QueueWatch(Settings())
    watch()
    pad.fireworks.update_one({}, {"$set": {"state": "COMPLETED"}})
    watch()
    assert sorted((each.kind, each.state) for each in watch.ended) == [
        ("average", "completed"),
        ("site", "completed"),
        ("site", "stage_timeout"),
    ]
    assert Ended("average", "CO C K, of 2 sites", "completed") in watch.ended


def test_of_a_large_pack_no_question_names_many_ids() -> None:
    asked: list[int] = []

    class Counting:
        def __getitem__(self, _: str) -> Counting:
            return self

        def find(self, condition: dict[str, dict[str, list[str]]], _: object) -> list[object]:
            asked.append(len(condition["_id"]["$in"]))
            return []

    about = {"calculation_id": [str(n) for n in range(1000)], "average_id": ["a"] * 150}
    assert list(_of_pack(Counting(), "1000 sites", about)) == []  # type: ignore[arg-type]
    assert (max(asked), sum(asked)) == (100, 1150)


def test_a_pack_that_fizzled_needs_submit_again(
    pad: LaunchPad, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = FizzledJob(1, "pack", "feff", "2 sites", None, "ValueError", "ValueError: x", False, None)
    monkeypatch.setattr(database_state, "fizzled_jobs", lambda *_, **__: [job])
    found = Overview("up", "embedded", "")
    database_state._look_at_fizzled(pad, found)
    assert "`nearedge submit`" in found.hints[0]
