"""What is submitted to PBS works from its submission to its end, under a stand-in for PBS."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from nearedge.launch.batch.filling import Wanted, fill
from nearedge.launch.batch.reservation import BatchJob
from nearedge.launch.identity import WorkerIdentity
from nearedge.launch.recovery import recover
from nearedge.launch.scheduler import JobState, states_of
from nearedge.queue_settings import QueueSettings
from nearedge.settings import Settings, get_settings
from nearedge.store.connection import connect
from nearedge.structures.source import LoadedStructure

if TYPE_CHECKING:
    from tests.faults.conftest import Site

Molecule = Callable[[str], LoadedStructure]

pytestmark = [pytest.mark.integration, pytest.mark.slow]

# Python imports it by itself, in the codes' processes as well.
_NEVER_ENDS = """
import sys
import time
from pathlib import Path
if "nearedge.cli.batch_job" in sys.orig_argv:
    from nearedge.codes.feff import run
    follow = run._follow

    def never(process, reading, outcome, timeout, _):
        def during(stage):
            Path({file!r}).touch()
            time.sleep(600)
        follow(process, reading, outcome, timeout, during)

    run._follow = never
"""


@pytest.fixture
def jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Put the stand-in's commands in front of this machine's, and return its folder."""
    commands, jobs = tmp_path / "bin", tmp_path / "pbs"
    commands.mkdir()
    jobs.mkdir()
    script = Path(__file__).with_name("pbs_stand_in.py")
    for name in ("qsub", "qstat", "qdel"):
        path = commands / name
        path.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{script}" "{jobs}" {name} "$@"\n')
        path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{commands}:{os.environ['PATH']}")
    config = tmp_path / "settings.yaml"
    config.write_text(yaml.safe_dump({"queue": {"scheduler": "pbs"}}))
    config.chmod(0o600)
    monkeypatch.setenv("NEAREDGE_CONFIG_FILE", str(config))
    get_settings.cache_clear()
    yield jobs
    get_settings.cache_clear()


@pytest.fixture
def settings(site: Site) -> Settings:
    resources = {"walltime": 900, "margin": 20, "expected": 1, "tasks": 1, "partition": "workq"}
    queue = QueueSettings.model_validate({"scheduler": "pbs", "all": resources})
    return site.settings.model_copy(update={"queue": queue})


def submit(site: Site, settings: Settings, *, pilots: bool) -> BatchJob:
    (job,) = fill(site.pad, "pbs", settings, Wanted(max_jobs=9, pilots=pilots)).submitted
    return job


def that_never_end(settings: Settings, folder: Path) -> Settings:
    """Return settings whose batch jobs wait while FEFF runs, and leave a file in `folder` then."""
    (folder / "sitecustomize.py").write_text(_NEVER_ENDS.format(file=str(folder / "computes")))
    queue = settings.batch.model_dump(exclude_unset=True)
    queue["all"]["environment"] = {"PYTHONPATH": str(folder)}
    return settings.model_copy(update={"queue": QueueSettings.model_validate(queue)})


def over(site: Site, job: BatchJob) -> JobState:
    site.until(lambda: states_of([job.batch_id])[job.batch_id].over, seconds=240)
    return states_of([job.batch_id])[job.batch_id]


@pytest.mark.parametrize("pilots", [False, True], ids=["of its own", "in a pilot"])
def test_a_site_is_computed_and_its_batch_job_completes(
    site: Site, settings: Settings, jobs: Path, molecule: Molecule, *, pilots: bool
) -> None:
    site.submit(molecule("CO"), "C")
    (jobs / "hold").touch()
    job = submit(site, settings, pilots=pilots)
    assert job.batch_id == "pbs:100.head"
    assert states_of(["pbs:100"]) == {"pbs:100": "pending"}
    assert recover(site.pad, connect(settings)).total == 0
    (jobs / "hold").unlink()
    assert over(site, job) == "completed", (job.folder / "FW_job.error").read_text()
    assert "2 completed, 0 fizzled" in (job.folder / "FW_job.out").read_text()
    launch = site.pad.launches.find_one({"state": "COMPLETED"})
    worker = WorkerIdentity.parse(launch["fworker"]["name"])
    assert worker is not None
    assert worker.batch == job.batch_id
    site.check_complete()


def test_a_running_job_that_is_deleted_puts_its_work_back_itself(
    site: Site, settings: Settings, jobs: Path, molecule: Molecule, tmp_path: Path
) -> None:
    site.submit(molecule("CO"), "C")
    job = submit(site, that_never_end(settings, tmp_path), pilots=False)
    site.until((tmp_path / "computes").exists)
    subprocess.run(["qdel", "100.head"], check=True)
    over(site, job)
    assert recover(site.pad, connect(settings)).total == 0
    assert site.feff() == []
    assert site.state() == "READY"
    assert "1 put back" in (job.folder / "FW_job.out").read_text()
    assert submit(site, settings, pilots=False).batch_id == "pbs:101.head"
    over(site, BatchJob("pbs:101.head", "feff", job.folder, ""))
    site.check_complete()
