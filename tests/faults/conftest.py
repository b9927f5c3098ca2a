"""A database that may be killed, workers that may be killed, and what must hold afterwards."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
import textwrap
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest
from fireworks.core.launchpad import LaunchPad
from pydantic import SecretStr

from nearedge.cli.database_state import Overview, overview
from nearedge.launch.batch.filling import Wanted, fill
from nearedge.launch.batch.reservation import BatchJob
from nearedge.launch.fireworks import launchpad
from nearedge.launch.pool import PoolSummary, run_workers, worker_environment
from nearedge.launch.recovery import Recovery, recover
from nearedge.queue_settings import QueueSettings
from nearedge.settings import Settings
from nearedge.store.connection import client, connect, initialize
from nearedge.store.queries import CalculationQuery, SpectrumQuery
from nearedge.store.service import EmbeddedServer
from nearedge.store.spectra_store import SpectraStore
from nearedge.structures.source import LoadedStructure
from nearedge.workflows.campaign import SubmissionReport, submit

if TYPE_CHECKING:
    from tests.conftest import Slurm

Molecule = Callable[[str], LoadedStructure]


LOOKS = 25
_LOOKS = """
import json, time
from nearedge.launch.fireworks import launchpad
from nearedge.launch.recovery import recover
from nearedge.settings import get_settings
from nearedge.store.connection import connect
settings = get_settings()
for _ in range({times}):
    found = recover(launchpad(settings), connect(settings))
    print(json.dumps([time.time(), [each.why for each in found.findings]]), flush=True)
    time.sleep(0.2)
"""


@dataclass
class Site:
    """An installation whose server and workers a test may break."""

    settings: Settings
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def server(self) -> EmbeddedServer:
        return EmbeddedServer(self.settings)

    @property
    def pad(self) -> LaunchPad:
        return launchpad(self.settings)

    @property
    def store(self) -> SpectraStore:
        return SpectraStore(connect(self.settings))

    def kill_server(self) -> None:
        """End the database as a power cut would."""
        pid = self.server.status().pid
        assert pid is not None
        process = psutil.Process(pid)
        process.kill()
        self.until(lambda: not psutil.pid_exists(pid) or process.status() == psutil.STATUS_ZOMBIE)

    def submit(
        self, loaded: LoadedStructure, absorber: str, project: str = "p"
    ) -> SubmissionReport:
        return submit([loaded], absorber=absorber, project=project, settings=self.settings)

    def start_worker(self, bootstrap: str = "") -> subprocess.Popen[bytes]:
        """Start a worker that runs `bootstrap` first."""
        start = "from nearedge.launch.worker import main\nraise SystemExit(main([]))"
        return self.start(f"{bootstrap}\n{start}")

    def start(
        self,
        program: str,
        settings: Settings | None = None,
        under: Sequence[str] = (),
        output: Path | None = None,
    ) -> subprocess.Popen[bytes]:
        """Start a Python program with these settings, or others, `under` another program."""
        with open(output or os.devnull, "wb") as written:
            process = subprocess.Popen(
                [*under, sys.executable, "-P", "-c", program],
                env=worker_environment(settings or self.settings),
                stdout=written,
                stderr=written,
            )
        self.workers.append(process)
        return process

    def reached(self) -> Settings:
        """Return settings for who sees neither the database's process nor its files."""
        return self.settings.model_copy(update={"mongo_uri": SecretStr(self.server.uri())})

    def start_looking(
        self, output: Path, settings: Settings, under: Sequence[str]
    ) -> subprocess.Popen[bytes]:
        """Start what reconciles again and again; `looked` reads what it found."""
        return self.start(_LOOKS.format(times=LOOKS), settings, under, output)

    @staticmethod
    def looked(output: Path) -> list[tuple[float, list[str]]]:
        """Return each look's time of day and findings."""
        said = [json.loads(line) for line in output.read_text().splitlines()]
        assert len(said) == LOOKS
        return [(when, found) for when, found in said]

    def run(self, workers: int = 1, watch: Callable[[], None] | None = None) -> PoolSummary:
        """Do what `nearedge run` does."""
        self.recover()
        return run_workers(workers, self.settings, watch=watch, watch_seconds=0.1)

    def recover(self) -> Recovery:
        return recover(self.pad, connect(self.settings))

    def status(self) -> Overview:
        return overview(self.settings)

    def state(self) -> str:
        """Return the state of the one site's Firework."""
        return str(self.pad.fireworks.find_one({"spec.nearedge.kind": "site"})["state"])

    def put_back(self, why: str, number: str) -> float:
        """Recover until the one site is ready again; return the seconds, and check why it is."""
        began = time.monotonic()
        found: list[tuple[str, str | None]] = []

        def ready() -> bool:
            found.extend((each.why, each.batch) for each in self.recover().findings)
            return self.state() == "READY"

        self.until(ready)
        assert found == [(why, f"slurm:{number}")]
        assert self.recover().total == 0
        return time.monotonic() - began

    @staticmethod
    def kill_with_supervisor(worker: psutil.Process) -> None:
        """Kill a worker, and with it the process that would end its code."""
        (supervisor,) = worker.children()
        for each in (supervisor, worker):
            each.suspend()  # so that neither sees the other's end
        for each in (supervisor, worker):
            each.kill()

    def children(self, process: subprocess.Popen[bytes]) -> list[psutil.Process]:
        """Return all that a process has started."""
        return psutil.Process(process.pid).children(recursive=True)

    @staticmethod
    def works(process: psutil.Process) -> bool:
        """Whether a process has not ended; one that nobody waits for has, and stays listed."""
        try:
            return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False

    def feff(self) -> list[int]:
        """Return the processes of FEFF that run for this installation, wherever they hang."""
        found = []
        for process in psutil.process_iter(["pid", "cmdline"]):
            if any(str(self.settings.runs) in word for word in process.info["cmdline"] or []):
                found.append(process.info["pid"])
        return found

    @staticmethod
    def until(true: Callable[[], object], seconds: float = 120.0) -> None:
        """Wait until `true()`; fail after `seconds`, which a busy machine needs to start FEFF."""
        deadline = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < deadline, "it did not come true in time"
            time.sleep(0.05)

    def check_complete(self, calculations: int = 1, crystals: int = 1) -> None:
        """Assert that everything is there once, and nothing else is left."""
        assert self.store.count(CalculationQuery(state="completed")) == calculations
        assert self.store.count(CalculationQuery()) == calculations
        assert self.store.count(SpectrumQuery(kind="site")) == calculations
        assert self.store.count(SpectrumQuery(kind="average", state="completed")) == crystals
        found = self.status()
        assert set(found.queue) == {"COMPLETED"}
        assert found.running == []
        assert found.hints == []
        assert self.feff() == []
        assert [path for path in self.settings.runs.rglob("*") if path.is_file()] == []

    def check_nothing_over(self) -> None:
        """Assert that no blob is without a document, and what jobs returned is there once."""
        assert self.store.orphans(older_than=timedelta(0)) == set()
        ended = self.pad.fireworks.count_documents({"state": "COMPLETED"})
        assert self.pad.db["job_outputs"].count_documents({}) == ended
        under_way = {"state": {"$in": ["RUNNING", "RESERVED"]}, "given_up": {"$exists": False}}
        said = {"_id": 0, "fw_id": 1, "launch_id": 1, "state": 1, "state_history": 1}
        assert list(self.pad.launches.find(under_way, said)) == []


_OF_WORKERS = ("nearedge.cli.batch_job", "nearedge.launch.worker")


@dataclass
class BatchQueue:
    """What `nearedge queue` submits of an installation.

    Parameters
    ----------
    folder
        For what is to go wrong in the jobs.
    """

    site: Site
    slurm: Slurm
    folder: Path

    def __post_init__(self) -> None:
        self._before = set(self.slurm.states())

    def states(self) -> list[str]:
        """Return the states of all jobs that this test submitted."""
        found = self.slurm.states()
        return [found[number] for number in sorted(set(found) - self._before, key=int)]

    def settings(self, fault: str = "", **resources: object) -> Settings:
        """Return settings whose batch jobs run the program `fault` first, with such `resources`."""
        faults = self.folder / uuid.uuid4().hex
        faults.mkdir(parents=True)
        # Python imports it by itself, in the codes' processes as well.
        (faults / "sitecustomize.py").write_text(
            f"import sys\nif {{*{_OF_WORKERS}}} & {{*sys.orig_argv}}:\n"
            + textwrap.indent(fault or "pass", "    ")
        )
        usual = {"walltime": 900, "margin": 20, "expected": 1, "tasks": 1, "memory": "700M"}
        queue = {"all": {**usual, **resources, "environment": {"PYTHONPATH": str(faults)}}}
        return self.site.settings.model_copy(update={"queue": QueueSettings.model_validate(queue)})

    def submit(self, fault: str = "") -> str:
        """Submit the one job that is ready, and return its number."""
        (job,) = self.fill(self.settings(fault), pilots=False)
        return job.batch_id.removeprefix("slurm:")

    def submit_pilot(self, fault: str = "", **resources: object) -> str:
        """Submit a pilot of two workers for all that is ready, and return its number."""
        (job,) = self.fill(self.settings(fault, tasks=2, **resources), pilots=True)
        return job.batch_id.removeprefix("slurm:")

    def fill(self, settings: Settings, *, pilots: bool | None = None) -> list[BatchJob]:
        """Submit what `nearedge queue` does at one look."""
        wanted = Wanted(max_jobs=9, pilots=pilots)
        return fill(self.site.pad, "slurm", settings, wanted).submitted

    def end(self, number: str) -> str:
        """Wait until a job is over, and return its state."""

        def over() -> bool:
            return self.slurm.states()[number] not in ("PENDING", "RUNNING", "COMPLETING")

        self.site.until(over, seconds=240)
        return self.slurm.states()[number]


@pytest.fixture
def another_slurm(
    slurm: Slurm, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[Mapping[str, str]], Slurm]]:
    """Return how a second Slurm is started, in whose configuration lines are replaced."""
    started = []

    def start(changes: Mapping[str, str]) -> Slurm:
        folder = tmp_path_factory.mktemp("another")
        tools = folder / "tools"
        shutil.copytree(slurm.tools, tools)
        script = tools / "slurm_up.sh"
        script.chmod(0o755)
        text = script.read_text()
        for line, instead in changes.items():
            assert text.count(f"{line}\n") == 1
            text = text.replace(f"{line}\n", f"{instead}\n")
        script.write_text(text)
        ports = []
        for _ in range(2):
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                ports.append(free.getsockname()[1])
        second = replace(slurm, tools=tools, folder=folder / "slurm", ports=(ports[0], ports[1]))
        second.folder.mkdir()
        started.append(second)
        second.up()
        return second

    yield start
    for each in started:
        each.down()  # with what is left of its jobs


@pytest.fixture
def batch(site: Site, slurm: Slurm, tmp_path: Path) -> BatchQueue:
    """Return an installation's batch jobs under a real Slurm."""
    return BatchQueue(site, slurm, tmp_path / "faults")


@pytest.fixture
def told(capsys: pytest.CaptureFixture[str]) -> Callable[[str, float], None]:
    """Return how a test tells a figure that the documentation states."""

    def tell(what: str, seconds: float) -> None:
        with capsys.disabled():
            print(f"\n{what}: {seconds:.1f} s")

    return tell


@pytest.fixture(scope="session")
def fragile_server(
    tmp_path_factory: pytest.TempPathFactory, need: Callable[[object, str], None]
) -> Iterator[Settings]:
    """A server apart from the other tests', because it is killed again and again."""
    need(importlib.util.find_spec("secantus"), "the embedded server is not installed")
    settings = Settings(
        home=tmp_path_factory.mktemp("fragile"),
        mongo_uri=None,
        embedded_cache="128M",
        database_timeout=2.0,
    )
    yield settings
    EmbeddedServer(settings).down()


@pytest.fixture
def site(fragile_server: Settings, tmp_path: Path) -> Iterator[Site]:
    """Return an installation with an empty database, up and running."""
    settings = fragile_server.model_copy(
        update={"database": f"t_{uuid.uuid4().hex[:10]}", "run_dir": tmp_path / "runs"}
    )
    site = Site(settings)
    site.server.up()
    initialize(settings)
    yield site
    for worker in site.workers:
        worker.kill()
        worker.wait()
    site.server.up()
    client(settings).drop_database(settings.database)
    client(settings).drop_database(settings.launchpad_database)
