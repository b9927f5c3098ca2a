"""A launchpad in memory, and workflows that do nothing."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import mongomock_ng
import pytest
from fireworks import Firework
from fireworks.core import launchpad as fireworks_launchpad
from jobflow import Job
from jobflow.managers.fireworks import JobFiretask

from nearedge.launch import heartbeat
from nearedge.launch.fencing import FencedLaunchPad
from nearedge.launch.fireworks import ensure_launchpad_indexes


@pytest.fixture
def pad(monkeypatch: pytest.MonkeyPatch) -> FencedLaunchPad:
    """Return an empty launchpad in this process's memory."""
    monkeypatch.setattr(fireworks_launchpad, "MongoClient", mongomock_ng.MongoClient)
    monkeypatch.setattr(fireworks_launchpad, "GRIDFS_FALLBACK_COLLECTION", None)
    pad = FencedLaunchPad(
        host="mongodb://localhost", uri_mode=True, name="launchpad", strm_lvl="CRITICAL"
    )
    ensure_launchpad_indexes(pad)
    return pad


@pytest.fixture(scope="session")
def idle() -> Callable[..., Firework]:
    """Return a maker of Fireworks that do next to nothing; its arguments go into the spec."""

    def make(parents: list[Firework] | None = None, **spec: object) -> Firework:
        # Of jobflow's kind: FireWorks finds its own tasks by importing all there are.
        task = JobFiretask(job=Job(math.sqrt, function_args=(4.0,)), store=None)
        return Firework([task], spec=spec, parents=parents, name="idle")

    return make


class Clock:
    """The database server's clock, and nobody else's."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self, _: object) -> datetime:
        return self.now

    def passes(self, minutes: float) -> None:
        self.now += timedelta(minutes=minutes)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Let time pass on the database server."""
    clock = Clock()
    monkeypatch.setattr(heartbeat, "server_time", clock)
    return clock
