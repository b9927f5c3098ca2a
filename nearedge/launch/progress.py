"""What the queue looks like now: for the live display and for `nearedge status`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from fireworks.core.launchpad import LaunchPad

from nearedge.launch.fireworks import SPEC_KEY
from nearedge.launch.identity import WorkerIdentity
from nearedge.launch.queue_state import PENDING, state_counts
from nearedge.store.claims import Claims
from nearedge.store.operations import MongoDatabase, operation


@dataclass(frozen=True)
class RunningJob:
    """A job under way.

    Parameters
    ----------
    label
        What it computes.
    stage
        The code's stage, such as ``pot``; empty before the first and for other jobs.
    since
        When the work began, UTC; None where it has not.
    alive
        Whether its worker is known to run; None for another machine's, which cannot be asked.
    """

    fw_id: int
    label: str
    stage: str
    since: datetime | None
    host: str
    pid: int | None
    alive: bool | None


@dataclass(frozen=True)
class Snapshot:
    """The queue at one moment.

    Parameters
    ----------
    counts
        Fireworks by state, such as ``READY``; states that none is in are left out.
    running
        Jobs under way, in the order in which they were added.
    """

    counts: dict[str, int]
    running: tuple[RunningJob, ...]

    @property
    def pending(self) -> int:
        """How many Fireworks are still to end."""
        return sum(self.counts.get(state, 0) for state in PENDING)

    @property
    def completed(self) -> int:
        """How many have ended as they should."""
        return self.counts.get("COMPLETED", 0)

    @property
    def fizzled(self) -> int:
        """How many have ended by an error that has no name among the codes' failures."""
        return self.counts.get("FIZZLED", 0)


@operation
def snapshot(pad: LaunchPad, database: MongoDatabase, project: str | None = None) -> Snapshot:
    """Return the state of the queue, of one project's part if one is given."""
    counts = state_counts(pad, project)
    running: tuple[RunningJob, ...] = ()
    if counts.get("RUNNING"):
        running = tuple(_running(pad, database, project))
    return Snapshot(counts, running)


def _running(pad: LaunchPad, database: MongoDatabase, project: str | None) -> list[RunningJob]:
    claims = {claim.calculation_id: claim for claim in Claims(database).live()}
    query: dict[str, object] = {"state": "RUNNING"}
    if project is not None:
        query[f"spec.{SPEC_KEY}.project"] = project
    fields = {"fw_id": 1, "name": 1, "launches": 1, f"spec.{SPEC_KEY}": 1}
    fireworks = sorted(pad.fireworks.find(query, fields), key=lambda each: each["fw_id"])
    launch_ids = [max(each["launches"]) for each in fireworks if each["launches"]]
    workers = {
        launch["fw_id"]: launch
        for launch in pad.launches.find(
            {"launch_id": {"$in": launch_ids}}, {"fw_id": 1, "fworker.name": 1, "host": 1}
        )
    }
    jobs = []
    for firework in fireworks:
        about = firework["spec"].get(SPEC_KEY, {})
        claim = claims.get(about.get("calculation_id", ""))
        launch = workers.get(firework["fw_id"], {})
        worker = WorkerIdentity.parse(launch.get("fworker", {}).get("name", ""))
        jobs.append(
            RunningJob(
                fw_id=firework["fw_id"],
                label=about.get("label") or firework["name"],
                stage="" if claim is None else claim.stage,
                since=None if claim is None else claim.since,
                host=launch.get("host", "") if worker is None else worker.host,
                pid=None if worker is None else worker.pid,
                alive=worker.alive() if worker is not None and worker.here else None,
            )
        )
    return jobs
