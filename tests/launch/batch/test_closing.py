"""The walltime nears its end: what still runs is ended in order, and begun again where it fits."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator

import jobflow
import pytest
from fireworks import Firework, Workflow
from fireworks.core.launchpad import LaunchPad

from nearedge.launch import worker as worker_module
from nearedge.launch.failures import last_error, machine_fault
from nearedge.launch.fireworks import ensure_launchpad_indexes, launchpad
from nearedge.launch.token import note_progress
from nearedge.launch.window import Window, end_when_closed
from nearedge.launch.worker import Worker
from nearedge.settings import Settings

pytestmark = pytest.mark.integration


@pytest.fixture
def pad(live_settings: Settings) -> LaunchPad:
    pad = launchpad(live_settings)
    ensure_launchpad_indexes(pad)
    return pad


@pytest.fixture
def sleeper(pad: LaunchPad, idle: Callable[..., Firework]) -> int:
    """Add a job that takes a minute, and return its number."""
    firework = idle()
    firework.tasks[0]["job"].function = time.sleep
    firework.tasks[0]["job"].function_args = (60,)
    pad.add_wf(Workflow([firework]))
    return int(firework.fw_id)


@pytest.fixture
def work(live_settings: Settings) -> Iterator[Callable[[Window], Worker]]:
    """Work until a window closes, as a batch job does."""
    store, handler = jobflow.SETTINGS.JOB_STORE, signal.getsignal(signal.SIGTERM)

    def run(window: Window) -> Worker:
        worker = Worker(live_settings, window=window)
        signal.signal(signal.SIGTERM, worker.stop)
        end_when_closed(window)
        worker.work()
        return worker

    yield run
    signal.signal(signal.SIGTERM, handler)
    jobflow.SETTINGS.JOB_STORE = store


def test_a_run_that_was_begun_late_is_put_back_and_waits_for_enough_time(
    pad: LaunchPad,
    sleeper: int,
    work: Callable[[Window], Worker],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(worker_module, "LIGHT_SECONDS", 0.0)
    now = time.monotonic()
    worker = work(Window(now - 100, now + 4, expected=0.1))
    assert (worker.summary.put_back, worker.summary.failed) == (1, 0)
    firework = pad.get_fw_dict_by_id(sleeper)
    assert firework["state"] == "READY"
    had = firework["spec"]["nearedge"]["at_least_seconds"]
    assert 0 < had < 10
    worker.window = Window(now, time.monotonic() + 0.9 * had, expected=0.1)
    assert not pad.run_exists(worker._fworker())
    worker.window = Window(now, time.monotonic() + had + 5, expected=0.1)
    assert pad.run_exists(worker._fworker())


def test_an_average_is_still_taken_when_there_is_no_time_for_a_run(
    pad: LaunchPad, sleeper: int, live_settings: Settings, idle: Callable[..., Firework],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    average = idle(nearedge={"kind": "average"})
    pad.add_wf(Workflow([average]))
    monkeypatch.setattr(jobflow.SETTINGS, "JOB_STORE", jobflow.SETTINGS.JOB_STORE)
    now = time.monotonic()
    done = Worker(live_settings, window=Window(now, now + 60, expected=300)).work()
    assert done.completed == 1
    assert pad.get_fw_dict_by_id(average.fw_id)["state"] == "COMPLETED"
    assert pad.get_fw_dict_by_id(sleeper)["launches"] == []


def test_a_run_that_had_all_the_time_is_a_failure_that_says_what_to_change(
    pad: LaunchPad,
    sleeper: int,
    work: Callable[[Window], Worker],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(worker_module, "LIGHT_SECONDS", 0.0)
    now = time.monotonic()
    worker = work(Window(now + 3.5, now + 4, expected=0.1))
    assert (worker.summary.put_back, worker.summary.fizzled) == (0, [sleeper])
    launch = pad.launches.find_one({"fw_id": sleeper})
    assert last_error(launch).startswith("nearedge.launch.worker.WalltimeExceeded: It had")
    assert "walltime in the section `queue`" in last_error(launch)
    assert not machine_fault(launch), "or it would be begun again, for as long, for ever"


def test_a_run_that_had_all_the_time_and_stored_something_goes_on_in_the_next_batch_job(
    pad: LaunchPad, sleeper: int, live_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a pack does: what it stored it need not compute again, so that it ends some day."""
    monkeypatch.setattr(jobflow.SETTINGS, "JOB_STORE", jobflow.SETTINGS.JOB_STORE)
    now = time.monotonic()
    worker = Worker(live_settings, window=Window(now, now + 60, expected=0.1))
    sleep = time.sleep

    def meet_the_end(seconds: float) -> None:
        if seconds != 60:
            return sleep(seconds)
        note_progress(pad.db)
        worker.window = Window(now, now, expected=0.1)
        worker.stop()

    monkeypatch.setattr(time, "sleep", meet_the_end)
    worker.work()
    assert worker.too_long
    assert (worker.summary.put_back, worker.summary.fizzled) == (1, [])
    firework = pad.get_fw_dict_by_id(sleeper)
    assert firework["state"] == "READY"
    assert "at_least_seconds" not in firework["spec"].get("nearedge", {})


def test_nothing_is_begun_without_the_time_it_is_expected_to_take(
    pad: LaunchPad, sleeper: int, live_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobflow.SETTINGS, "JOB_STORE", jobflow.SETTINGS.JOB_STORE)
    now = time.monotonic()
    Worker(live_settings, window=Window(now, now + 2, expected=30)).work()
    assert pad.get_fw_dict_by_id(sleeper)["launches"] == []
