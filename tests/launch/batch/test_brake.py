"""A class whose batch jobs cannot begin is stopped, and nothing else is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fireworks import Firework

from nearedge.launch.batch.brake import LIMIT, Brake
from nearedge.launch.batch.reservation import BatchJob
from nearedge.launch.batch.script import STARTED
from nearedge.launch.scheduler import JobState

Idle = Callable[..., Firework]


def test_a_class_whose_jobs_cannot_begin_is_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    brake = Brake()
    states: dict[str, Any] = {}
    monkeypatch.setattr(
        "nearedge.launch.batch.brake.states_of", lambda ids: {each: states[each] for each in ids}
    )
    for number in range(LIMIT):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "x.error").write_text("loading\nVASP cannot run here\n\n")
        brake.watch([BatchJob(f"slurm:{number}", "vasp", folder, "")])
        states[f"slurm:{number}"] = JobState.RUNNING
        brake.look()
        assert brake.stopped == {}
        states[f"slurm:{number}"] = JobState.FAILED
        brake.look()
    assert "3 batch jobs ended before they could work: VASP cannot run" in brake.stopped["vasp"]
    (tmp_path / "0" / STARTED).touch()
    brake.watch([BatchJob("slurm:0", "vasp", tmp_path / "0", "")])
    brake.look()
    assert brake.stopped == {}


def test_what_met_an_outage_of_the_database_stops_no_class(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    brake = Brake()
    monkeypatch.setattr(
        "nearedge.launch.batch.brake.states_of", lambda ids: dict.fromkeys(ids, JobState.FAILED)
    )
    for number in range(LIMIT + 1):
        brake.watch([BatchJob(f"slurm:{number}", "vasp", tmp_path, "")])
        if number < LIMIT:
            brake.look()
    assert "vasp" in brake.stopped
    brake.forgive()
    brake.look()
    assert brake.stopped == {}
