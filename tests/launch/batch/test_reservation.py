"""One batch job for one Firework, and what a submitter leaves that dies half-way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from fireworks.core.fworker import FWorker
from fireworks.core.launchpad import LaunchPad
from pymongo.errors import AutoReconnect, ServerSelectionTimeoutError

from nearedge.errors import DatabaseUnavailable, LaunchError
from nearedge.launch import heartbeat
from nearedge.launch.batch import pilots, reservation
from nearedge.launch.batch.adapter import BatchAdapter
from nearedge.launch.batch.filling import Wanted, fill
from nearedge.launch.batch.pilots import PILOTS, pilots_alive
from nearedge.launch.batch.reservation import may_run, settle_half_made
from nearedge.launch.identity import WorkerIdentity
from nearedge.settings import Settings


def raises(error: Exception) -> Callable[..., None]:
    """Return a function that raises `error`, whatever it is called with."""

    def act(*_: object, **__: object) -> None:
        raise error

    return act


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


@pytest.mark.parametrize("submitter", ["here", "elsewhere"])
def test_what_another_cluster_or_scheduler_may_have_in_its_queue_is_left_to_it(
    pad: LaunchPad,
    add: Callable[..., int],
    settings: Settings,
    submitted: list[str],
    monkeypatch: pytest.MonkeyPatch,
    submitter: str,
) -> None:
    """A submitter was killed when its batch job was submitted, and before it could say so."""
    number = add(kind="site", code="vasp")
    monkeypatch.setattr(reservation, "cluster_of", lambda _: "annex")
    monkeypatch.setattr(reservation, "_note", lambda *_: None)
    with monkeypatch.context() as there:
        if submitter == "elsewhere":
            another = replace(WorkerIdentity.of_this_process(), machine="another")
            there.setattr(WorkerIdentity, "of_this_process", lambda: another)
        fill(pad, "slurm", settings, Wanted(1))
    monkeypatch.setattr(reservation, "_numbers_by_folder", dict)
    monkeypatch.setattr(reservation, "stands_still", lambda *_: True)
    for name in ("lab", None):
        monkeypatch.setattr(reservation, "cluster_of", lambda _, name=name: name)
        assert settle_half_made(pad, "slurm") == 0
        assert pad.get_fw_dict_by_id(number)["state"] == "RESERVED"
    monkeypatch.setattr(reservation, "cluster_of", lambda _: "annex")
    assert settle_half_made(pad, "pbs") == 0, "nor is it of another scheduler"
    assert settle_half_made(pad, "slurm") == 1, "its own knows no such job"
    assert pad.get_fw_dict_by_id(number)["state"] == "READY"


@pytest.mark.parametrize("first", ["number", "start", "end"])
def test_a_reservation_is_not_given_up_once_its_job_is_known_or_has_begun(
    pad: LaunchPad, add: Callable[..., int], tmp_path: Path, first: str
) -> None:
    """Between the look at a half-made reservation and the end of it anything may happen."""
    number = add(kind="site", code="vasp")
    worker = FWorker(name=WorkerIdentity.of_this_process().name)
    _, launch_id = pad.reserve_fw(worker, str(tmp_path))
    if first == "number":
        reservation._note(pad, launch_id, "slurm", "77")
    elif first == "start":
        pad.checkout_fw(worker, str(tmp_path), fw_id=number)
    before = pad.launches.find_one({"launch_id": launch_id})
    assert reservation._let_go(pad, launch_id) == (first == "end")
    if first == "end":
        assert pad.get_fw_dict_by_id(number)["state"] == "READY"
        reservation._note(pad, launch_id, "slurm", "77")
        assert pad.get_reservation_id_from_fw_id(number) is None, "it has been given up"
        return
    assert pad.launches.find_one({"launch_id": launch_id}) == before
    state = {"number": "RESERVED", "start": "RUNNING"}[first]
    assert pad.get_fw_dict_by_id(number)["state"] == state


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
    assert noted["folder"] == launch["launch_dir"], "for `clean`, once the launch has another"
    assert pilots_alive(pad, "slurm") == {"feff": 1}
    pad.db[PILOTS].update_one({}, {"$set": {"cluster": "theirs"}})
    assert pilots_alive(pad, "slurm") == {}
    assert pad.db[PILOTS].count_documents({"state": "submitted"}) == 1, "it was not asked about"


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
