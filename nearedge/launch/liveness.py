"""Whether a worker is gone: the one place that decides it.

A process on this machine is asked itself. One in a batch job is known to its scheduler: the job is
over, or its node failed. Any other is judged by its sign of life alone (`nearedge.launch.heartbeat`
and the beat of its claim). In doubt a worker lives.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

from nearedge.launch.heartbeat import CLUSTER, WORKERS, stands_still
from nearedge.launch.identity import WorkerIdentity
from nearedge.launch.scheduler import JobState, cluster_of, states_of
from nearedge.store.claims import CLAIMS
from nearedge.store.operations import MongoDatabase

AskScheduler = Callable[[Iterable[str]], dict[str, JobState]]


class Gone(StrEnum):
    """Why a worker is gone."""

    LOST = "lost"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed_out"
    NODE_FAILED = "node_failed"
    JOB_FAILED = "job_failed"


_GONE = {
    JobState.COMPLETED: Gone.LOST,
    JobState.FAILED: Gone.JOB_FAILED,
    JobState.CANCELLED: Gone.CANCELLED,
    JobState.TIMEOUT: Gone.TIMED_OUT,
    JobState.NODE_FAIL: Gone.NODE_FAILED,
}


@dataclass(frozen=True)
class Liveness:
    """Judges workers by what was asked of their schedulers once.

    Parameters
    ----------
    queue, database
        The launchpad's database and the store's.
    states
        Of the batch jobs that any of the workers runs in.
    foreign
        Workers of another cluster, which gives the same numbers to other jobs; while ours does not
        say what it is called, those of any named one.
    """

    queue: MongoDatabase
    database: MongoDatabase
    states: dict[str, JobState]
    foreign: frozenset[str] = frozenset()

    @classmethod
    def of(
        cls,
        queue: MongoDatabase,
        database: MongoDatabase,
        workers: Collection[str],
        ask: AskScheduler = states_of,
    ) -> Liveness:
        """Ask the schedulers of these workers; one without a batch job costs nothing."""
        parsed = [WorkerIdentity.parse(name) for name in workers]
        batch = {each.batch for each in parsed if each is not None and each.batch is not None}
        stated = {"_id": {"$in": list(workers)}, CLUSTER: {"$exists": True}}
        clusters = {row["_id"]: row[CLUSTER] for row in queue[WORKERS].find(stated, {CLUSTER: 1})}
        schedulers = {name: _scheduler_of(name) for name in clusters}
        here = {each: cluster_of(each) for each in set(schedulers.values())}
        foreign = {name for name in clusters if clusters[name] != here[schedulers[name]]}
        return cls(queue, database, ask(batch) if batch else {}, frozenset(foreign))

    def gone(self, name: str) -> Gone | None:
        """Return why the worker of that name is gone, or None if it may live.

        Parameters
        ----------
        name
            Of the worker, as its launch states it.
        """
        worker = WorkerIdentity.parse(name)
        state = None
        if worker is not None and worker.batch is not None:
            state = self.states.get(worker.batch, JobState.UNKNOWN)
            if name in self.foreign:
                state = JobState.FORGOTTEN
        # Of one that has only ended, it may be said in a moment why: until then it is watched.
        if worker is not None and worker.here and (worker.alive() or state is not JobState.ENDED):
            return self._gone_here(worker, state)
        if state not in (None, JobState.FORGOTTEN, JobState.ENDED):
            return _GONE.get(state)
        still = stands_still(self.queue, name, self._beats.get(_process_of(worker), ""))
        return Gone.LOST if still else None

    def _gone_here(self, worker: WorkerIdentity, state: JobState | None) -> Gone | None:
        if worker.alive():
            # The scheduler lost the node, and not the process: its job is run again elsewhere, and
            # what it still writes is refused. Any other end is one that the scheduler enforces.
            return Gone.NODE_FAILED if state is JobState.NODE_FAIL else None
        if state is JobState.ENDING:
            return None  # why, the scheduler says in a moment
        return Gone.LOST if state is None else _GONE.get(state, Gone.LOST)

    @cached_property
    def _beats(self) -> dict[tuple[str, int] | None, str]:
        """What changes with each beat of a claim, and with each claim taken or released.

        By the machine and number of the process that holds them: a pack holds many, and releases
        those that are done.
        """
        holder = {"machine": "$machine", "pid": "$pid"}
        of_each = {"_id": holder, "claims": {"$sum": 1}, "beats": {"$sum": "$beat"}}
        return {
            (row["_id"]["machine"], row["_id"]["pid"]): f"{row['claims']}:{row['beats']}"
            for row in self.database[CLAIMS].aggregate([{"$group": of_each}])
        }


def _process_of(worker: WorkerIdentity | None) -> tuple[str, int] | None:
    return None if worker is None else (worker.machine, worker.pid)


def _scheduler_of(name: str) -> str:
    """Return the scheduler of a worker that names its cluster; outside of a batch job, Slurm's."""
    worker = WorkerIdentity.parse(name)
    return "slurm" if worker is None else (worker.batch or "slurm:").partition(":")[0]
