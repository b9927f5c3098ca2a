"""Bad luck: a worker is judged gone, its job runs elsewhere, and then it comes back."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from nearedge.launch.pool import worker_environment
from nearedge.launch.recovery import recover
from nearedge.launch.scheduler import JobState
from nearedge.store.connection import connect
from nearedge.structures.source import LoadedStructure

if TYPE_CHECKING:
    from tests.faults.conftest import Site

Molecule = Callable[[str], LoadedStructure]

pytestmark = pytest.mark.integration

_SUSPENDED = """
import os, signal
from nearedge.launch.fencing import FencedLaunchPad
from nearedge.launch.outputs import FencedOutputs
from nearedge.makers import storing
from nearedge.store import packing
from nearedge.store.recording import Recorder

packing.TEXT_LIMIT = 10
conclude = Recorder.conclude

def with_a_blob_of_its_own(self, records, *more):
    for record in records:
        record.calculation.inputs["of this attempt alone"] = "x" * 1000
    return conclude(self, records, *more)

Recorder.conclude = with_a_blob_of_its_own

def suspend_in(owner, name):
    method = getattr(owner, name)
    def suspended(*arguments, **options):
        ends = name != "_update_wf" or any(
            firework.state == "COMPLETED" for firework in arguments[1].id_fw.values()
        )
        if ends:
            setattr(owner, name, method)
            os.kill(os.getpid(), signal.SIGSTOP)
        return method(*arguments, **options)
    setattr(owner, name, suspended)

suspend_in({where})
from nearedge.launch.worker import main
raise SystemExit(main([]))
"""


def _node_failed(ids: Iterable[str]) -> dict[str, JobState]:
    return dict.fromkeys(ids, JobState.NODE_FAIL)


@pytest.mark.parametrize(
    ("where", "why"),
    [
        pytest.param(
            'Recorder, "_put_calculations"', "node_failed", id="between blob and document"
        ),
        pytest.param(
            'storing, "_store"', "node_failed", id="before it stores", marks=pytest.mark.slow
        ),
        pytest.param(
            'FencedOutputs, "_put"', "node_failed", id="at its output", marks=pytest.mark.slow
        ),
        pytest.param(
            'FencedLaunchPad, "_update_wf"', "unrecorded", id="at its end", marks=pytest.mark.slow
        ),
    ],
)
def test_what_a_worker_left_behind_writes_late_is_refused_and_everything_is_there_once(
    site: Site, molecule: Molecule, tmp_path: Path, where: str, why: str
) -> None:
    site.submit(molecule("CO"), "C")
    elsewhere = site.settings.model_copy(update={"run_dir": tmp_path / "elsewhere"})
    left = subprocess.Popen(
        [sys.executable, "-P", "-c", _SUSPENDED.replace("{where}", where)],
        env=worker_environment(elsewhere) | {"SLURM_JOB_ID": "77"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    site.workers.append(left)  # type: ignore[arg-type]
    process = psutil.Process(left.pid)
    site.until(lambda: process.status() == psutil.STATUS_STOPPED)
    assert site.recover().total == 0, "it is alive"
    found = recover(site.pad, connect(site.settings), ask=_node_failed)
    assert [(each.why, each.batch) for each in found.findings] == [(why, "slurm:77")]
    ended = why == "unrecorded"  # its end is recorded in its name, and only the average is left
    assert site.run().completed == (1 if ended else 2)
    os.kill(left.pid, signal.SIGCONT)
    said, errors = left.communicate(timeout=60)
    assert left.returncode == 0, errors
    assert json.loads(said.splitlines()[-1])["refused"] == (0 if ended else 1)
    if not ended:
        assert "was given up and its job put back" in errors or "is a later launch's" in errors
    site.check_complete()
    assert [path for path in elsewhere.runs.rglob("*") if path.is_file()] == []
    assert site.store.orphans(older_than=timedelta(0)) == set()
    assert site.pad.db["job_outputs"].count_documents({}) == 2
