"""What a batch scheduler says of its jobs, one module for each.

Slurm and Grid Engine are asked for real and tested against one. PBS is read by its documented
formats, tested on texts written after those; nobody has run its parser against the real thing yet.

A scheduler that cannot be asked says nothing about any job, in particular not that it is over.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

from nearedge.launch.identity import batch_job
from nearedge.launch.scheduler.base import JobState, Scheduler
from nearedge.launch.scheduler.pbs import PbsScheduler
from nearedge.launch.scheduler.sge import SgeScheduler, sge_cluster
from nearedge.launch.scheduler.slurm import SlurmScheduler, slurm_cluster

__all__ = ["SCHEDULERS", "JobState", "Scheduler", "cluster_of", "own_cluster", "states_of"]

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

    Not of PBS, which names its server in a job's id.
    """
    find = _CLUSTERS.get(scheduler)
    return None if find is None else find()


def own_cluster() -> str | None:
    """Return the cluster whose batch job this process is part of, or None if it is not said."""
    if (batch_job() or "").startswith("sge:"):
        return sge_cluster()
    return os.environ.get("SLURM_CLUSTER_NAME")


_CLUSTERS = {"slurm": slurm_cluster, "sge": sge_cluster}
