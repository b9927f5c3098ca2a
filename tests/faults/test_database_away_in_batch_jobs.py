"""Bad luck on a cluster: the database is killed and stays away, while `nearedge queue` goes on.

A real Slurm, and one `nearedge queue --forever` from before the outage until everything is there:
nobody does anything by hand.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from nearedge.structures.source import LoadedStructure

if TYPE_CHECKING:
    from tests.faults.conftest import BatchQueue, Site

Molecule = Callable[[str], LoadedStructure]
Told = Callable[[str, float], None]

pytestmark = [pytest.mark.integration, pytest.mark.slow]

AWAY = [5, 60, 120]

_QUEUE = """
from nearedge.cli.app import app
app(["queue", "--forever", "--no-pilots", "--interval={interval}"])
"""
_SUBMIT = """
from nearedge.structures.sources import load_structures
from nearedge.workflows.campaign import submit
submit(load_structures([{path!r}]), absorber="C", project="p")
"""
_WAITS = """
import time
from pathlib import Path

def wait():
    here = Path({folder!r})
    try:
        (here / "reached").mkdir()
    except FileExistsError:  # it has happened already
        return
    while not (here / "killed").exists():
        time.sleep(0.05)

def wait_in(owner, name, when=lambda *_: True):
    method = getattr(owner, name)
    def waits(*arguments, **options):
        if when(*arguments):
            wait()
        return method(*arguments, **options)
    setattr(owner, name, waits)

"""
_EACH_WAITS = """
import os
import time
from pathlib import Path

here = Path({folder!r})
(here / f"begun-{{os.getpid()}}").touch()
while not (here / "killed").exists():
    time.sleep(0.05)
"""

_BETWEEN_TWO_INSERTIONS = """
from pymongo.collection import Collection
wait_in(Collection, "insert_many", when=lambda self, _: self.name == "fireworks")
"""
_WHILE_IT_TAKES_ITS_JOB = """
from nearedge.launch.fencing import FencedLaunchPad
wait_in(FencedLaunchPad, "_upsert_fws")
"""
_BEFORE_IT_STORES = """
from nearedge.makers import storing
wait_in(storing, "_store")
"""


class Outage:
    """An installation whose database is killed when a program has reached a certain point.

    Parameters
    ----------
    folder
        By which that program and the test tell each other.
    """

    def __init__(self, site: Site, batch: BatchQueue, folder: Path) -> None:
        self.site, self.batch, self._folder = site, batch, folder
        folder.mkdir()

    def waiting(self, where: str) -> str:
        """Return a program that waits to see the database killed in its first call of `where`."""
        return _WAITS.format(folder=str(self._folder)) + where

    def each_waits(self) -> str:
        """Return a program that waits in every process to see the database killed."""
        return _EACH_WAITS.format(folder=str(self._folder))

    def queue(self, fault: str, interval: int = 2) -> subprocess.Popen[bytes]:
        """Start `nearedge queue --forever`, whose batch jobs run `fault` first."""
        program = _QUEUE.format(interval=interval)
        return self.site.start(program, self.batch.settings(fault), output=self._said)

    @property
    def said(self) -> str:
        """What that `nearedge queue` has said so far."""
        return " ".join(self._said.read_text().split())

    @property
    def _said(self) -> Path:
        return self._folder / "queue.out"

    @property
    def begun(self) -> int:
        """How many processes wait, of `each_waits`."""
        return len(list(self._folder.glob("begun-*")))

    def begin(self) -> None:
        """Kill the database as soon as the program is there, and let that go on."""
        self.site.until((self._folder / "reached").is_dir, seconds=240)
        self.kill()

    def kill(self) -> None:
        """Kill the database, and let the programs that wait for it go on."""
        self.site.kill_server()
        (self._folder / "killed").touch()

    def end(self, seconds: float) -> float:
        """Have the database back after it was away for so long; return when that was."""
        time.sleep(seconds)
        self.site.server.up()
        return time.monotonic()

    def whole(self, sites: int = 1) -> float:
        """Wait until everything is there once, and return when it was."""
        ended = {"COMPLETED": 2 * sites}  # each with its average
        self.site.until(lambda: self.site.status().queue == ended, seconds=420)
        when = time.monotonic()
        self.site.until(lambda: self.batch.slurm.ask("squeue", "--noheader") == "")
        self.site.check_complete(sites, sites)
        self.site.check_nothing_over()
        return when


@pytest.fixture
def outage(site: Site, batch: BatchQueue, tmp_path: Path) -> Iterator[Outage]:
    yield Outage(site, batch, tmp_path / "outage")
    for each in site.workers:  # before Slurm is asked to cancel what is left
        each.kill()
        each.wait()


@pytest.mark.parametrize("seconds", AWAY)
def test_away_at_submit_the_command_fails_and_a_second_one_queues_it_once(
    outage: Outage, site: Site, molecule: Molecule, tmp_path: Path, seconds: int
) -> None:
    loaded = molecule("CO")
    path = tmp_path / "CO.json"
    loaded.structure.to_file(str(path))
    queue = outage.queue("")
    submitter = site.start(outage.waiting(_BETWEEN_TWO_INSERTIONS) + _SUBMIT.format(path=str(path)))
    outage.begin()
    assert submitter.wait(60) == 1
    outage.end(seconds)
    assert site.submit(loaded, "C").new == 1
    assert site.submit(loaded, "C").queued == 1
    outage.whole()
    assert queue.poll() is None


@pytest.mark.parametrize("seconds", AWAY)
@pytest.mark.parametrize(
    "where",
    [
        pytest.param(_WHILE_IT_TAKES_ITS_JOB, id="at run"),
        pytest.param(_BEFORE_IT_STORES, id="at store"),
    ],
)
def test_away_while_a_batch_job_runs_it_waits_and_everything_is_there_once(
    outage: Outage, site: Site, molecule: Molecule, where: str, seconds: int,
    told: Told, request: pytest.FixtureRequest,
) -> None:  # fmt: skip
    site.submit(molecule("CO"), "C")
    queue = outage.queue(outage.waiting(where))
    outage.begin()
    back = outage.end(seconds)
    told(f"away, {request.node.callspec.id}", outage.whole() - back)
    assert queue.poll() is None
    (job,) = site.pad.fireworks.find({"spec.nearedge.kind": "site"})
    workers = {row["fworker"]["name"] for row in site.pad.launches.find({"fw_id": job["fw_id"]})}
    assert len(workers) == 1, "no second batch job had to begin it again"


@pytest.mark.parametrize(
    ("interval", "seen"),
    [pytest.param(2, True, id="seen by the queue"), pytest.param(150, False, id="not seen")],
)
def test_batch_jobs_that_begin_while_it_is_away_fail_and_others_take_their_place(
    outage: Outage, site: Site, batch: BatchQueue, molecule: Molecule, told: Told,
    interval: int, seen: bool,
) -> None:  # fmt: skip
    for name in ("CO", "OCO", "CN"):
        site.submit(molecule(name), "C")
    queue = outage.queue(outage.each_waits(), interval)
    # The third begins as soon as one of two has ended, where there are two cores.
    side_by_side = min(3, len(os.sched_getaffinity(0)))
    site.until(lambda: outage.begun >= side_by_side and len(batch.states()) == 3, seconds=240)
    outage.kill()
    site.until(lambda: batch.states() == ["FAILED"] * 3, seconds=240)
    back = outage.end(1)
    assert ("Trying again" in outage.said) == seen
    told(f"away while three batch jobs began, {seen=}", outage.whole(3) - back)
    assert "No more jobs" not in outage.said
    assert queue.poll() is None
