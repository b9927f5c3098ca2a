"""Folders of failed runs are shown and may be removed by age; what is still needed stays."""

from __future__ import annotations

import os
import time
from datetime import timedelta
from pathlib import Path

import pytest
from fireworks.core.launchpad import LaunchPad

from nearedge.launch.folders import disk_use, old_folders, remove, written
from nearedge.settings import Settings
from nearedge.store.claims import Claims
from nearedge.store.operations import MongoDatabase

DAY = 86400.0


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path, mongo_uri=None, run_dir=None)


def run(settings: Settings, calculation: str, attempt: str, *, days: float, size: int = 9) -> Path:
    folder = settings.runs / calculation / attempt
    folder.mkdir(parents=True)
    (folder / "log").write_bytes(b"x" * size)
    then = time.time() - days * DAY
    for path in (folder / "log", folder):
        os.utime(path, (then, then))
    return folder


def test_old_folders_of_failures_go_and_their_records_stay(
    settings: Settings, pad: LaunchPad, memory_database: MongoDatabase
) -> None:
    old = run(settings, "failed", "one", days=40)
    run(settings, "failed", "two", days=2)
    run(settings, "kept", "good", days=40)
    run(settings, "launches", "fizzled", days=50, size=91)
    run(settings, "launches", "running", days=50)
    waiting = run(settings, "waiting", "x", days=40)
    (waiting.parent / "result.json").write_text("{}")
    run(settings, "claimed", "x", days=40)
    calculations = memory_database["calculations"]
    for name, state, attempt in (("failed", "scf", "one"), ("kept", "completed", "good")):
        folder = str(settings.runs / name / attempt)
        calculations.insert_one({"_id": name, "state": state, "run_dir": folder})
    pad.launches.insert_one(
        {"launch_dir": str(settings.runs / "launches" / "running"), "state": "RUNNING"}
    )
    with Claims(memory_database).hold("claimed"):
        found = old_folders(settings, pad, memory_database, timedelta(days=30))
    names = ["launches/fizzled", "failed/one"]
    assert [str(Path(each.path).relative_to(settings.runs)) for each in found] == names
    assert [each.size for each in found] == [91, 9]
    assert found[0].days == pytest.approx(50, abs=0.1)
    assert old.exists(), "looking removes nothing"

    assert remove(found, memory_database) == found
    left = {str(path.relative_to(settings.runs)) for path in settings.runs.glob("*/*")}
    assert left == {
        "failed/two", "kept/good", "launches/running", "waiting/x", "waiting/result.json",
        "claimed/x",
    }  # fmt: skip
    assert calculations.find_one({"_id": "failed"})["run_dir"] is None  # type: ignore[index]
    assert calculations.find_one({"_id": "kept"})["run_dir"] is not None  # type: ignore[index]


def test_what_a_batch_job_left_goes_once_it_cannot_run_any_more(
    settings: Settings, pad: LaunchPad, memory_database: MongoDatabase
) -> None:
    jobs = settings.home / "batch" / "jobs"
    hours = {"over": 30.0, "reserved": 30.0, "pilot": 30.0, "begun": 0.5, "ended pilot": 29.0,
             "running": 30.0, "given up": 28.0}  # fmt: skip
    for name, ago in hours.items():
        (jobs / name).mkdir(parents=True)
        (jobs / name / "submit.sh").write_text("exec true")
        then = time.time() - ago * 3600.0
        for path in (jobs / name / "submit.sh", jobs / name):
            os.utime(path, (then, then))
    pad.launches.insert_one({"launch_dir": str(jobs / "reserved"), "state": "RESERVED"})
    for number, (name, more) in enumerate(
        {"running": {}, "given up": {"given_up": "lost"}}.items()
    ):
        history = [{"state": "RESERVED", "folder": str(jobs / name)}, {"state": "RUNNING"}]
        launch = {"launch_id": number, "launch_dir": "runs/launches/x", "state": "RUNNING"}
        pad.launches.insert_one({**launch, "state_history": history, **more})
    for name, state in (("pilot", "submitted"), ("ended pilot", "ended")):
        pad.db["pilots"].insert_one({"folder": str(jobs / name), "state": state})
    found = old_folders(settings, pad, memory_database, timedelta(0))
    assert [Path(each.path).name for each in found] == ["over", "ended pilot", "given up"]
    assert remove(found, memory_database) == found
    left = ["begun", "pilot", "reserved", "running"]
    assert sorted(each.name for each in jobs.iterdir()) == left


def test_what_is_known_by_the_name_of_a_link_stays_as_well(
    settings: Settings, pad: LaunchPad, memory_database: MongoDatabase
) -> None:
    for above, name in (("launches", "l1"), ("kept", "a1"), ("failed", "a2")):
        run(settings, above, name, days=40)
    pilot = settings.home / "batch" / "jobs" / "p1"
    pilot.mkdir(parents=True)
    os.utime(pilot, (0.0, 0.0))
    pad.launches.insert_one({"launch_dir": "/link/runs/launches/l1", "state": "RUNNING"})
    pad.db["pilots"].insert_one({"folder": "/link/batch/jobs/p1", "state": "submitted"})
    calculations = memory_database["calculations"]
    for name, state, attempt in (("kept", "completed", "a1"), ("failed", "failed", "a2")):
        folder = f"/link/runs/{name}/{attempt}"
        calculations.insert_one({"_id": name, "state": state, "run_dir": folder})
    found = old_folders(settings, pad, memory_database, timedelta(days=30))
    assert [Path(each.path).name for each in found] == ["a2"]
    remove(found, memory_database)
    assert calculations.find_one({"_id": "failed"})["run_dir"] is None  # type: ignore[index]


def test_a_link_leads_nowhere(
    settings: Settings, pad: LaunchPad, memory_database: MongoDatabase, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere" / "x"
    elsewhere.mkdir(parents=True)
    settings.runs.mkdir()
    (settings.runs / "link").symlink_to(elsewhere.parent)
    assert old_folders(settings, pad, memory_database, timedelta(0)) == []


def test_disk_use_is_counted(settings: Settings, memory_database: MongoDatabase) -> None:
    run(settings, "failed", "one", days=1, size=1000)
    (settings.home / "database").mkdir()
    (settings.home / "database" / "data").write_bytes(b"y" * 500)
    used = disk_use(settings, memory_database)
    assert (used.runs, used.run_folders, used.cache, used.database) == (1000, 1, 0, 500)
    assert [written(size) for size in (999, 1500, 2.5e9)] == ["999 B", "1.5 kB", "2.5 GB"]
