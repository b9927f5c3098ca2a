"""Settings of batch jobs hold passwords: they stay as long as a job in the queue needs them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from pydantic import SecretStr

from nearedge.launch.batch import kept_settings
from nearedge.launch.batch.adapter import BatchAdapter
from nearedge.launch.batch.kept_settings import RECENT_SECONDS, discard_settings, keep_settings
from nearedge.launch.batch.script import Task, job_of, new_job_folder, submit_script
from nearedge.launch.scheduler import JobState
from nearedge.settings import Settings

Submit = Callable[[str], Path]


@pytest.fixture
def now(settings: Settings) -> Settings:
    """Return the settings that the queue has by now."""
    return settings.model_copy(update={"mongo_uri": SecretStr("mongodb://me:new@db.example/")})


@pytest.fixture
def submit(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Submit:
    """Return how a job with the old settings is submitted, an hour ago, which names their file."""
    monkeypatch.setattr(kept_settings, "cluster_of", lambda _: "ours")

    def act(number: str) -> Path:
        monkeypatch.setattr(BatchAdapter, "submit_to_queue", lambda *_: number)
        job = job_of(
            Task("vasp", 1, None, "x"), "slurm", settings.batch.resources("vasp"), settings
        )
        submit_script(job, "slurm", new_job_folder(settings))
        path = keep_settings(settings)
        ago(path, 3600)
        return path

    return act


def ago(path: Path, seconds: float) -> None:
    os.utime(path, (time.time() - seconds,) * 2)


def says(monkeypatch: pytest.MonkeyPatch, **states: JobState) -> None:
    """Have the scheduler say how its jobs stand, by number."""
    known = {f"slurm:{number[1:]}": state for number, state in states.items()}
    monkeypatch.setattr(
        kept_settings,
        "states_of",
        lambda ids: {each: known.get(each, JobState.UNKNOWN) for each in ids},
    )


@pytest.mark.parametrize(
    ("state", "goes"),
    [
        (JobState.PENDING, False),
        (JobState.RUNNING, False),
        (JobState.UNKNOWN, False),
        (JobState.CANCELLED, True),
        (JobState.COMPLETED, True),
        (JobState.FORGOTTEN, True),
    ],
)
def test_settings_go_when_the_last_job_is_over_that_was_submitted_with_them(
    now: Settings, submit: Submit, monkeypatch: pytest.MonkeyPatch, state: JobState, goes: bool
) -> None:
    submit("7")
    path = submit("8")
    says(monkeypatch, n7=JobState.COMPLETED, n8=state)
    assert discard_settings(now, "slurm") == ([path] if goes else [])
    assert path.exists() != goes
    assert keep_settings(now).exists()


def test_settings_of_a_job_that_another_cluster_or_scheduler_may_have_stay(
    now: Settings, submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = submit("7")
    says(monkeypatch, n7=JobState.COMPLETED)
    assert discard_settings(now, "pbs") == []
    monkeypatch.setattr(kept_settings, "cluster_of", lambda _: "theirs")
    assert discard_settings(now, "slurm") == []
    monkeypatch.setattr(kept_settings, "cluster_of", lambda _: "ours")
    assert discard_settings(now, "slurm") == [path]


def test_settings_of_a_job_whose_submitter_was_killed_stay_with_its_folder(
    now: Settings, submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = submit("7")
    says(monkeypatch, n7=JobState.COMPLETED)
    (folder,) = (path.parent / "jobs").iterdir()
    (folder / "number").unlink()
    assert discard_settings(now, "slurm") == []
    (folder / "submit.sh").unlink()
    assert discard_settings(now, "slurm") == [path]


def test_settings_that_another_queue_submits_a_job_with_just_now_stay(
    settings: Settings, now: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    says(monkeypatch)
    path = keep_settings(settings)
    assert discard_settings(now, "slurm") == [], "its script may not be there yet"
    ago(path, 2 * RECENT_SECONDS)
    rename = Path.rename

    def meanwhile(self: Path, target: Path) -> Path:
        if self == path:
            keep_settings(settings)  # another queue is faster
        return rename(self, target)

    with monkeypatch.context() as racing:
        racing.setattr(Path, "rename", meanwhile)
        assert discard_settings(now, "slurm") == []
    assert path.stat().st_mode & 0o777 == 0o600
    ago(path, 2 * RECENT_SECONDS)
    assert discard_settings(now, "slurm") == [path]
    assert keep_settings(settings).exists(), "it is written anew for the next job"
    assert [each.name for each in path.parent.glob("settings-*.going")] == []


def test_a_batch_job_that_is_over_is_asked_about_once_and_others_not_at_all(
    now: Settings, submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit("7")
    submit("8")
    with monkeypatch.context() as of_today:
        of_today.setattr(BatchAdapter, "submit_to_queue", lambda *_: "9")
        job = job_of(Task("vasp", 1, None, "x"), "slurm", now.batch.resources("vasp"), now)
        submit_script(job, "slurm", new_job_folder(now))
    states = {"slurm:7": JobState.COMPLETED, "slurm:8": JobState.PENDING}
    asked: list[str] = []

    def ask(ids: Iterable[str]) -> dict[str, JobState]:
        found = {each: states[each] for each in ids}
        asked.extend(found)
        return found

    monkeypatch.setattr(kept_settings, "states_of", ask)
    assert discard_settings(now, "slurm") == []
    assert sorted(asked) == ["slurm:7", "slurm:8"]
    assert discard_settings(now, "slurm") == []
    assert asked[2:] == ["slurm:8"]
