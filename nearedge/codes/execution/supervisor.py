"""The small process between NearEdge and a code, which sees that nothing of it is left behind.

`nearedge.codes.execution.process` starts it as a file; it imports nothing of NearEdge, so that it
starts in milliseconds. It starts the program in its own process group and reports how that ended.
Its standard input is a pipe that the parent holds open: when the parent dies, however it dies, the
pipe ends and this process ends its whole group, itself included. (`PR_SET_PDEATHSIG` would not do:
it would end the program alone, and leave what that has started.) Should this process be killed
together with the parent, a fork of it does the same.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress

POLL_SECONDS = 0.5
NO_PROGRAM = 127
"""Exit code where the program cannot be started, as a shell has it."""


def main(report_fd: str, passed_fds: str, stdin: str, *argv: str) -> None:
    """Run `argv` and report on `report_fd`, as one JSON object, how it ended and what it cost.

    Parameters
    ----------
    report_fd
        An open file descriptor, which the program does not get.
    passed_fds
        Those that it gets, with commas between them; this process lets go of them.
    stdin
        The file that the program reads as its standard input.
    argv
        The program and its arguments.
    """
    fd = int(report_fd)
    os.set_inheritable(fd, False)
    passed = [int(each) for each in filter(None, passed_fds.split(","))]
    guard = _leave_guard([fd, *passed])
    threading.Thread(target=_follow_parent, args=(os.getppid(),), daemon=True).start()
    try:
        program = os.posix_spawnp(
            argv[0],
            argv,
            os.environ,
            file_actions=[(os.POSIX_SPAWN_OPEN, 0, stdin, os.O_RDONLY, 0)],
            # Python ignores SIGPIPE, and a program would inherit that.
            setsigdef=[signal.SIGPIPE, signal.SIGXFSZ],
        )
    except OSError as error:
        os.write(fd, json.dumps({"not_started": error.strerror}).encode())
        _end_guard(guard)
        sys.exit(NO_PROGRAM)
    for each in passed:
        os.close(each)
    _, status, usage = os.wait4(program, 0)
    report = {
        "return_code": os.waitstatus_to_exitcode(status),
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
    }
    try:
        os.write(fd, json.dumps(report).encode())
    finally:
        _end_guard(guard)
        # Not only the parent does: it may be gone, and this process must not end before the rest.
        end_session(os.getpid())


def _leave_guard(not_its_own: Sequence[int]) -> int:
    """Fork a process that ends the session once this one is gone, however it went.

    Return its number.

    Parameters
    ----------
    not_its_own
        File descriptors whose other ends wait for their last holder.
    """
    supervisor = os.getpid()
    if guard := os.fork():
        return guard
    for each in not_its_own:
        os.close(each)
    while os.getppid() == supervisor:
        time.sleep(POLL_SECONDS)
    end_session(supervisor)
    os._exit(0)


def _end_guard(guard: int) -> None:
    """End the guard, and wait for it: in a container the first process may wait for nobody."""
    with suppress(ProcessLookupError, ChildProcessError):
        os.kill(guard, signal.SIGKILL)
        os.waitpid(guard, 0)


def _follow_parent(parent: int) -> None:
    """End the session when the parent is gone.

    The parent's number is watched too: a process that the parent forked may hold the pipe open.
    """
    while os.getppid() == parent:
        ready, _, _ = select.select([0], [], [], POLL_SECONDS)
        if ready and not os.read(0, 1):
            break
    end_session(os.getpid())


def end_session(session: int) -> None:
    """Kill every process of a session, this one last.

    Its number is another's only when all of them have ended and its leader has been waited for.
    MPI's launchers give each rank a process group of its own, so ending the group is not enough.
    """
    for process in session_members(session):
        if process not in (session, os.getpid()):
            with suppress(ProcessLookupError, PermissionError):
                os.kill(process, signal.SIGKILL)
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(session, signal.SIGKILL)


def session_members(session: int) -> Iterator[int]:
    """Yield the numbers of a session's processes, as /proc has them; none without one.

    In a container /proc has 0 as the session of whatever was started from outside: that is no
    session, and has no members.
    """
    if session < 1:
        return
    try:
        entries = os.listdir("/proc")
    except OSError:
        return
    for entry in filter(str.isdigit, entries):
        try:
            with open(f"/proc/{entry}/stat", "rb") as file:
                # The name, in brackets, may hold anything; state, parent, group, session follow it.
                fields = file.read().rpartition(b")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == session:
            yield int(entry)


if __name__ == "__main__":
    main(*sys.argv[1:])
