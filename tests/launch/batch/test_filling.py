"""A pass submits what there is room for: pilots for what is packed, one job for each other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from fireworks import Firework, Workflow
from fireworks.core.fworker import FWorker
from fireworks.core.launchpad import LaunchPad
from pymongo.errors import AutoReconnect, ServerSelectionTimeoutError

from nearedge.cli.queueing import _tell
from nearedge.errors import DatabaseUnavailable, LaunchError
from nearedge.launch import heartbeat
from nearedge.launch.batch import adapter, filling, pilots, reservation
from nearedge.launch.batch.adapter import BatchAdapter
from nearedge.launch.batch.brake import LIMIT, Brake
from nearedge.launch.batch.classes import class_of, none_of, of_classes, ready
from nearedge.launch.batch.filling import Wanted, fill, refuse_unknown_classes, refuse_unreachable
from nearedge.launch.batch.pilots import PILOTS, pilots_alive, run_pilot
from nearedge.launch.batch.reservation import BatchJob, may_run, settle_half_made
from nearedge.launch.batch.script import STARTED
from nearedge.launch.identity import WorkerIdentity
from nearedge.launch.pool import PoolSummary
from nearedge.launch.scheduler import JobState
from nearedge.launch.window import Window
from nearedge.queue_settings import QueueSettings
from nearedge.settings import Settings

Idle = Callable[..., Firework]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    queue = QueueSettings.model_validate({"codes": {"feff": {"expected": 600}}})
    return Settings(home=tmp_path, mongo_uri=None, queue=queue)


@pytest.fixture
def submitted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the scripts that were submitted; the scheduler has nothing else in its queue."""
    scripts: list[str] = []

    def take(self: BatchAdapter, script_file: str) -> str:
        scripts.append(Path(script_file).read_text())
        return str(100 + len(scripts))

    monkeypatch.setattr(BatchAdapter, "submit_to_queue", take)
    monkeypatch.setattr(filling, "jobs_in_queue", lambda *_: 0)
    alive = lambda ids: dict.fromkeys(ids, JobState.PENDING)  # noqa: E731
    monkeypatch.setattr(pilots, "states_of", alive)
    return scripts


def raises(error: Exception) -> Callable[..., None]:
    """Return a function that raises `error`, whatever it is called with."""

    def act(*_: object, **__: object) -> None:
        raise error

    return act


@pytest.fixture
def add(pad: LaunchPad, idle: Idle) -> Callable[..., int]:
    """Add a Firework that says this of itself and return its number."""

    def make(*, priority: int = 0, **about: object) -> int:
        firework = idle(nearedge=about, _priority=priority)
        pad.add_wf(Workflow([firework]))
        return int(firework.fw_id)

    return make


def test_the_class_of_work_is_the_code_or_what_rides_along(
    pad: LaunchPad, add: Callable[..., int]
) -> None:
    for about in (
        {"kind": "site", "code": "feff", "project": "a"},
        {"kind": "site", "code": "vasp", "project": "b"},
        {"kind": "average", "project": "a"},
        {"kind": "converge"},
        {"kind": "train"},
        {},
    ):
        add(**about)
    assert ready(pad) == {"feff": 1, "vasp": 1, "light": 2, "python": 2}
    assert ready(pad, "a") == {"feff": 1, "light": 1}
    for name, count in {"feff": 1, "light": 2, "python": 2}.items():
        found = list(pad.fireworks.find(of_classes([name]), {"spec": 1}))
        assert len(found) == count
        assert {class_of(each["spec"]) for each in found} == {name}
    assert pad.fireworks.count_documents(of_classes(["feff", "light"], "a")) == 2
    assert pad.fireworks.count_documents(none_of(["vasp"])) == 5


def test_a_pilot_is_submitted_for_as_many_runs_as_it_gets_done(
    pad: LaunchPad, add: Callable[..., int], settings: Settings, submitted: list[str]
) -> None:
    for _ in range(11):  # one pilot does 2 x 5 in its 58 minutes of work
        add(kind="site", code="feff")
    done = fill(pad, "slurm", settings, Wanted(max_jobs=5))
    assert [job.batch_id for job in done.submitted] == ["slurm:101", "slurm:102"]
    assert "pilot feff" in submitted[0]
    row = pad.db[PILOTS].find_one({"_id": "slurm:101"})
    assert (row["state"], row["codes"], row["cores"]) == ("submitted", ["feff"], 2)
    assert fill(pad, "slurm", settings, Wanted(max_jobs=5)).submitted == [], "they wait already"


def test_a_pack_needs_as_many_pilots_as_its_sites_and_none_if_it_is_too_long(
    pad: LaunchPad, add: Callable[..., int], settings: Settings, submitted: list[str]
) -> None:
    pack = {"kind": "pack", "code": "feff"}
    add(**pack, calculation_id=[f"{each}" for each in range(15)], at_least_seconds=7000.0)
    done = fill(pad, "slurm", settings, Wanted(max_jobs=5))
    assert (done.submitted, done.too_long) == ([], {"feff": 15})
    add(**pack, calculation_id=[f"{each}" for each in range(10)])
    add(**pack, calculation_id=[])
    assert ready(pad) == {"feff": 26}
    assert len(fill(pad, "slurm", settings, Wanted(max_jobs=5)).submitted) == 2, "10 runs each"


def test_no_pilot_is_submitted_for_a_run_that_it_would_not_begin_and_that_is_said(
    pad: LaunchPad,
    add: Callable[..., int],
    settings: Settings,
    submitted: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    add(kind="site", code="feff", at_least_seconds=7000.0)
    done = fill(pad, "slurm", settings, Wanted(max_jobs=5))
    assert (done.submitted, done.too_long) == ([], {"feff": 1})
    _tell(done, Wanted(max_jobs=5), as_json=False)
    assert "raise queue.codes.feff.walltime" in " ".join(capsys.readouterr().err.split())
    add(kind="site", code="feff", at_least_seconds=100.0)
    assert len(fill(pad, "slurm", settings, Wanted(max_jobs=5)).submitted) == 1
    one_by_one = fill(pad, "slurm", settings, Wanted(max_jobs=5, pack=False))
    assert len(one_by_one.submitted) == 2, "each of them fizzles where its time is too short"


def test_a_pilot_that_has_ended_is_replaced_while_work_is_left(
    pad: LaunchPad,
    add: Callable[..., int],
    settings: Settings,
    submitted: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    add(kind="site", code="feff")
    fill(pad, "slurm", settings, Wanted(max_jobs=5))
    for state, replaced in ((JobState.UNKNOWN, 0), (JobState.RUNNING, 0), (JobState.TIMEOUT, 1)):
        monkeypatch.setattr(pilots, "states_of", lambda ids, s=state: dict.fromkeys(ids, s))
        done = fill(pad, "slurm", settings, Wanted(max_jobs=5))
        assert len(done.submitted) == replaced, state
    assert pad.db[PILOTS].find_one({"_id": "slurm:101"})["outcome"] == "timeout"
    assert pilots_alive(pad, "slurm", "another") == {}


def test_a_pilot_whose_submitter_died_before_it_was_entered_counts_for_its_project(
    pad: LaunchPad, settings: Settings, submitted: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pilots, "launchpad", lambda _: pad)
    monkeypatch.setattr(pilots, "batch_job", lambda: "slurm:7")
    alive: dict[str, int] = {}

    def look(*_: object, **__: object) -> PoolSummary:
        alive.update(pilots_alive(pad, "slurm", "a"))
        return PoolSummary()

    monkeypatch.setattr(pilots, "run_workers", look)
    run_pilot(settings, "feff", "a", 2, Window(0.0, 1.0, 1.0))
    assert alive == {"feff": 1}


def test_long_runs_are_reserved_one_by_one_by_priority_up_to_the_most(
    pad: LaunchPad, add: Callable[..., int], settings: Settings, submitted: list[str]
) -> None:
    low, high, other = (add(kind="site", code="vasp", priority=n) for n in (0, 5, 1))
    done = fill(pad, "slurm", settings, Wanted(max_jobs=2))
    assert [job.fw_id for job in done.submitted] == [high, other]
    assert f"--fw-id {high}" in submitted[0]
    assert pad.get_reservation_id_from_fw_id(high) == "101"
    assert pad.get_fw_dict_by_id(high)["state"] == "RESERVED"
    assert pad.get_fw_dict_by_id(low)["state"] == "READY"


def test_only_the_chosen_project_and_code_are_submitted(
    pad: LaunchPad, add: Callable[..., int], settings: Settings, submitted: list[str]
) -> None:
    add(kind="site", code="vasp", project="a")
    mine = add(kind="site", code="vasp", project="b")
    add(kind="site", code="feff", project="b")
    wanted = Wanted(max_jobs=9, project="b", classes=("vasp",))
    assert [job.fw_id for job in fill(pad, "slurm", settings, wanted).submitted] == [mine]


def test_packing_is_chosen_for_all(
    pad: LaunchPad, add: Callable[..., int], settings: Settings, submitted: list[str]
) -> None:
    add(kind="site", code="vasp")
    add(kind="site", code="feff")
    done = fill(pad, "slurm", settings, Wanted(max_jobs=9, pack=True))
    assert [job.fw_id for job in done.submitted] == [None, None]
    pad.db[PILOTS].delete_many({})
    done = fill(pad, "slurm", settings, Wanted(max_jobs=9, pack=False))
    assert None not in [job.fw_id for job in done.submitted]


def test_light_work_alone_gets_a_pilot_and_else_rides_along(
    pad: LaunchPad, add: Callable[..., int], settings: Settings, submitted: list[str]
) -> None:
    add(kind="average")
    site = add(kind="site", code="vasp")
    assert [j.job_class for j in fill(pad, "slurm", settings, Wanted(9)).submitted] == ["vasp"]
    pad.fireworks.update_one({"fw_id": site}, {"$set": {"state": "COMPLETED"}})
    assert [j.job_class for j in fill(pad, "slurm", settings, Wanted(9)).submitted] == ["light"]


def test_a_refused_job_gives_its_firework_back_and_the_others_go_on(
    pad: LaunchPad,
    add: Callable[..., int],
    settings: Settings,
    submitted: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = add(kind="site", code="vasp", priority=1)
    second = add(kind="site", code="elk")
    take = BatchAdapter.submit_to_queue

    def refuse_vasp(self: BatchAdapter, script_file: str) -> str:
        if "one vasp" in Path(script_file).read_text():
            raise LaunchError("sbatch refused a job: invalid account")
        return take(self, script_file)

    monkeypatch.setattr(BatchAdapter, "submit_to_queue", refuse_vasp)
    done = fill(pad, "slurm", settings, Wanted(9))
    assert [job.fw_id for job in done.submitted] == [second]
    assert done.refused == {"vasp": "sbatch refused a job: invalid account"}
    assert pad.get_fw_dict_by_id(first)["state"] == "READY"


def test_nothing_is_submitted_where_the_scheduler_does_not_count_its_jobs(
    pad: LaunchPad,
    add: Callable[..., int],
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(BatchAdapter, "get_njobs_in_queue", lambda self: None)
    with pytest.raises(LaunchError, match="does not say how many jobs"):
        fill(pad, "slurm", settings, Wanted(9))
    with pytest.raises(LaunchError, match="name it in the settings"):
        adapter.jobs_in_queue("pbs", QueueSettings())


@pytest.mark.parametrize("found", [None, "101"])
def test_a_reservation_that_this_process_left_when_the_database_went_away_is_brought_to_an_end(
    pad: LaunchPad,
    add: Callable[..., int],
    settings: Settings,
    submitted: list[str],
    monkeypatch: pytest.MonkeyPatch,
    found: str | None,
) -> None:
    number = add(kind="site", code="vasp")
    with monkeypatch.context() as away:
        away.setattr(reservation, "_note", raises(ServerSelectionTimeoutError("away")))
        with pytest.raises(DatabaseUnavailable):
            fill(pad, "slurm", settings, Wanted(1))
    (launch,) = pad.launches.find({"fw_id": number})
    folders = {} if found is None else {launch["launch_dir"]: found}
    monkeypatch.setattr(reservation, "_numbers_by_folder", lambda: folders)
    assert settle_half_made(pad, "slurm") == 1
    assert pad.get_reservation_id_from_fw_id(number) == found
    assert pad.get_fw_dict_by_id(number)["state"] == ("READY" if found is None else "RESERVED")


@pytest.mark.parametrize("code", ["vasp", "feff"])
def test_a_dead_connection_after_a_submission_does_not_submit_a_second_job(
    pad: LaunchPad,
    add: Callable[..., int],
    settings: Settings,
    submitted: list[str],
    monkeypatch: pytest.MonkeyPatch,
    code: str,
) -> None:
    add(kind="site", code=code)
    add(kind="site", code=code)
    dead = raises(AutoReconnect("closed"))
    monkeypatch.setattr(reservation, "_note", dead)
    monkeypatch.setattr(pilots, "BatchJob", dead)
    with pytest.raises(DatabaseUnavailable):
        fill(pad, "slurm", settings, Wanted(9))
    assert len(submitted) == 1


@pytest.mark.parametrize(("dead", "found"), [(True, None), (True, "77"), (False, None)])
def test_a_reservation_that_a_killed_submitter_left_is_brought_to_an_end(
    pad: LaunchPad,
    add: Callable[..., int],
    settings: Settings,
    submitted: list[str],
    monkeypatch: pytest.MonkeyPatch,
    dead: bool,
    found: str | None,
) -> None:
    number = add(kind="site", code="vasp")
    monkeypatch.setattr("nearedge.launch.batch.reservation._note", lambda *_: None)
    own = WorkerIdentity.of_this_process()
    another = replace(own, pid=own.pid + 1)
    monkeypatch.setattr(WorkerIdentity, "of_this_process", lambda: another)
    (job,) = fill(pad, "slurm", settings, Wanted(1)).submitted
    monkeypatch.undo()
    folders = {} if found is None else {str(job.folder): found}
    monkeypatch.setattr("nearedge.launch.batch.reservation._numbers_by_folder", lambda: folders)
    monkeypatch.setattr(WorkerIdentity, "alive", lambda self: not dead)
    assert settle_half_made(pad, "slurm") == int(dead)
    state = "READY" if dead and found is None else "RESERVED"
    assert pad.get_fw_dict_by_id(number)["state"] == state
    assert pad.get_reservation_id_from_fw_id(number) == found


@pytest.mark.parametrize("found", [None, "77"])
@pytest.mark.parametrize("gone", [True, False])
def test_two_queues_may_settle_the_same_reservation(
    pad: LaunchPad,
    add: Callable[..., int],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    found: str | None,
    gone: bool,
) -> None:
    number = add(kind="site", code="vasp")
    own = WorkerIdentity.of_this_process()
    pad.reserve_fw(FWorker(name=replace(own, pid=2**22 + 1).name), str(tmp_path))
    folders = {} if found is None else {str(tmp_path): found}

    def meanwhile() -> dict[str, str]:
        monkeypatch.setattr(reservation, "_numbers_by_folder", lambda: folders)
        settle_half_made(pad, "slurm")
        if gone:
            pad.launches.delete_many({})
        return folders

    monkeypatch.setattr(reservation, "_numbers_by_folder", meanwhile)
    settle_half_made(pad, "slurm")
    state = pad.fireworks.find_one({"fw_id": number})["state"]
    assert state == ("READY" if found is None else "RESERVED")
    if not gone:
        assert pad.get_reservation_id_from_fw_id(number) == found


def test_a_reservation_left_on_another_machine_is_brought_to_an_end_once_it_was_watched(
    pad: LaunchPad,
    add: Callable[..., int],
    settings: Settings,
    submitted: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    number = add(kind="site", code="vasp")
    monkeypatch.setattr("nearedge.launch.batch.reservation._note", lambda *_: None)
    elsewhere = replace(WorkerIdentity.of_this_process(), machine="another")
    monkeypatch.setattr(WorkerIdentity, "of_this_process", lambda: elsewhere)
    fill(pad, "slurm", settings, Wanted(1))
    monkeypatch.undo()
    monkeypatch.setattr("nearedge.launch.batch.reservation._numbers_by_folder", dict)
    now = datetime(2026, 1, 1, tzinfo=UTC)
    minutes = iter(range(0, 20, 2))
    later = lambda _: now + timedelta(minutes=next(minutes))  # noqa: E731
    monkeypatch.setattr(heartbeat, "server_time", later)
    assert [settle_half_made(pad, "slurm") for _ in range(6)] == [0, 0, 0, 0, 0, 1]
    assert pad.get_fw_dict_by_id(number)["state"] == "READY"


def test_reservations_and_pilots_say_which_cluster_they_are_of(
    pad: LaunchPad,
    add: Callable[..., int],
    settings: Settings,
    submitted: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("nearedge.launch.scheduler.slurm._named_cluster", lambda: "ours")
    number = add(kind="site", code="vasp")
    add(kind="site", code="feff")
    fill(pad, "slurm", settings, Wanted(2))
    (launch,) = pad.launches.find({"fw_id": number})
    (noted,) = launch["state_history"]
    assert (noted["reservation_id"], noted["cluster"]) == ("102", "ours")
    assert pilots_alive(pad, "slurm") == {"feff": 1}
    pad.db[PILOTS].update_one({}, {"$set": {"cluster": "theirs"}})
    assert pilots_alive(pad, "slurm") == {}
    assert pad.db[PILOTS].count_documents({"state": "submitted"}) == 1, "it was not asked about"


@pytest.mark.parametrize("other", ["ours", "theirs"])
def test_a_pilot_whose_number_another_had_counts_as_alive_and_takes_no_row_of_a_living_one(
    pad: LaunchPad,
    add: Callable[..., int],
    settings: Settings,
    submitted: list[str],
    monkeypatch: pytest.MonkeyPatch,
    other: str,
) -> None:
    add(kind="site", code="feff")
    monkeypatch.setattr(pilots, "cluster_of", lambda _: other)
    fill(pad, "slurm", settings, Wanted(2))
    if other == "ours":
        pad.db[PILOTS].update_one({}, {"$set": {"state": "ended", "outcome": "timeout"}})
    monkeypatch.setattr(pilots, "cluster_of", lambda _: "ours")
    submitted.clear()  # the scheduler begins its numbers anew
    fill(pad, "slurm", settings, Wanted(2))
    assert fill(pad, "slurm", settings, Wanted(2)).submitted == []
    rows = {row["_id"]: row["state"] for row in pad.db[PILOTS].find({})}
    assert rows == {f"{each}/slurm:101": "submitted" for each in ("ours", other)}


@pytest.mark.parametrize(
    ("stored", "kept"),
    [
        ({"_id": "ours/slurm:7", "batch": "slurm:7", "cluster": "ours"}, "ours/slurm:7"),
        ({"_id": "slurm:7", "cluster": "ours"}, "slurm:7"),
        ({"_id": "slurm:7", "cluster": None}, "slurm:7"),
        ({"_id": "slurm:7", "cluster": "theirs"}, "ours/slurm:7"),
        ({"_id": "slurm:7", "cluster": "ours", "state": "ended"}, "ours/slurm:7"),
    ],
)
def test_a_pilot_enters_itself_in_its_own_row_also_in_one_of_an_older_release(
    pad: LaunchPad,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    stored: dict[str, Any],
    kept: str,
) -> None:
    monkeypatch.setattr(pilots, "launchpad", lambda _: pad)
    monkeypatch.setattr(pilots, "batch_job", lambda: "slurm:7")
    monkeypatch.setattr(pilots, "cluster_of", lambda _: "ours")
    monkeypatch.setattr(pilots, "run_workers", lambda *_, **__: PoolSummary())
    monkeypatch.setenv("SLURM_CLUSTER_NAME", "ours")
    row = {"state": "submitted", "project": None, "codes": ["feff"], **stored}
    pad.db[PILOTS].insert_one(row)
    asked: set[str] = set()

    def pending(ids: list[str]) -> dict[str, JobState]:
        asked.update(ids)
        return dict.fromkeys(ids, JobState.PENDING)

    monkeypatch.setattr(pilots, "states_of", pending)
    ours = row["state"] == "submitted" and stored["cluster"] != "theirs"
    assert pilots_alive(pad, "slurm") == ({"feff": 1} if ours else {})
    assert asked == ({"slurm:7"} if ours else set())
    run_pilot(settings, "feff", None, 2, Window(0.0, 1.0, 1.0))
    (ran,) = pad.db[PILOTS].find({"started": {"$exists": True}})
    assert (ran["_id"], ran["state"]) == (kept, "ended")


def test_pilots_of_a_named_cluster_are_not_asked_about_while_ours_has_no_name(
    pad: LaunchPad,
    add: Callable[..., int],
    settings: Settings,
    submitted: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("nearedge.launch.scheduler.slurm._named_cluster", lambda: "theirs")
    add(kind="site", code="feff")
    fill(pad, "slurm", settings, Wanted(2))
    monkeypatch.setattr(pilots, "cluster_of", lambda _: None)
    over = lambda ids: dict.fromkeys(ids, JobState.FAILED)  # noqa: E731
    monkeypatch.setattr(pilots, "states_of", over)
    assert pilots_alive(pad, "slurm") == {"feff": 1}, "it may be ours: no second one is submitted"
    assert pilots_alive(pad, "pbs") == {}, "another scheduler's work nothing here"
    assert pad.db[PILOTS].count_documents({"state": "submitted"}) == 1


def test_a_batch_job_begins_only_what_is_its_own(
    pad: LaunchPad, add: Callable[..., int], settings: Settings, submitted: list[str]
) -> None:
    number = add(kind="site", code="vasp")
    assert may_run(pad, number, "slurm:5"), "its reservation was given up, nobody has it"
    fill(pad, "slurm", settings, Wanted(1))
    assert may_run(pad, number, "slurm:101")
    assert not may_run(pad, number, "slurm:5")
    pad.fireworks.update_one({"fw_id": number}, {"$set": {"state": "RUNNING"}})
    assert not may_run(pad, number, "slurm:101")
    assert not may_run(pad, 99, "slurm:101")


def test_the_embedded_database_is_refused_where_jobs_run_elsewhere(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filling, "on_this_machine_alone", lambda *_: False)
    with pytest.raises(LaunchError, match="listens on this machine's loopback alone"):
        refuse_unreachable(settings, "slurm")
    here = settings.model_copy(update={"queue": QueueSettings(same_machine=True)})
    monkeypatch.undo()
    refuse_unreachable(here, "pbs")


def test_a_code_of_the_settings_that_does_not_exist_is_refused(settings: Settings) -> None:
    with pytest.raises(LaunchError, match=r"queue.codes.feff is about no code: there are vasp"):
        refuse_unknown_classes(settings, ["vasp"])


def test_a_class_whose_jobs_cannot_begin_is_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    brake = Brake()
    states: dict[str, Any] = {}
    monkeypatch.setattr(
        "nearedge.launch.batch.brake.states_of", lambda ids: {each: states[each] for each in ids}
    )
    for number in range(LIMIT):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "x.error").write_text("loading\nVASP cannot run here\n\n")
        brake.watch([BatchJob(f"slurm:{number}", "vasp", folder, "")])
        states[f"slurm:{number}"] = JobState.RUNNING
        brake.look()
        assert brake.stopped == {}
        states[f"slurm:{number}"] = JobState.FAILED
        brake.look()
    assert "3 batch jobs ended before they could work: VASP cannot run" in brake.stopped["vasp"]
    (tmp_path / "0" / STARTED).touch()
    brake.watch([BatchJob("slurm:0", "vasp", tmp_path / "0", "")])
    brake.look()
    assert brake.stopped == {}


def test_what_met_an_outage_of_the_database_stops_no_class(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    brake = Brake()
    monkeypatch.setattr(
        "nearedge.launch.batch.brake.states_of", lambda ids: dict.fromkeys(ids, JobState.FAILED)
    )
    for number in range(LIMIT + 1):
        brake.watch([BatchJob(f"slurm:{number}", "vasp", tmp_path, "")])
        if number < LIMIT:
            brake.look()
    assert "vasp" in brake.stopped
    brake.forgive()
    brake.look()
    assert brake.stopped == {}
