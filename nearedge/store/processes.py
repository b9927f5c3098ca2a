"""Processes, told apart from every other one on any machine, for as long as documents name them."""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import psutil

_START_TOLERANCE = 2.0
"""Seconds by which a process's start time may differ between two looks at the same process: that of
its machine is told in whole seconds, and may move by one."""
_TIME_OF_DAY = 1e9
"""A start beyond it is counted in seconds since 1970: no machine runs for thirty years."""

OwnerState = Literal["alive", "dead", "unknown"]
"""Of a process on this machine whether it lives; ``unknown`` of another machine's."""


def named(process: psutil.Process) -> dict[str, str | int | float]:
    """Return what a document says of a process, so that `owner_state` finds it again."""
    return {
        "machine": machine(),
        "pid": process.pid,
        "process_started": process_started(process),
    }


def owner_state(stored: Mapping[str, Any]) -> OwnerState:
    """Return whether the process still runs that is `named` in a document."""
    if stored["machine"] != machine():
        return "unknown"
    try:
        process = psutil.Process(int(stored["pid"]))
        same = has_started(process, float(stored["process_started"]))
        return "alive" if same and process.status() != psutil.STATUS_ZOMBIE else "dead"
    except psutil.NoSuchProcess:
        return "dead"
    except psutil.Error:
        return "unknown"


@lru_cache(maxsize=1)
def machine() -> str:
    """Return what two processes share if and only if they see each other by process number.

    A host's name is not enough: containers and a machine before its restart have the same. Where
    a user sees nobody else's processes (`hidepid`), it is the user's own.
    """
    parts = [socket.gethostname()]
    try:
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
        parts.append(str(os.stat("/proc/self/ns/pid").st_ino))
    except OSError:  # not Linux
        parts.append(str(uuid.getnode()))
    try:
        psutil.Process(1).create_time()
    except psutil.Error:
        parts.append(str(os.getuid()))
    return "/".join(parts)


def process_started(process: psutil.Process) -> float:
    """Return when a process started, in seconds since its machine did.

    The time of day at which it started is another one as soon as somebody sets the clock: psutil
    reckons it from when the machine started, which the kernel moves along.
    """
    return process.create_time() - psutil.boot_time()


def has_started(process: psutil.Process, started: float) -> bool:
    """Return whether `process` is the one that stated `started`, and no later one of its number."""
    # Before 22 November 2026 a process stated the time of day.
    own = process.create_time() if started > _TIME_OF_DAY else process_started(process)
    return abs(own - started) < _START_TOLERANCE
