"""The scheduler's word about a batch job beats the launchpad's, and its silence changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from fireworks import Firework, Workflow
from fireworks.core.fworker import FWorker

from nearedge.launch import heartbeat, liveness, recovery
from nearedge.launch.failures import fizzled_jobs
from nearedge.launch.fencing import FencedLaunchPad
from nearedge.launch.fireworks import SPEC_KEY
from nearedge.launch.identity import WorkerIdentity
from nearedge.launch.reconcile import MEANINGS, take_turn
from nearedge.launch.recovery import Recovery, diagnose, recover
from nearedge.launch.scheduler import JobState
from nearedge.store.claims import Claims
from nearedge.store.operations import MongoDatabase

HERE = replace(WorkerIdentity.of_this_process(), batch="slurm:7")
GONE = replace(HERE, pid=2**22 + 1)
ELSEWHERE = replace(HERE, machine="another")

Told = Callable[[Iterable[str]], dict[str, JobState]]


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recovery, "LOCK_SECONDS", 0.0)
    monkeypatch.setattr(recovery, "find_scheduler", lambda _: "slurm")
    monkeypatch.setattr(heartbeat, "server_time", lambda _: datetime(2026, 1, 1, tzinfo=UTC))


def says(state: JobState) -> Told:
    return lambda ids: dict.fromkeys(ids, state)


@pytest.fixture
def running(
    pad: FencedLaunchPad, idle: Callable[..., Firework], tmp_path: Path
) -> Callable[[WorkerIdentity], int]:
    """Return a function that lets a worker take a job."""

    def start(worker: WorkerIdentity) -> int:
        if pad.fireworks.find_one({}) is None:
            spec = {SPEC_KEY: {"calculation_id": "c1", "label": "TiO2 Ti0 K", "project": None}}
            pad.add_wf(Workflow([idle(**spec)]))
        firework, _ = pad.checkout_fw(FWorker(name=worker.name), str(tmp_path / "launch"))
        assert firework is not None
        return int(firework.fw_id)

    return start


@pytest.fixture
def reserved(pad: FencedLaunchPad, idle: Callable[..., Firework], tmp_path: Path) -> int:
    """Return a job that is reserved for batch job 7."""
    pad.add_wf(Workflow([idle()]))
    firework, launch = pad.reserve_fw(FWorker(name=HERE.name), str(tmp_path))
    pad.set_reservation_id(launch, "7")
    return int(firework.fw_id)


def state(pad: FencedLaunchPad) -> str:
    return str(pad.fireworks.find_one({})["state"])


def why(recovery: Recovery) -> list[str]:
    return [each.why for each in recovery.findings]


@pytest.mark.parametrize(
    ("said", "name"),
    [
        (JobState.COMPLETED, "lost"),
        (JobState.CANCELLED, "cancelled"),
        (JobState.TIMEOUT, "timed_out"),
        (JobState.NODE_FAIL, "node_failed"),
        (JobState.FAILED, "job_failed"),
    ],
)
def test_a_job_whose_batch_job_is_over_is_named_and_put_back_once(
    pad: FencedLaunchPad,
    memory_database: MongoDatabase,
    running: Callable[..., int],
    said: JobState,
    name: str,
) -> None:
    running(ELSEWHERE)
    told = says(said)
    assert why(diagnose(pad, memory_database, ask=told)) == [name]
    assert state(pad) == "RUNNING", "a diagnosis changes nothing"
    (found,) = recover(pad, memory_database, ask=told).findings
    assert (found.why, found.batch, found.label) == (name, "slurm:7", "TiO2 Ti0 K")
    assert found.why in MEANINGS
    assert state(pad) == "READY"
    assert recover(pad, memory_database, ask=told).total == 0


@pytest.mark.parametrize(
    "said",
    [
        JobState.RUNNING,
        JobState.ENDING,
        JobState.PENDING,
        JobState.UNKNOWN,
        JobState.FORGOTTEN,
        JobState.ENDED,
    ],
)
def test_a_job_that_may_be_alive_is_never_started_again(
    pad: FencedLaunchPad, memory_database: MongoDatabase, running: Callable[..., int],
    said: JobState, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("nearedge.launch.liveness.stands_still", lambda *_: False)
    running(ELSEWHERE)
    assert recover(pad, memory_database, ask=says(said)).total == 0
    assert state(pad) == "RUNNING"


def test_any_claim_of_a_worker_elsewhere_is_its_sign_of_life_also_of_a_pack_that_is_half_done(
    pad: FencedLaunchPad, memory_database: MongoDatabase, running: Callable[..., int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    now = [datetime(2026, 1, 1, tzinfo=UTC)]
    monkeypatch.setattr(heartbeat, "server_time", lambda _: now[0])
    running(replace(ELSEWHERE, batch=None))
    claims = [
        {"_id": name, "machine": machine, "pid": ELSEWHERE.pid, "owner": machine, "beat": 0}
        for name, machine in (("c1", "a third"), ("c2", ELSEWHERE.machine), ("c3", "a third"))
    ]
    memory_database["claims"].insert_many(claims)

    def looks(beats_of: str) -> list[str]:
        found: list[str] = []
        for _ in range(10):
            now[0] += timedelta(minutes=2)
            memory_database["claims"].update_many({"machine": beats_of}, {"$inc": {"beat": 1}})
            found += why(recover(pad, memory_database))
        return found

    assert looks(ELSEWHERE.machine) == [], "it beats for c2; c1, done, is another's by now"
    assert looks("a third") == ["lost"], "nothing of its own moves"


def test_another_clusters_batch_job_of_the_same_number_says_nothing(
    pad: FencedLaunchPad, memory_database: MongoDatabase, running: Callable[..., int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(liveness, "cluster_of", lambda _: "ours")
    running(ELSEWHERE)
    pad.db[heartbeat.WORKERS].insert_one({"_id": ELSEWHERE.name, "beat": 1, "cluster": "theirs"})
    assert recover(pad, memory_database, ask=says(JobState.CANCELLED)).total == 0
    pad.db[heartbeat.WORKERS].update_one({}, {"$set": {"cluster": "ours"}})
    assert why(recover(pad, memory_database, ask=says(JobState.CANCELLED))) == ["cancelled"]


def test_a_named_clusters_batch_job_is_not_judged_by_a_slurm_that_does_not_say_its_name(
    pad: FencedLaunchPad, memory_database: MongoDatabase, running: Callable[..., int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(liveness, "cluster_of", lambda _: None)
    running(ELSEWHERE)
    pad.db[heartbeat.WORKERS].insert_one({"_id": ELSEWHERE.name, "beat": 1, "cluster": "theirs"})
    assert recover(pad, memory_database, ask=says(JobState.FAILED)).total == 0
    assert state(pad) == "RUNNING"


@pytest.mark.parametrize(
    ("said", "name"),
    [
        (JobState.RUNNING, "lost"),
        (JobState.UNKNOWN, "lost"),
        (JobState.CANCELLED, "cancelled"),
        (JobState.TIMEOUT, "timed_out"),
        (JobState.ENDING, None),
        (JobState.ENDED, None),
    ],
)
def test_a_process_that_is_gone_here_is_gone_whatever_its_scheduler_says(
    pad: FencedLaunchPad, memory_database: MongoDatabase, running: Callable[..., int],
    said: JobState, name: str | None,
) -> None:  # fmt: skip
    running(GONE)
    assert why(recover(pad, memory_database, ask=says(said))) == ([] if name is None else [name])


def test_of_a_batch_job_that_has_ended_it_is_waited_for_how_and_not_for_ever(
    pad: FencedLaunchPad, memory_database: MongoDatabase, running: Callable[..., int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """As of Grid Engine, whose accounts may come late, or not be readable here."""
    now = [datetime(2026, 1, 1, tzinfo=UTC)]
    monkeypatch.setattr(heartbeat, "server_time", lambda _: now[0])
    running(GONE)
    found: list[list[str]] = []
    for _ in range(7):
        found.append(why(recover(pad, memory_database, ask=says(JobState.ENDED))))
        now[0] += timedelta(minutes=2)
    assert found == [[], [], [], [], [], ["lost"], []]


def test_a_process_left_on_a_failed_node_loses_its_job_and_its_claim(
    pad: FencedLaunchPad, memory_database: MongoDatabase, running: Callable[..., int]
) -> None:
    running(HERE)
    claims = Claims(memory_database)
    with claims.hold("c1") as claim:
        recover(pad, memory_database, ask=says(JobState.CANCELLED))
        assert state(pad) == "RUNNING", "it lives: whoever cancelled it has not ended it yet"
        recover(pad, memory_database, ask=says(JobState.NODE_FAIL))
        assert state(pad) == "READY"
        assert claims.live() == []
        assert not claim.confirmed()


def test_a_reservation_whose_batch_job_was_cancelled_is_given_up(
    pad: FencedLaunchPad, memory_database: MongoDatabase, reserved: int
) -> None:
    for said in (JobState.PENDING, JobState.RUNNING, JobState.UNKNOWN, JobState.FORGOTTEN):
        assert recover(pad, memory_database, ask=says(said)).total == 0
        assert state(pad) == "RESERVED"
    told = says(JobState.CANCELLED)
    assert recover(pad, memory_database, ask=told).ids("pending_cancelled") == (reserved,)
    assert state(pad) == "READY"
    assert pad.launches.count_documents({"state": "RESERVED"}) == 0


def test_a_reservation_whose_batch_job_has_ended_is_given_up_however_it_did(
    pad: FencedLaunchPad, memory_database: MongoDatabase, reserved: int
) -> None:
    told = says(JobState.ENDED)
    assert recover(pad, memory_database, ask=told).ids("pending_cancelled") == (reserved,)


def test_a_reservation_whose_batch_job_slurm_lost_is_given_up_after_ten_watched_minutes(
    pad: FencedLaunchPad, memory_database: MongoDatabase, reserved: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """As where slurmctld was killed before it saved the job, and never heard of it again."""
    now = [datetime(2026, 1, 1, tzinfo=UTC)]
    monkeypatch.setattr(heartbeat, "server_time", lambda _: now[0])
    found: list[list[str]] = []
    for _ in range(7):
        found.append(why(recover(pad, memory_database, ask=says(JobState.FORGOTTEN))))
        now[0] += timedelta(minutes=2)
    assert found == [[], [], [], [], [], ["pending_cancelled"], []]
    assert state(pad) == "READY"


def test_another_clusters_reservation_of_the_same_number_is_left_alone(
    pad: FencedLaunchPad, memory_database: MongoDatabase, reserved: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("nearedge.launch.reconcile.cluster_of", lambda _: "ours")
    pad.launches.update_one({}, {"$set": {"state_history.0.cluster": "theirs"}})
    assert recover(pad, memory_database, ask=says(JobState.CANCELLED)).total == 0
    assert state(pad) == "RESERVED"
    pad.launches.update_one({}, {"$set": {"state_history.0.cluster": "ours"}})
    found = recover(pad, memory_database, ask=says(JobState.CANCELLED))
    assert found.ids("pending_cancelled") == (reserved,)


@pytest.mark.parametrize("noted", [{"cluster": "theirs"}, {"scheduler": "slurm"}])
def test_another_schedulers_reservation_is_left_alone_where_no_cluster_has_a_name(
    pad: FencedLaunchPad, memory_database: MongoDatabase, reserved: int, noted: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(recovery, "find_scheduler", lambda _: "pbs")
    pad.launches.update_one(
        {}, {"$set": {f"state_history.0.{name}": value for name, value in noted.items()}}
    )
    assert recover(pad, memory_database, ask=says(JobState.COMPLETED)).total == 0
    assert state(pad) == "RESERVED"


@pytest.mark.parametrize(
    ("said", "name"),
    [
        (JobState.TIMEOUT, "WalltimeExceeded"),
        (JobState.FAILED, "BatchJobFailed"),
        (JobState.COMPLETED, "WorkerLost"),
    ],
)
def test_a_job_that_meets_the_same_end_again_and_again_is_left_fizzled_by_that_name(
    pad: FencedLaunchPad, memory_database: MongoDatabase, running: Callable[..., int],
    said: JobState, name: str,
) -> None:  # fmt: skip
    told = says(said)
    for expected in ("READY", "READY", "FIZZLED"):
        fw_id = running(ELSEWHERE)
        done = recover(pad, memory_database, tries=3, ask=told)
        assert state(pad) == expected
    assert done.exhausted == (fw_id,)
    assert recover(pad, memory_database, ask=told).total == 0, "it does not loop"
    (left,) = fizzled_jobs(pad, by_machine=False)
    assert f".{name}: " in left.error
    assert "3 " in left.error
    pad.rerun_fw(fw_id)
    running(ELSEWHERE)
    recover(pad, memory_database, tries=3, ask=told)
    assert state(pad) == "READY", "whoever has it run again means all its tries"


def test_a_job_is_begun_again_however_often_it_is_cancelled_or_its_node_fails(
    pad: FencedLaunchPad, memory_database: MongoDatabase, running: Callable[..., int]
) -> None:
    for said in (JobState.CANCELLED, JobState.NODE_FAIL) * 2:
        running(ELSEWHERE)
        assert recover(pad, memory_database, tries=1, ask=says(said)).exhausted == ()
        assert state(pad) == "READY"


def test_of_many_workers_one_reconciles_at_a_time(
    memory_database: MongoDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    moments = iter([0.0, 10.0, 61.0, 62.0])
    base = datetime(2026, 1, 1, tzinfo=UTC)
    monkeypatch.setattr(
        "nearedge.launch.reconcile.server_time",
        lambda _: base + timedelta(seconds=next(moments)),
    )
    assert [take_turn(memory_database, 60.0) for _ in range(4)] == [True, False, True, False]
