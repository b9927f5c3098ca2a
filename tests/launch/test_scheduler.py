"""A scheduler's words are read for what they say, and silence is never taken for an end."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from nearedge.launch.scheduler import JobState, cluster_of, own_cluster, states_of
from nearedge.launch.scheduler.pbs import PbsScheduler, read_qstat
from nearedge.launch.scheduler.sge import SgeScheduler, read_qacct, read_sge_qstat
from nearedge.launch.scheduler.slurm import SlurmScheduler, read_sacct, read_squeue

_RECORDED = Path(__file__).parents[1] / "recorded" / "grid_engine"

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


def test_lines_of_squeue_that_are_about_no_job_say_nothing() -> None:
    assert read_squeue("CLUSTER: one\n\n7|7|7|RUNNING\n7|7\n") == {"7": "running"}


def test_sacct_is_read() -> None:
    found = read_sacct("7|7|CANCELLED by 1000\n8_1|9|TIMEOUT\n10|10|NODE_FAIL\n10|10|COMPLETED\n")
    assert found["7"] == JobState.CANCELLED
    assert found["8_1"] == found["9"] == JobState.TIMEOUT
    assert found["10"] == JobState.COMPLETED, "it was requeued"


_RUN = "comment = Job run at Mon Nov 23 at 10:00 on (node12:ncpus=4) and"


@pytest.mark.parametrize(
    ("lines", "state"),
    [
        ("job_state = H", "pending"),
        ("job_state = W", "pending"),
        ("job_state = R; resources_used.walltime = 00:03:00", "running"),
        ("job_state = E", "ending"),
        (f"job_state = F; {_RUN} finished; Exit_status = 0", "completed"),
        (f"job_state = F; {_RUN} failed; Exit_status = 1", "failed"),
        (f"job_state = F; {_RUN} failed; Exit_status = -29", "timeout"),
        (f"job_state = F; {_RUN} failed; Exit_status = -27", "failed"),
        (f"job_state = F; {_RUN} terminated; Exit_status = 271", "cancelled"),
        (f"job_state = F; {_RUN} terminated; Exit_status = 0", "cancelled"),
        (
            "job_state = F; comment = Not Running: Would exceed walltime: node is down "
            "and terminated",
            "cancelled",
        ),
        ("job_state = C; resources_used.walltime = 00:00:40; exit_status = 271", "cancelled"),
        ("job_state = C; resources_used.walltime = 00:02:11; exit_status = 271", "timeout"),
        ("job_state = C; resources_used.walltime = 00:02:00; exit_status = -11", "timeout"),
        ("job_state = C; resources_used.walltime = 00:00:40; exit_status = 265", "failed"),
        ("job_state = Z", "unknown"),
        (f"job_state = F; {_RUN} finished; Exit_status = ?", "ended"),
        ("job_state = C; resources_used.walltime = never; exit_status = 265", "failed"),
    ],
)
def test_pbs_and_torque_are_read(lines: str, state: str) -> None:
    before = "Job Id: 7.head\n    Job_Name = x\n    Resource_List.walltime = 00:02:00\n"
    after = "    Variable_List = PBS_O_LANG=C,\n\tSTATE=a,\n\tjob_state = Q\n    x = y\n\n"
    other = "Job Id: 8.head\n    Job_Name = y\n    job_state = Q\n"
    text = before + "".join(f"    {line}\n" for line in lines.split("; ")) + after + other
    assert read_qstat(text) == {"7.head": state, "8.head": "pending"}


_LIMIT = (
    "failed       37  : qmaster enforced h_rt, h_cpu, or h_vmem limit\n"
    "exit_status  137                  (Killed)\n"
)


def test_grid_engine_is_read() -> None:
    listing = (_RECORDED / "qstat.xml").read_text()
    assert read_sge_qstat(listing) == {
        "7": "running",
        "8": "ending",
        "6": "pending",  # Eqw: it waits for somebody to clear its error
        "9": "pending",
        "10": "pending",
        "11": "ended",
    }


@pytest.mark.parametrize(
    ("record", "state"),
    [
        ("failed       0\nexit_status  0\n", "completed"),
        ("failed       0\nexit_status  1\n", "failed"),
        ("failed       100 : assumedly after job\nexit_status  137  (Killed)\n", "cancelled"),
        (
            f"{_LIMIT}ru_wallclock 6s\ncategory     -l h_rt=5\n",
            "timeout",
        ),
        (
            f"{_LIMIT}ru_wallclock 1s\ncategory     -l h_rt=300,h_vmem=300M\n",
            "failed",
        ),
        (f"{_LIMIT}ru_wallclock 60s\ncategory     NONE\n", "timeout"),
        ("failed       19  : before writing exit_status\nexit_status  0\n", "node_fail"),
        ("failed       28  : changing into working directory\nexit_status  0\n", "failed"),
        ("", "unknown"),
        ("failed       0\nexit_status  undefined\n", "unknown"),
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


@pytest.mark.parametrize(
    "with_x", ["echo usage >&2; exit 2", "echo '<Data><Job></Job></Data>'; exit"]
)
def test_torque_is_asked_in_its_own_way_and_ids_may_come_without_the_servers_name(
    commands: Path, with_x: str
) -> None:
    _command(
        commands, "qstat",
        f'case "$1" in -x) {with_x};; esac\n'
        "printf 'Job Id: 5.head\\n    job_state = R\\n'\n"
        "echo 'qstat: Unknown Job Id 6.head' >&2; exit 153",
    )  # fmt: skip
    assert PbsScheduler().jobs(["5", "6.head"]) == {"5": "running", "6.head": "forgotten"}


def test_the_same_number_of_two_servers_of_pbs_is_of_two_jobs(commands: Path) -> None:
    _command(commands, "qstat", 'printf "Job Id: 7.one\\n    job_state = R\\n"')
    found = PbsScheduler().jobs(["7.one", "7.two", "7"])
    assert found == {"7.one": "running", "7.two": "forgotten", "7": "running"}


def test_grid_engine_is_asked_for_its_accounts_of_what_it_no_longer_lists(commands: Path) -> None:
    _command(commands, "qstat", f"cat {_RECORDED}/qstat.xml")
    record = (
        f'if [ "$2" = 5 ]; then cat {_RECORDED}/qacct.txt; '
        'else echo "error: job id $2 not found" >&2; exit 1; fi'
    )
    _command(commands, "qacct", record)
    found = SgeScheduler().jobs(["5", "6", "11", "12"])
    assert found == {"5": "timeout", "6": "pending", "11": "ended", "12": "forgotten"}
    _command(commands, "qacct", record.replace(" = 5", " = 11"))
    assert SgeScheduler().jobs(["11"]) == {"11": "timeout"}, "as soon as it is recorded"


def test_a_cluster_of_grid_engine_is_named_as_its_installation_says_also_within_its_jobs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SGE_ROOT", "SGE_CELL", "SGE_CLUSTER_NAME", "SLURM_CLUSTER_NAME", "JOB_ID"):
        monkeypatch.delenv(name, raising=False)
    assert cluster_of("sge") is None
    monkeypatch.setenv("SGE_ROOT", str(tmp_path))
    assert cluster_of("sge") is None
    monkeypatch.setenv("SGE_CLUSTER_NAME", "by its environment")
    assert cluster_of("sge") == "by its environment"
    common = tmp_path / "default" / "common"
    common.mkdir(parents=True)
    (common / "cluster_name").write_text("lab\n")
    assert cluster_of("sge") == "lab"
    assert own_cluster() is None, "this process is in no batch job"
    monkeypatch.setenv("JOB_ID", "9")
    assert own_cluster() == "lab"


def test_jobs_of_several_schedulers_are_asked_of_each_and_a_stranger_is_unknown() -> None:
    class Told:
        name = "told"

        def jobs(self, ids: object) -> dict[str, JobState]:
            return {"1": JobState.TIMEOUT}

    found = states_of(["told:1", "told:2", "lsf:1"], {"told": Told()})
    assert found == {"told:1": "timeout", "told:2": "unknown", "lsf:1": "unknown"}
