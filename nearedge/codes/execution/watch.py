"""Watch a running program with custodian: walltime, no progress, memory.

custodian starts the program, asks each handler at short intervals, and ends the program when one
says so. Nothing is corrected and run again here: what a code's failures ask for is the code's to
decide. custodian writes its journal (``custodian.json``) into the folder that it is given: a
temporary one below the run's, so that it goes with the run's where this process is killed. It
changes no working directory and installs no signal handler, so it works in any thread.
"""

from __future__ import annotations

import logging
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import psutil
from custodian.custodian import Custodian, ErrorHandler, Job, ReturnCodeError

from nearedge.codes.execution.process import Supervised
from nearedge.codes.execution.supervisor import session_members

POLL_SECONDS = 0.05
"""Between two looks whether the program has ended."""
CHECK_SECONDS = 1.0
"""Between two questions to the handlers, at most."""
LEAST_AVAILABLE = 0.03
"""Share of the memory below which the kernel is close to ending a process of its own choice."""
_CGROUP = Path("/sys/fs/cgroup")
_JOURNAL = ".custodian-"
"""How the names of custodian's own folders begin: what it writes is no progress."""

# What custodian says is said again, in a sentence, by the error that is raised.
logging.getLogger("custodian").addHandler(logging.NullHandler())


class Stage(Job):
    """A program as custodian's job."""

    def __init__(self, start: Callable[[], Supervised]) -> None:
        self._start = start
        self.process: Supervised | None = None

    def setup(self, directory: str = "./") -> None:
        """Do nothing: the input files are there."""

    def run(self, directory: str = "./") -> Supervised:
        """Start the program."""
        self.process = self._start()
        return self.process

    def postprocess(self, directory: str = "./") -> None:
        """Do nothing: the outputs stay where they are."""

    def terminate(self, directory: str = "./") -> None:
        """End the program and all that it has started."""
        if self.process is not None:
            self.process.end()

    def as_dict(self) -> dict[str, str]:
        """Return what custodian's journal says of the job."""
        return {"@class": type(self).__name__}


class Monitor(ErrorHandler):
    """A handler that ends the program, and whose verdict stays."""

    is_monitor = True
    # custodian then stops without an exception of its own; ours says more.
    raises_runtime_error = False

    def __init__(self) -> None:
        self.verdict = ""
        self.stage: Stage | None = None

    def check(self, directory: str = "./") -> bool:
        """Return whether the program was, or is to be, ended; one that has ended is left alone."""
        process = None if self.stage is None else self.stage.process
        if not self.verdict and process is not None and process.returncode is None:
            self.verdict = self.look(process)
        return bool(self.verdict)

    def look(self, process: Supervised) -> str:
        """Return why the running program has to be ended, or nothing."""
        raise NotImplementedError

    def correct(self, directory: str = "./") -> dict[str, list[str] | None]:
        """Tell custodian that this cannot be corrected."""
        return {"errors": [self.verdict], "actions": None}

    def as_dict(self) -> dict[str, str]:
        """Return what custodian's journal says of the handler."""
        return {"@class": type(self).__name__, "verdict": self.verdict}


class Walltime(Monitor):
    """Ends a program that takes longer than `seconds`."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds

    def look(self, process: Supervised) -> str:
        """See `Monitor.look`."""
        if process.wall_seconds <= self.seconds:
            return ""
        return f"took more than {self.seconds:g} s; allow more time"


class NoProgress(Monitor):
    """Ends a program that has written nothing into its folder for `seconds`."""

    def __init__(self, folder: Path, seconds: float) -> None:
        super().__init__()
        self.folder = folder
        self.seconds = seconds
        self._seen: tuple[int, int, int] | None = None
        self._looked = self._changed = time.monotonic()

    def look(self, process: Supervised) -> str:
        """See `Monitor.look`."""
        now = time.monotonic()
        if now - self._looked < min(self.seconds / 20, 30.0):
            return ""
        self._looked = now
        # Not by the clock: that of a file server may be another.
        seen = _state(self.folder)
        if seen != self._seen:
            self._seen, self._changed = seen, now
        if now - self._changed <= self.seconds:
            return ""
        return f"wrote nothing for {self.seconds:g} s; look at its log"


class Memory(Monitor):
    """Ends a program before the kernel does, which may take a neighbour instead.

    That is when less than `LEAST_AVAILABLE` of the memory is left, of the machine or of the control
    group that this process is in, and the program holds more than that.
    """

    def look(self, process: Supervised) -> str:
        """See `Monitor.look`."""
        total, available = memory()
        if available >= LEAST_AVAILABLE * total:
            return ""
        held = resident(process.pid)
        if held <= available:
            return ""
        return (
            f"took {held / 1024**3:.1f} GiB of memory and left {available / 1024**3:.2f} of "
            f"{total / 1024**3:.1f}"
        )


def watch(stage: Stage, monitors: Sequence[Monitor], folder: Path, *, check_seconds: float) -> None:
    """Run a stage in `folder` to its end, or to the verdict of a monitor.

    Raises
    ------
    OSError
        If a file cannot be written.
    """
    for monitor in monitors:
        monitor.stage = stage
    with tempfile.TemporaryDirectory(dir=folder, prefix=_JOURNAL) as journal:
        custodian = Custodian(
            list(monitors),
            [stage],
            polling_time_step=POLL_SECONDS,
            monitor_freq=max(1, round(check_seconds / POLL_SECONDS)),
            directory=journal,
        )
        # The exit code says no more than the outcome does.
        with suppress(ReturnCodeError):
            custodian.run()  # type: ignore[no-untyped-call]


def resident(session: int) -> int:
    """Return the resident bytes of all processes of a session."""
    held = 0
    for number in session_members(session):
        with suppress(psutil.Error):
            held += psutil.Process(number).memory_info().rss
    return held


def memory() -> tuple[int, int]:
    """Return the bytes of memory there are, and those still to be had, for this process."""
    machine = psutil.virtual_memory()
    total, available = int(machine.total), int(machine.available)
    if (limits := _control_group()) is not None:
        limit, used = limits
        if limit < total:
            total, available = limit, min(available, limit - used)
    return total, available


def _control_group() -> tuple[int, int] | None:
    """Return limit and use, in bytes, of the control group that holds this process.

    As a container sees its own, of version 2 or 1 (kernel's admin guide, cgroup-v2 and
    cgroup-v1/memory); files that are only cached can be given back and do not count.
    """
    for limit_file, use_file, stat_file, cached in (
        ("memory.max", "memory.current", "memory.stat", "inactive_file"),
        (
            "memory/memory.limit_in_bytes",
            "memory/memory.usage_in_bytes",
            "memory/memory.stat",
            "total_inactive_file",
        ),
    ):
        try:
            limit = (_CGROUP / limit_file).read_text().strip()
            use = int((_CGROUP / use_file).read_text())
            stat = dict(line.split() for line in (_CGROUP / stat_file).read_text().splitlines())
        except (OSError, ValueError):
            continue
        if limit.isdigit():
            return int(limit), use - int(stat.get(cached, 0))
    return None


def _state(folder: Path) -> tuple[int, int, int]:
    """Return the number of files below a folder, their bytes, and the time of the latest."""
    count = size = latest = 0
    for where, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(_JOURNAL)]
        for name in names:
            with suppress(OSError):
                status = os.lstat(os.path.join(where, name))
                count, size = count + 1, size + status.st_size
                latest = max(latest, status.st_mtime_ns)
    return count, size, latest
