"""What a batch scheduler says of its jobs, one module for each.

Slurm is asked for real and tested against one. PBS and SGE are read by their documented formats,
tested on texts written after those; nobody has run these two parsers against the real thing yet.

A scheduler that cannot be asked says nothing about any job, in particular not that it is over.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from nearedge.launch.scheduler.base import JobState, Scheduler
from nearedge.launch.scheduler.pbs import PbsScheduler
from nearedge.launch.scheduler.sge import SgeScheduler
from nearedge.launch.scheduler.slurm import SlurmScheduler, slurm_cluster

__all__ = ["SCHEDULERS", "JobState", "Scheduler", "cluster_of", "slurm_cluster", "states_of"]

SCHEDULERS: dict[str, Scheduler] = {
    each.name: each for each in (SlurmScheduler(), PbsScheduler(), SgeScheduler())
}


def states_of(
    batch_ids: Iterable[str], schedulers: Mapping[str, Scheduler] | None = None
) -> dict[str, JobState]:
    """Return how batch jobs stand that are named like ``slurm:1234``.

    Parameters
    ----------
    batch_ids
        ``<scheduler>:<id>``; one of a scheduler that is not known here is ``UNKNOWN``.
    schedulers
        By name; default: Slurm, PBS and SGE by their commands.
    """
    known = SCHEDULERS if schedulers is None else schedulers
    of: dict[str, list[str]] = {}
    for batch in set(batch_ids):
        name, _, number = batch.partition(":")
        of.setdefault(name, []).append(number)
    found: dict[str, JobState] = {}
    for name, numbers in of.items():
        states = known[name].jobs(sorted(numbers)) if name in known else {}
        for number in numbers:
            found[f"{name}:{number}"] = states.get(number, JobState.UNKNOWN)
    return found


def cluster_of(scheduler: str) -> str | None:
    """Return the cluster whose scheduler is asked here: two may give the same numbers to jobs.

    Of Slurm alone; PBS names its server in a job's id, and of SGE it is not known.
    """
    return slurm_cluster() if scheduler == "slurm" else None
