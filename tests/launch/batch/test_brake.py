"""A class whose batch jobs cannot begin is stopped, and nothing else is."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from nearedge.cli import batch_job, queueing
from nearedge.errors import DatabaseUnavailable
from nearedge.launch.batch import brake as brake_module
from nearedge.launch.batch.brake import LIMIT, LOOKS, Brake
from nearedge.launch.batch.filling import Pass, Wanted
from nearedge.launch.batch.reservation import BatchJob
from nearedge.launch.batch.script import STARTED, UNREACHED
from nearedge.launch.scheduler import JobState
from nearedge.settings import Settings


class Jobs:
    """Batch jobs of the class vasp that a brake watches, each with its folder and state."""

    def __init__(self, brake: Brake, folder: Path) -> None:
        self.brake = brake
        self.states: dict[str, JobState] = {}
        self._folder = folder

    def add(self, state: JobState, *files: str) -> str:
        """Submit a job that ends, or stands, like this and leaves these files."""
        number = f"slurm:{len(self.states)}"
        folder = self._folder / number
        folder.mkdir()
        (folder / "x.error").write_text("loading\nVASP cannot run here\n\n")
        for name in files:
            (folder / name).touch()
        self.states[number] = state
        self.brake.watch([BatchJob(number, "vasp", folder, "")])
        return number


@pytest.fixture
def jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Jobs:
    jobs = Jobs(Brake(), tmp_path)
    monkeypatch.setattr(
        brake_module, "states_of", lambda ids: {each: jobs.states[each] for each in ids}
    )
    return jobs


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Let seconds pass on the clock of the brake."""
    past = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: past[0])

    def wait(seconds: float) -> None:
        past[0] += seconds

    return wait


def test_a_class_whose_jobs_cannot_begin_is_stopped(jobs: Jobs) -> None:
    for _ in range(LIMIT):
        number = jobs.add(JobState.RUNNING)
        jobs.brake.look()
        assert jobs.brake.stopped == {}
        jobs.states[number] = JobState.FAILED
        jobs.brake.look()
    assert "3 batch jobs ended before they could work: VASP cannot" in jobs.brake.stopped["vasp"]
    assert jobs.brake.paused == {"vasp"}
    jobs.add(JobState.FAILED, STARTED)
    jobs.brake.look()
    assert jobs.brake.stopped == {}


def test_jobs_that_met_an_outage_between_two_looks_stop_no_class(jobs: Jobs) -> None:
    for _ in range(2 * LIMIT):
        jobs.add(JobState.FAILED, UNREACHED)
    jobs.brake.look()
    assert jobs.brake.stopped == {}
    assert jobs.brake.paused == frozenset(), "the database is there again: they are replaced"


def test_jobs_that_never_reach_the_database_are_tried_ever_more_seldom_and_stopped_in_the_end(
    jobs: Jobs, later: Callable[[float], None]
) -> None:
    waited = 0
    for _ in range(LOOKS):
        assert jobs.brake.stopped == {}
        while jobs.brake.paused:
            waited += 60
            later(60.0)
        jobs.add(JobState.FAILED, UNREACHED)
        jobs.brake.look()
    assert waited > 3 * 3600, "the outage of a morning stops nothing"
    assert "for 10 looks in a row no batch job reached" in jobs.brake.stopped["vasp"]
    later(1e6)
    assert jobs.brake.paused == {"vasp"}


def test_a_job_that_reaches_the_database_ends_the_pause(jobs: Jobs) -> None:
    for _ in range(2):
        jobs.add(JobState.FAILED, UNREACHED)
        jobs.brake.look()
    assert jobs.brake.paused == {"vasp"}
    jobs.add(JobState.RUNNING, STARTED)
    jobs.brake.look()
    assert jobs.brake.paused == frozenset()


def test_an_outage_that_the_queue_met_as_well_is_held_against_nobody(jobs: Jobs) -> None:
    for number in range(LIMIT + 1):
        jobs.add(JobState.FAILED)
        if number < LIMIT:
            jobs.brake.look()
    assert "vasp" in jobs.brake.stopped
    jobs.brake.forgive()
    jobs.brake.look()
    assert jobs.brake.paused == frozenset()


def test_a_class_that_was_forgiven_and_stops_again_is_told_again(
    jobs: Jobs, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    looks = itertools.count()

    def look(*_: object) -> Pass:
        number = next(looks)
        if number == 3:
            raise DatabaseUnavailable("It is away.")
        if number == 7:
            raise KeyboardInterrupt
        for _ in range(LIMIT):
            jobs.add(JobState.FAILED)
        return Pass()

    monkeypatch.setattr(queueing, "_look", look)
    monkeypatch.setattr(time, "sleep", lambda _: None)
    with pytest.raises(KeyboardInterrupt):
        queueing._again_and_again(
            "slurm", Settings(mongo_uri=None), Wanted(1), jobs.brake, 1.0, as_json=True
        )
    assert " ".join(capsys.readouterr().err.split()).count("No more jobs for vasp") == 2


@pytest.mark.parametrize("away", [True, False])
def test_a_batch_job_without_a_database_says_so_in_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, away: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NEAREDGE_MONGO_URI", "mongodb://127.0.0.1:9/")
    monkeypatch.setenv("NEAREDGE_DATABASE_TIMEOUT", "0.1")
    settings = Settings()
    monkeypatch.setattr(batch_job, "get_settings", lambda: settings)
    monkeypatch.setattr("nearedge.codes.execution.executables.get_settings", lambda: settings)
    options = ["pilot", "python" if away else "vasp", "--walltime=900", "--margin=60"]
    assert batch_job.main([*options, "--expected=60"]) == 1
    assert (tmp_path / UNREACHED).exists() == away
    assert not (tmp_path / STARTED).exists()


def test_a_job_whose_scheduler_says_later_how_it_ended_is_counted_then(jobs: Jobs) -> None:
    numbers = [jobs.add(JobState.ENDED) for _ in range(LIMIT)]
    jobs.brake.look()
    assert jobs.brake.stopped == {}
    jobs.states |= dict.fromkeys(numbers, JobState.FAILED)
    jobs.brake.look()
    assert set(jobs.brake.stopped) == {"vasp"}
    number = jobs.add(JobState.ENDED)
    jobs.states[number] = JobState.FORGOTTEN
    jobs.brake.look()
    assert jobs.brake.watched == {}
