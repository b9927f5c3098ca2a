"""A scheduler's words are read for what they say, and silence is never taken for an end."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from nearedge.launch.scheduler import JobState, states_of
from nearedge.launch.scheduler.pbs import PbsScheduler, read_qstat_json, read_qstat_text
from nearedge.launch.scheduler.sge import SgeScheduler, read_qacct, read_sge_qstat
from nearedge.launch.scheduler.slurm import SlurmScheduler, read_sacct, read_squeue

SQUEUE = """\
7|7|7|RUNNING
8|8|8|PENDING
9|9|9|COMPLETING
10|10|10|TIMEOUT
11|11|11|NODE_FAIL
12|12|12|CANCELLED
13|13|13|OUT_OF_MEMORY
14|14_0|15|COMPLETED
14|14_1|14|PENDING
16|16|16|SOMETHING_NEW
"""


def test_squeue_is_read_and_a_state_it_may_learn_later_is_unknown() -> None:
    found = read_squeue(SQUEUE)
    assert [found[each] for each in ("7", "8", "9", "10", "11", "12", "13", "16")] == [
        "running", "pending", "ending", "timeout", "node_fail", "cancelled", "failed", "unknown",
    ]  # fmt: skip
    assert (found["14_0"], found["15"], found["14_1"]) == ("completed", "completed", "pending")
    assert found["14"] == "pending", "an array is over when its last task is"


def test_sacct_is_read() -> None:
    found = read_sacct("7|7|CANCELLED by 1000\n8_1|9|TIMEOUT\n10|10|NODE_FAIL\n10|10|COMPLETED\n")
    assert found["7"] == JobState.CANCELLED
    assert found["8_1"] == found["9"] == JobState.TIMEOUT
    assert found["10"] == JobState.COMPLETED, "it was requeued"


def test_pbs_is_read_as_json() -> None:
    text = """{"timestamp": 1, "pbs_server": "head", "Jobs": {
        "1.head": {"job_state": "Q"}, "2.head": {"job_state": "R"}, "3.head": {"job_state": "E"},
        "4.head": {"job_state": "F", "Exit_status": 0, "comment": "Job run and finished"},
        "5.head": {"job_state": "F", "Exit_status": -29},
        "6.head": {"job_state": "F", "Exit_status": 271},
        "7.head": {"job_state": "F", "Exit_status": 1},
        "8.head": {"job_state": "F", "comment": "Job deleted"},
        "9[].head": {"job_state": "B"}}}"""
    assert list(read_qstat_json(text).values()) == [
        "pending", "running", "running", "completed", "timeout", "cancelled", "failed",
        "cancelled", "running",
    ]  # fmt: skip


def test_torque_is_read_as_text() -> None:
    text = (
        "Job Id: 179.host\n    Job_Name = x\n    job_state = C\n"
        "    Variable_List = A=1,\n\tB = 2\n    exit_status = 271\n\n"
        "Job Id: 180.host\n    Job_Name = y\n    job_state = Q\n"
    )
    assert read_qstat_text(text) == {"179.host": "cancelled", "180.host": "pending"}


def test_grid_engine_is_read() -> None:
    listing = (
        "<?xml version='1.0'?><job_info><queue_info>"
        '<job_list state="running"><JB_job_number>4</JB_job_number><state>r</state></job_list>'
        "</queue_info><job_info>"
        '<job_list state="pending"><JB_job_number>5</JB_job_number><state>qw</state></job_list>'
        '<job_list state="pending"><JB_job_number>6</JB_job_number><state>Eqw</state></job_list>'
        "</job_info></job_info>"
    )
    assert read_sge_qstat(listing) == {"4": "running", "5": "pending", "6": "pending"}


@pytest.mark.parametrize(
    ("record", "state"),
    [
        ("failed       0\nexit_status  0\n", "completed"),
        ("failed       0\nexit_status  1\n", "failed"),
        ("failed       37  : qmaster enforced h_rt limit\nexit_status  137\n", "timeout"),
        ("failed       100 : assumedly after job\nexit_status  137\n", "cancelled"),
        (
            "failed       100 : assumedly after job\nexit_status  137\nru_wallclock 61s\n"
            "category     -l h_rt=60,h_vmem=1G\n",
            "timeout",
        ),
    ],
)
def test_the_accounts_of_grid_engine_are_read(record: str, state: str) -> None:
    assert read_qacct(f"====\nqname        all.q\n{record}") == state


def _command(folder: Path, name: str, script: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a folder of commands in front of this machine's."""
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return tmp_path


@pytest.mark.parametrize(
    "script",
    [
        "echo 'slurm_load_jobs error: Unable to contact slurm controller' >&2; exit 1",
        "sleep 5",
        "exit 127",
    ],
    ids=["down", "hangs", "broken"],
)
def test_a_scheduler_that_does_not_answer_says_that_nothing_is_over(
    commands: Path, script: str
) -> None:
    _command(commands, "squeue", script)
    found = SlurmScheduler(answer_seconds=0.3).jobs(["1", "2"])
    assert found == {"1": "unknown", "2": "unknown"}
    assert not any(state.over for state in found.values())


def test_what_squeue_has_forgotten_is_looked_up_in_the_accounts_where_there_are_any(
    commands: Path,
) -> None:
    _command(commands, "squeue", "echo '1|1|1|RUNNING'")
    _command(commands, "sacct", "echo '2|2|NODE_FAIL'")
    slurm = SlurmScheduler()
    assert slurm.jobs(["1", "2", "3"]) == {"1": "running", "2": "node_fail", "3": "forgotten"}
    _command(commands, "sacct", "echo 'Slurm accounting storage is disabled' >&2; exit 1")
    assert slurm.jobs(["2"]) == {"2": "forgotten"}


def test_pbs_falls_back_to_text_and_ids_may_come_without_the_servers_name(commands: Path) -> None:
    _command(
        commands, "qstat",
        'case "$1" in -x) echo usage >&2; exit 2;; esac\n'
        "printf 'Job Id: 5.head\\n    job_state = R\\n'\n"
        "echo 'qstat: Unknown Job Id 6.head' >&2; exit 153",
    )  # fmt: skip
    assert PbsScheduler().jobs(["5", "6.head"]) == {"5": "running", "6.head": "forgotten"}


def test_grid_engine_is_asked_for_its_accounts_of_what_it_no_longer_lists(commands: Path) -> None:
    _command(commands, "qstat", "echo '<job_info></job_info>'")
    _command(
        commands, "qacct",
        'if [ "$2" = 5 ]; then printf "failed 0\\nexit_status 0\\n"; else exit 1; fi',
    )  # fmt: skip
    assert SgeScheduler().jobs(["5", "6"]) == {"5": "completed", "6": "forgotten"}


def test_jobs_of_several_schedulers_are_asked_of_each_and_a_stranger_is_unknown() -> None:
    class Told:
        name = "told"

        def jobs(self, ids: object) -> dict[str, JobState]:
            return {"1": JobState.TIMEOUT}

    found = states_of(["told:1", "told:2", "lsf:1"], {"told": Told()})
    assert found == {"told:1": "timeout", "told:2": "unknown", "lsf:1": "unknown"}
