"""Settings of a queue, and a scheduler that takes every job and runs none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from fireworks import Firework, Workflow
from fireworks.core.launchpad import LaunchPad

from nearedge.launch.batch import filling, pilots
from nearedge.launch.batch.adapter import BatchAdapter
from nearedge.launch.scheduler import JobState
from nearedge.queue_settings import QueueSettings
from nearedge.settings import Settings

Idle = Callable[..., Firework]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    queue = QueueSettings.model_validate({"codes": {"feff": {"expected": 600}}})
    return Settings(home=tmp_path, mongo_uri=None, queue=queue)


@pytest.fixture
def submitted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the scripts that were submitted; the scheduler has nothing else in its queue."""
    scripts: list[str] = []

    def take(self: BatchAdapter, script_file: str) -> str:
        scripts.append(Path(script_file).read_text())
        return str(100 + len(scripts))

    monkeypatch.setattr(BatchAdapter, "submit_to_queue", take)
    monkeypatch.setattr(filling, "jobs_in_queue", lambda *_: 0)
    alive = lambda ids: dict.fromkeys(ids, JobState.PENDING)  # noqa: E731
    monkeypatch.setattr(pilots, "states_of", alive)
    return scripts


@pytest.fixture
def add(pad: LaunchPad, idle: Idle) -> Callable[..., int]:
    """Add a Firework that says this of itself and return its number."""

    def make(*, priority: int = 0, **about: object) -> int:
        firework = idle(nearedge=about, _priority=priority)
        pad.add_wf(Workflow([firework]))
        return int(firework.fw_id)

    return make
