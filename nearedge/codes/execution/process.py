"""A program that dies with NearEdge, and whose end and cost are known."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from nearedge.codes.execution.supervisor import end_session, session_members
from nearedge.settings import PREFIX

_SUPERVISOR = Path(__file__).with_name("supervisor.py")
_WITHHELD = (PREFIX, "AWS_")
"""What the names begin with of variables that no code is given."""


class Supervised(subprocess.Popen[bytes]):
    """A program in a session of its own, under `nearedge.codes.execution.supervisor`.

    Leaving the ``with`` block ends the session, whatever of it still runs.

    Parameters
    ----------
    argv
        The program and its arguments; no shell sees them.
    folder
        Where it runs.
    log
        Name of the file in `folder` that takes its output and errors.
    environment
        Variables to add; see `program_environment`.
    stdin
        Name of the file in `folder` that it reads; None for nothing to read.
    pass_fds
        Open file descriptors that it gets.

    Attributes
    ----------
    cpu_seconds
        Of the program and the processes that it has waited for, or, where it had to be ended, of
        all that was ended with it; 0 until its end.
    not_started
        Why it could not be started; empty if it was.

    Raises
    ------
    OSError
        If the log cannot be written.
    """

    def __init__(
        self,
        argv: Sequence[str],
        folder: Path,
        *,
        log: str,
        environment: Mapping[str, str] | None = None,
        stdin: str | None = None,
        pass_fds: Sequence[int] = (),
    ) -> None:
        self.cpu_seconds = 0.0
        self.not_started = ""
        self._started = time.monotonic()
        self._ended: float | None = None
        reading, writing = os.pipe()
        command = [
            *(sys.executable, "-I", "-S", str(_SUPERVISOR)),
            *(str(writing), ",".join(map(str, pass_fds)), stdin or os.devnull),
            *argv,
        ]
        try:
            with (folder / log).open("wb") as output:
                super().__init__(
                    command,
                    stdin=subprocess.PIPE,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    cwd=folder,
                    env=program_environment(environment or {}),
                    pass_fds=(writing, *pass_fds),
                    start_new_session=True,
                )
        except BaseException:
            os.close(reading)
            raise
        finally:
            os.close(writing)
        # Never waited for: a process forked at the wrong moment may hold the other end open.
        os.set_blocking(reading, False)
        self._report: int | None = reading

    @property
    def wall_seconds(self) -> float:
        """Seconds from start to end, or until now."""
        return (time.monotonic() if self._ended is None else self._ended) - self._started

    def poll(self) -> int | None:
        """Return the program's exit code, negative for a signal, or None while it runs."""
        if self.returncode is None and os.waitid(
            os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT
        ):
            self.end()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end.

        Raises
        ------
        subprocess.TimeoutExpired
            If it is not reached within `timeout` seconds.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while (code := self.poll()) is None:
            if deadline is not None and time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
            time.sleep(0.01)
        return code

    def end(self) -> None:
        """End the session and collect how the program ended and what it cost.

        The session is ended before its leader is waited for: until then its number cannot be
        another's.
        """
        if self._report is None:
            return
        running = 0.0
        if self.returncode is None:
            running = _cpu_of_session(self.pid)
            end_session(self.pid)
            _, status, usage = os.wait4(self.pid, 0)
            self._ended = time.monotonic()
            self.returncode = os.waitstatus_to_exitcode(status)
            self.cpu_seconds = max(running, usage.ru_utime + usage.ru_stime)
        report = b""
        with suppress(BlockingIOError):
            report = os.read(self._report, 65536)
        os.close(self._report)
        self._report = None
        if self.stdin is not None:
            self.stdin.close()
        if report:
            told: dict[str, int | float | str] = json.loads(report)
            self.not_started = str(told.get("not_started", ""))
            self.returncode = int(told.get("return_code", self.returncode))
            self.cpu_seconds = float(told.get("cpu_seconds", 0.0))
        _ended_cost.cpu_seconds += self.cpu_seconds

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.end()

    def __enter__(self) -> Self:
        return self


@dataclass
class _EndedCost:
    """What the programs cost together that this process has started and that have ended."""

    cpu_seconds: float = 0.0


_ended_cost = _EndedCost()


def cpu_seconds_so_far() -> float:
    """Return what all programs cost that this process has started and that have ended.

    Its difference is what a run cost that failed at whichever of its stages.
    """
    return _ended_cost.cpu_seconds


def _cpu_of_session(session: int) -> float:
    """Return the CPU seconds of a session's processes but its leader, and of those waited for."""
    total = 0.0
    for number in session_members(session):
        if number != session:
            with suppress(psutil.Error):
                times = psutil.Process(number).cpu_times()
                total += times.user + times.system + times.children_user + times.children_system
    return total


def program_environment(additional: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a code: ours, without what may hold secrets.

    That is NearEdge's settings, and the credentials by which it reaches the storage of blobs.
    One thread a process, unless the environment says otherwise: the workers share the machine.
    """
    inherited = {k: v for k, v in os.environ.items() if not k.upper().startswith(_WITHHELD)}
    return {"OMP_NUM_THREADS": "1", **inherited, **additional}
