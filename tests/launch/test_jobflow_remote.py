"""A flow of NearEdge's under jobflow-remote, in its own environment, as its page describes it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.utils import canonicalize_name
from pymongo.database import Database

from nearedge.launch.fireworks import JOB_OUTPUTS
from nearedge.launch.remote import REMOTE_OUTPUTS
from nearedge.settings import Settings
from nearedge.store.connection import client

pytestmark = [pytest.mark.slow, pytest.mark.integration]

CHECKOUT = Path(__file__).resolve().parents[2]
ENVIRONMENT = CHECKOUT / ".venv-jobflow-remote"
STAMP = ENVIRONMENT / "linked.stamp"
MISSING = f"there is no {ENVIRONMENT.name}: `make jobflow-remote` builds it"
OURS = {"nearedge", "pip"}
PAGE = CHECKOUT / "docs/jobflow-remote.md"

SUBMIT = """
from jobflow_remote import submit_flow
from pymatgen.core import Lattice, Structure
from nearedge.workflows.spectrum import SpectrumFlowMaker

box = Lattice.orthorhombic(25, 25, 40)
sites = [[12.5, 12.5, 10 + z] for z in (0, 1.16, -1.16)]
molecule = Structure(box, ["C", "O", "O"], sites, coords_are_cartesian=True)
maker = SpectrumFlowMaker.for_code("feff", protocol="fast", project="remote")
submit_flow(maker.make(molecule, "C"), project="xas", worker="here")
"""


class Remote:
    """A project of jobflow-remote, and NearEdge in the environment beside it."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        self.folder = folder
        self.settings = settings
        (self.folder / "xas.yaml").write_text(yaml.safe_dump(self._project()))
        self._environment = os.environ | {
            "JFREMOTE_PROJECTS_FOLDER": str(folder),
            "PATH": f"{ENVIRONMENT / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "OMP_NUM_THREADS": "1",
        }

    def _project(self) -> dict[str, Any]:
        """Return the page's own project, with this machine's folders and a runner in a hurry."""
        (text,) = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)
        project: dict[str, Any] = yaml.safe_load(text)
        worker = project["workers"]["here"]
        worker["work_dir"] = str(self.folder / "work")
        written = "/scratch/me/nearedge/.venv-jobflow-remote"
        assert written in worker["pre_run"]
        worker["pre_run"] = worker["pre_run"].replace(written, str(ENVIRONMENT))
        delays = ("checkout", "check_run_status", "advance_status")
        return project | {"runner": {f"delay_{each}": 2 for each in delays}}

    def run(self, *command: str, check: bool = True) -> str:
        """Run a command of the environment and return what it prints."""
        program = ENVIRONMENT / "bin" / command[0]
        done = subprocess.run(
            [str(program), *command[1:]],
            env=self._environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    @property
    def queue(self) -> Database[dict[str, Any]]:
        """The database that its collections are in."""
        return client(self.settings)[self.settings.launchpad_database]

    def wait(self, seconds: float = 1200.0) -> dict[str, str]:
        """Wait until no job goes on any more, and return the state of each by its name."""
        deadline = time.monotonic() + seconds
        while True:
            states = {row["job"]["name"]: row["state"] for row in self.queue["jobs"].find({})}
            if set(states.values()) <= {"COMPLETED", "FAILED", "REMOTE_ERROR"}:
                return states
            assert time.monotonic() < deadline, states
            time.sleep(1.0)


@pytest.fixture
def remote(
    live_settings: Settings,
    need: Callable[[object, str], None],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Remote]:
    need(STAMP.exists(), MISSING)
    # The runner's daemon listens on a socket below it, whose path must be short.
    remote = Remote(tmp_path_factory.mktemp("jf"), live_settings)
    yield remote
    remote.run("jf", "runner", "kill", check=False)
    remote.run("jf", "runner", "shutdown", check=False)


def test_a_flow_runs_to_its_end_and_its_spectra_are_found(remote: Remote) -> None:
    remote.run("jf", "admin", "reset", "--yes")
    remote.run("python", "-c", SUBMIT)
    remote.run("jf", "runner", "start", "--single")
    states = remote.wait()
    assert states == {"FEFF CO2 C0 K": "COMPLETED", "average CO2 C K": "COMPLETED"}
    found = json.loads(remote.run("nearedge", "query", "--project", "remote", "--json"))
    assert {each["kind"] for each in found} == {"site", "average"}
    assert {each["formula"] for each in found} == {"CO2"}
    assert remote.queue[REMOTE_OUTPUTS].count_documents({}) == 2
    assert remote.queue[JOB_OUTPUTS].count_documents({}) == 0
    assert remote.queue["fireworks"].count_documents({}) == 0
    _holds_no_password(remote)


def _holds_no_password(remote: Remote) -> None:
    instance = json.loads((remote.settings.home / "database/instance").read_text())
    password = instance["password"]
    for name in ("jobs", "flows", "jf_auxiliary", "batches", REMOTE_OUTPUTS):
        assert password not in str(list(remote.queue[name].find({}))), name
    files = [path for path in remote.folder.rglob("*") if path.is_file()]
    assert any(path.name == "submit.sh" for path in files)
    for path in files:
        assert password.encode() not in path.read_bytes(), path


def test_all_of_its_environment_is_pinned(need: Callable[[object, str], None]) -> None:
    need(STAMP.exists(), MISSING)
    pins: dict[str, str] = {}
    for name in ("constraints.txt", "constraints-jobflow-remote.txt"):
        lines = (CHECKOUT / name).read_text().splitlines()
        pairs = (line.split("==") for line in lines if line and not line.startswith("#"))
        pins |= {canonicalize_name(package): version for package, version in pairs}
    command = [str(ENVIRONMENT / "bin/python"), "-m", "pip", "list", "--format", "json"]
    listed = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    installed = {canonicalize_name(each["name"]): each["version"] for each in listed}
    others = {name: installed[name].partition("+")[0] for name in installed.keys() - OURS}
    assert others == {name: pins.get(name) for name in others}
