"""A Grid Engine of one node on this machine, and an installation whose batch jobs it runs."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest
import yaml

from nearedge.launch.batch.filling import Pass, Wanted, fill
from nearedge.launch.batch.reservation import BatchJob
from nearedge.launch.recovery import Recovery, recover
from nearedge.launch.scheduler import JobState, states_of
from nearedge.queue_settings import QueueSettings
from nearedge.settings import Settings, get_settings
from nearedge.store.connection import connect

if TYPE_CHECKING:
    from tests.faults.conftest import Site

_PACKAGES = "gridengine-master gridengine-exec gridengine-client"
_SCRIPT = Path(__file__).parent / "grid_engine.sh"
_QUICK = {"walltime": 900, "margin": 20, "expected": 1, "tasks": 1}


@dataclass(frozen=True)
class GridEngine:
    """A Grid Engine of one node with two slots that a test may break.

    Parameters
    ----------
    folder
        Its ``SGE_ROOT``.
    ports
        Of sge_qmaster and sge_execd.
    """

    folder: Path
    ports: tuple[int, int]

    @property
    def environment(self) -> dict[str, str]:
        """What its commands go by."""
        master, node = self.ports
        return {
            "SGE_ROOT": str(self.folder),
            "SGE_CELL": "default",
            "SGE_QMASTER_PORT": str(master),
            "SGE_EXECD_PORT": str(node),
        }

    def up(self) -> None:
        """Start the daemons that do not run, and wait until the queue takes jobs."""
        self._script("up")

    def down(self) -> None:
        """Delete every job, end the daemons by their numbers and remove the folder."""
        self._script("down")

    def _script(self, command: str) -> None:
        environment = os.environ | self.environment
        subprocess.run(
            ["bash", str(_SCRIPT), command, str(self.folder)],
            env=environment, capture_output=True, check=True, timeout=180,
        )  # fmt: skip

    def pid(self, daemon: str) -> int:
        """Return the number of ``sge_qmaster`` or ``sge_execd``."""
        (found,) = self.folder.glob(f"spool/**/{daemon.removeprefix('sge_')}.pid")
        return int(found.read_text())

    def ask(self, *command: str) -> str:
        """Run one of its commands and return what it prints."""
        done = subprocess.run(
            command, env=os.environ | self.environment, capture_output=True, text=True, check=True,
            timeout=60,
        )  # fmt: skip
        return done.stdout.strip()

    def record(self, number: str) -> dict[str, str]:
        """Return what `qacct` says of a job that has ended."""
        lines = self.ask("qacct", "-j", number).splitlines()
        return {line.split()[0]: line.partition(" ")[2].strip() for line in lines if " " in line}

    def requested(self, number: str) -> dict[str, str]:
        """Return what `qstat -j` says of a job that waits or runs."""
        lines = self.ask("qstat", "-j", number).splitlines()
        return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


@pytest.fixture(scope="session")
def private_grid_engine(
    tmp_path_factory: pytest.TempPathFactory, need: Callable[[object, str], None]
) -> Iterator[GridEngine]:
    """Start a Grid Engine of one node once."""
    need(os.geteuid() == 0, "a private Grid Engine needs root, whose daemons start jobs")
    found = all(shutil.which(name) for name in ("sge_qmaster", "sge_execd", "qsub", "qacct"))
    need(found, f"Grid Engine is not installed: apt install {_PACKAGES}")
    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        ports = one.getsockname()[1], other.getsockname()[1]
    engine = GridEngine(tmp_path_factory.mktemp("sge"), ports)
    try:
        engine.up()
        yield engine
    finally:
        engine.down()


@pytest.fixture
def engine(
    private_grid_engine: GridEngine, monkeypatch: pytest.MonkeyPatch
) -> Iterator[GridEngine]:
    """Return a Grid Engine that is up, which this process and what it starts submit to; none of
    its jobs is left afterwards.
    """
    for name, value in private_grid_engine.environment.items():
        monkeypatch.setenv(name, value)
    yield private_grid_engine
    private_grid_engine.up()
    deadline = time.monotonic() + 60
    while private_grid_engine.ask("qstat", "-u", "*"):
        assert time.monotonic() < deadline, "its jobs cannot be deleted"
        subprocess.run(["qdel", "-u", "*"], capture_output=True, check=False)
        time.sleep(0.3)


@dataclass
class Farm:
    """What `nearedge queue` submits of an installation to a Grid Engine, and how it ends."""

    site: Site
    engine: GridEngine
    settings: Settings

    def asking(self, **resources: object) -> Farm:
        """Return the same with other resources."""
        queue = QueueSettings.model_validate({"scheduler": "sge", "all": _QUICK | resources})
        return Farm(self.site, self.engine, self.settings.model_copy(update={"queue": queue}))

    def fill(self, *, pilots: bool, max_jobs: int = 9) -> Pass:
        return fill(self.site.pad, "sge", self.settings, Wanted(max_jobs=max_jobs, pilots=pilots))

    def submit(self, *, pilots: bool) -> BatchJob:
        """Submit the one job that is wanted."""
        (job,) = self.fill(pilots=pilots).submitted
        return job

    def recover(self) -> Recovery:
        return recover(self.site.pad, connect(self.settings))

    def over(self, job: BatchJob, *, began: bool = True, seconds: float = 240.0) -> JobState:
        """Wait until a job is over, and in the accounts if it had begun; return how it stands."""
        found: list[JobState] = []

        def known() -> bool:
            found.append(states_of([job.batch_id])[job.batch_id])
            return found[-1].over and not (began and found[-1] is JobState.ENDED)

        self.site.until(known, seconds)
        return found[-1]

    def said(self, job: BatchJob) -> str:
        return "".join(path.read_text() for path in sorted(job.folder.glob("FW_job.*")))

    def hold(self, number: str) -> None:
        """Keep a job that waits from starting."""
        self.engine.ask("qhold", number)

    def running(self) -> None:
        """Wait until the one job is marked as running."""
        self.site.until(lambda: self.site.pad.fireworks.find_one({"state": "RUNNING"}))

    def processes(self) -> list[psutil.Process]:
        """Return every process that Grid Engine has started for a job."""
        node = psutil.Process(self.engine.pid("sge_execd"))
        return [each for shepherd in node.children() for each in shepherd.children(recursive=True)]


@pytest.fixture
def farm(
    site: Site, engine: GridEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Farm]:
    """Return an installation's batch jobs under a real Grid Engine."""
    # Slurm's commands may be found here too.
    config = tmp_path / "settings.yaml"
    config.write_text(yaml.safe_dump({"queue": {"scheduler": "sge"}}))
    config.chmod(0o600)
    monkeypatch.setenv("NEAREDGE_CONFIG_FILE", str(config))
    get_settings.cache_clear()
    settings = site.settings.model_copy(update={"trusted_jobs": "math,time"})
    yield Farm(site, engine, settings).asking()
    get_settings.cache_clear()
