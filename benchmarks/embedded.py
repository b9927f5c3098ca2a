"""The process of the embedded server, and what it costs."""

from __future__ import annotations

import psutil

from nearedge.settings import Settings
from nearedge.store.service import EmbeddedServer


def server_process(settings: Settings) -> psutil.Process:
    """Return the embedded server, which must be running."""
    pid = EmbeddedServer(settings).status().pid
    assert pid is not None
    return psutil.Process(pid)


def cpu_seconds(process: psutil.Process) -> float:
    """Return the CPU seconds of a process so far."""
    times = process.cpu_times()
    return float(times.user + times.system)
