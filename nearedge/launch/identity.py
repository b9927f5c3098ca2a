"""Who a worker is: part of every launch, so that recovery asks the process and not the clock."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import psutil

from nearedge.store.processes import has_started, process_started
from nearedge.store.processes import machine as this_machine


@dataclass(frozen=True)
class WorkerIdentity:
    """A worker process, told apart from a later process with the same number.

    Parameters
    ----------
    host
        Name of the machine, for people.
    machine
        What two processes share if they can see each other by number.
    pid
        Number of the process.
    started
        When it started, in seconds since its machine did, so that nobody's clock matters.
    batch
        The batch job that it runs in, such as ``slurm:1234``, ``pbs:77.head`` or ``sge:9``; None
        outside of one.
    """

    host: str
    machine: str
    pid: int
    started: float
    batch: str | None = None

    @classmethod
    def of_this_process(cls) -> Self:
        """Return the identity of the running process."""
        pid = os.getpid()
        started = process_started(psutil.Process(pid))
        return cls(socket.gethostname(), this_machine(), pid, started, batch_job())

    @classmethod
    def parse(cls, name: str) -> Self | None:
        """Read what `name` gives, or return None for a worker that is not one of ours."""
        try:
            host, machine, pid, started, *batch = name.split("|")
            if len(batch) > 1:
                return None
            return cls(host, machine, int(pid), float(started), batch[0] if batch else None)
        except ValueError:
            return None

    @property
    def name(self) -> str:
        """What a launch stores as its worker's name."""
        batch = "" if self.batch is None else f"|{self.batch}"
        return f"{self.host}|{self.machine}|{self.pid}|{self.started:.2f}{batch}"

    @property
    def here(self) -> bool:
        """Whether it runs, or ran, where this process can see it."""
        return self.machine == this_machine()

    def alive(self) -> bool:
        """Return whether the process still runs; only meaningful where it is `here`."""
        try:
            process = psutil.Process(self.pid)
            if process.status() == psutil.STATUS_ZOMBIE:
                return False
            return has_started(process, self.started)
        except psutil.NoSuchProcess:
            return False
        except psutil.Error:  # there, but another user's: in doubt it lives
            return True


def batch_job(environment: Mapping[str, str] = os.environ) -> str | None:
    """Return the batch job that `environment` belongs to, as ``<scheduler>:<id>``, or None.

    Of a job array, Slurm gives each task an id of its own in ``SLURM_JOB_ID``, as `squeue` and
    `scancel` take it.
    """
    if number := environment.get("SLURM_JOB_ID"):
        return f"slurm:{number}"
    if number := environment.get("PBS_JOBID"):
        return f"pbs:{number}"
    # JOB_ID alone is set by other programs too, such as Jenkins.
    if (number := environment.get("JOB_ID")) and "SGE_ROOT" in environment:
        return f"sge:{number}"
    return None
