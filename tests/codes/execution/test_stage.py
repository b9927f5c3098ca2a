"""Tiny real programs, and the ways in which a stage can end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from nearedge.codes.execution import process as process_module
from nearedge.codes.execution import watch as watch_module
from nearedge.codes.execution.process import cpu_seconds_so_far, program_environment
from nearedge.codes.execution.stage import StageOutcome, claim, run_stage, write_files
from nearedge.codes.execution.supervisor import session_members
from nearedge.errors import CodeError, ResourceError

PARENT = """
import signal
import sys
from pathlib import Path
from nearedge.codes.execution.stage import run_stage
# Ignored where the tests are started in the background of a shell.
signal.signal(signal.SIGINT, signal.default_int_handler)
argv = ["sh", "-c", "sleep 60 & sleep 60 & sleep 60 & echo on; sleep 60"]
run_stage(argv, Path(sys.argv[1]), stage="s", log="log", stage_timeout=60)
"""


def stage(folder: Path, *argv: str, **options: object) -> StageOutcome:
    return run_stage(
        argv,
        folder,
        **{"stage": "pw.x", "log": "log", "stage_timeout": 30.0, **options},  # type: ignore[arg-type]
    )


def test_a_stage_gives_its_exit_code_and_cost_and_leaves_its_log_alone(tmp_path: Path) -> None:
    (tmp_path / "in").write_text("deck\n")
    before = os.getcwd(), set(os.listdir())
    said: list[str] = []
    burn = "import sys; sum(range(10**7)); print(sys.stdin.read()); sys.exit(3)"
    outcome = stage(tmp_path, sys.executable, "-c", burn, stdin="in", progress=said.append)
    assert outcome.return_code == 3
    assert outcome.cpu_seconds > 0.02
    assert outcome.wall_seconds >= outcome.cpu_seconds
    assert said == ["pw.x"]
    assert (tmp_path / "log").read_text() == "deck\n\n"
    # custodian's journal is nowhere.
    assert sorted(os.listdir(tmp_path)) == ["in", "log"]
    assert (os.getcwd(), set(os.listdir())) == before


def test_custodians_journal_goes_with_the_run_folder_and_is_no_progress(tmp_path: Path) -> None:
    look = "ls -A; sleep 0.5; touch .custodian-*/more; sleep 60"
    with pytest.raises(CodeError, match="wrote nothing for") as caught:
        stage(tmp_path, "sh", "-c", look, idle_timeout=1.0)
    assert ".custodian-" in caught.value.log_tail
    assert os.listdir(tmp_path) == ["log"]


def test_a_stage_runs_in_any_thread(tmp_path: Path) -> None:
    outcomes: list[StageOutcome] = []
    thread = threading.Thread(target=lambda: outcomes.append(stage(tmp_path, "true")))
    thread.start()
    thread.join()
    assert [outcome.return_code for outcome in outcomes] == [0]


def test_the_time_of_what_a_program_starts_counts(tmp_path: Path) -> None:
    burn = f"'{sys.executable}' -c 'sum(range(10**7))'; true"
    assert stage(tmp_path, "sh", "-c", burn).cpu_seconds > 0.02


def test_too_long_is_a_named_failure(tmp_path: Path, gone: Callable[..., bool]) -> None:
    with pytest.raises(CodeError, match=r"pw\.x took more than 0\.3 s") as caught:
        stage(tmp_path, "sh", "-c", "echo said; sleep 60 & sleep 60", stage_timeout=0.3)
    assert caught.value.name == "stage_timeout"
    assert "said" in caught.value.log_tail
    assert gone(tmp_path)


def test_what_a_program_cost_is_known_also_where_it_had_to_be_ended(tmp_path: Path) -> None:
    before = cpu_seconds_so_far()
    with pytest.raises(CodeError, match="took more than"):
        stage(tmp_path, "sh", "-c", "while :; do :; done", stage_timeout=0.6)
    assert 0.02 < cpu_seconds_so_far() - before < 5.0


def test_no_progress_is_a_named_failure(tmp_path: Path, gone: Callable[..., bool]) -> None:
    with pytest.raises(CodeError, match="wrote nothing for") as caught:
        stage(tmp_path, "sleep", "60", idle_timeout=0.3)
    assert caught.value.name == "no_progress"
    assert gone(tmp_path)


def test_a_file_in_a_subfolder_is_progress(tmp_path: Path) -> None:
    write = "mkdir out; for i in 1 2 3 4 5 6 7 8; do echo $i >> out/save; sleep 0.25; done"
    assert stage(tmp_path, "sh", "-c", write, idle_timeout=1.0).return_code == 0


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_killed_from_outside_is_the_machines_fault(tmp_path: Path, number: int) -> None:
    with pytest.raises(ResourceError, match="was killed"):
        stage(tmp_path, "sh", "-c", f"kill -{int(number)} $$")


def test_a_crash_of_its_own_is_the_codes(tmp_path: Path) -> None:
    assert stage(tmp_path, "sh", "-c", "ulimit -c 0; kill -SEGV $$").return_code == -signal.SIGSEGV


def test_a_killed_supervisor_takes_the_program_with_it(
    tmp_path: Path, gone: Callable[..., bool], processes_in: Callable[[Path], list[psutil.Process]]
) -> None:
    def kill() -> None:
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            for process in processes_in(tmp_path):
                supervises = any("supervisor.py" in word for word in process.cmdline())
                if supervises and process.ppid() == os.getpid():  # its fork looks the same
                    process.kill()
                    return

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(ResourceError, match="was killed"):
        stage(tmp_path, "sleep", "60")
    killer.join()
    assert gone(tmp_path)


@pytest.mark.parametrize("stop", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_nothing_outlives_its_parent(
    tmp_path: Path,
    stop: signal.Signals,
    gone: Callable[..., bool],
    processes_in: Callable[[Path], list[psutil.Process]],
) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path)], stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 120  # it imports NearEdge first, on a machine that may be busy
    while not (tmp_path / "log").exists() or not (tmp_path / "log").read_text():
        assert time.monotonic() < deadline, "the program did not start"
        time.sleep(0.02)
    assert len(processes_in(tmp_path)) >= 3
    parent.send_signal(stop)
    parent.wait(10)
    assert gone(tmp_path)


def test_nothing_outlives_its_parent_and_its_supervisor_killed_at_once(
    tmp_path: Path, gone: Callable[..., bool], processes_in: Callable[[Path], list[psutil.Process]]
) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path)], stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 120
    while not (tmp_path / "log").exists() or not (tmp_path / "log").read_text():
        assert time.monotonic() < deadline, "the program did not start"
        time.sleep(0.02)
    (supervisor,) = psutil.Process(parent.pid).children()
    supervisor.suspend()  # so that it sees nothing of its parent's end
    parent.kill()
    supervisor.kill()
    parent.wait(10)
    assert gone(tmp_path)


def test_a_program_that_ends_leaves_no_process_to_be_waited_for(tmp_path: Path) -> None:
    """As in a container whose first process, NearEdge, waits for no stranger."""
    first = """
import ctypes, os, sys
from pathlib import Path
from nearedge.codes.execution.process import Supervised
PR_SET_CHILD_SUBREAPER = 36
assert ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
for program in ("true", "no-such-program"):
    with Supervised([program], Path(sys.argv[1]), log="log") as process:
        process.wait()
try:
    os.waitpid(-1, os.WNOHANG)
except ChildProcessError:
    print("none")
"""
    done = subprocess.run(
        [sys.executable, "-c", first, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert done.stdout == "none\n"


@pytest.mark.parametrize(
    "said", ["No space left on device", "Fortran runtime error: ... (exit code: 38)"]
)
def test_a_full_disk_is_the_machines_fault(tmp_path: Path, said: str) -> None:
    with pytest.raises(ResourceError, match=r"disk .* is full"):
        stage(tmp_path, "sh", "-c", f"echo '{said}'; exit 1")


def test_a_real_write_to_a_full_device_is_the_machines_fault(tmp_path: Path) -> None:
    (tmp_path / "out").symlink_to("/dev/full")
    with pytest.raises(ResourceError, match=r"disk .* is full"):
        stage(tmp_path, "sh", "-c", "LC_ALL=C; export LC_ALL; exec dd if=/dev/zero of=out count=1")


def test_a_refused_allocation_is_the_machines_fault(tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match="got no memory"):
        stage(tmp_path, "sh", "-c", "echo 'Cannot allocate memory'; exit 1")


def test_a_program_is_ended_before_memory_runs_out(
    tmp_path: Path, monkeypatch, gone: Callable[..., bool]
) -> None:
    total = psutil.virtual_memory().total
    # As if all but 20 MiB were taken: the program holds 60.
    monkeypatch.setattr(watch_module, "memory", lambda: (int(total), 20 * 2**20))
    hold = "x = bytearray(60 * 2**20); import time; time.sleep(60)"
    with pytest.raises(ResourceError, match="GiB of memory and left"):
        stage(tmp_path, sys.executable, "-c", hold)
    assert gone(tmp_path)


def test_a_small_program_is_not_ended_for_its_neighbours(tmp_path: Path, monkeypatch) -> None:
    total = psutil.virtual_memory().total
    monkeypatch.setattr(watch_module, "memory", lambda: (int(total), total // 50))
    assert stage(tmp_path, "sleep", "1.2").return_code == 0


def test_the_control_groups_limit_is_the_machines(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(watch_module, "_CGROUP", tmp_path)
    (tmp_path / "memory.max").write_text("1000000\n")
    (tmp_path / "memory.current").write_text("900000\n")
    (tmp_path / "memory.stat").write_text("anon 5\ninactive_file 300000\n")
    assert watch_module.memory() == (1_000_000, 400_000)
    (tmp_path / "memory.max").write_text("max\n")
    assert watch_module.memory()[0] == psutil.virtual_memory().total


def test_a_missing_program_is_named(tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match=r"no-such\.x cannot be started: No such file"):
        stage(tmp_path, "no-such.x")


def test_no_shell_sees_the_words(tmp_path: Path) -> None:
    stage(tmp_path, "echo", "$HOME; `id`", "*")
    assert (tmp_path / "log").read_text() == "$HOME; `id` *\n"


def test_a_program_sees_no_setting_of_ours_and_no_key_of_the_storage(monkeypatch) -> None:
    monkeypatch.setenv("NEAREDGE_MONGO_URI", "mongodb://user:secret@127.0.0.1")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    environment = program_environment({"MALLOC_ARENA_MAX": "1"})
    assert not any(name.startswith(("NEAREDGE_", "AWS_")) for name in environment)
    assert environment["MALLOC_ARENA_MAX"] == "1"
    assert environment["OMP_NUM_THREADS"] == "1"
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    assert program_environment({})["OMP_NUM_THREADS"] == "4"


def test_session_members_are_those_of_the_session() -> None:
    program = subprocess.Popen(["sleep", "60"], start_new_session=True)
    try:
        assert list(session_members(program.pid)) == [program.pid]
    finally:
        program.kill()
        program.wait()


def test_processes_whose_session_is_outside_the_container_are_not_a_session() -> None:
    # /proc gives 0 for all of them, and ending "session 0" would end whatever else runs there.
    assert list(session_members(0)) == []


def test_a_program_in_a_group_of_its_own_is_ended_too(
    tmp_path: Path, gone: Callable[..., bool]
) -> None:
    # As OpenMPI's ranks are.
    ranks = (
        "import os, time; os.fork() or os.setpgid(0, 0); print('on', flush=True); time.sleep(60)"
    )
    with process_module.Supervised([sys.executable, "-c", ranks], tmp_path, log="log"):
        deadline = time.monotonic() + 10
        while (tmp_path / "log").read_text().count("on") < 2:
            assert time.monotonic() < deadline
            time.sleep(0.02)
    assert gone(tmp_path)


def test_a_folder_in_use_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ResourceError, match="not empty"):
        claim(tmp_path)
    claim(tmp_path / "new" / "run")
    write_files(tmp_path / "new" / "run", {"a.in": "text", "sub/b.sav": b"\x00"})
    assert (tmp_path / "new" / "run" / "sub" / "b.sav").read_bytes() == b"\x00"


def test_what_cannot_be_written_is_the_machines_fault(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for refused in (claim, lambda folder: stage(folder, "true")):
        with pytest.raises(ResourceError, match="cannot be written"):
            refused(tmp_path / "file" / "run")
