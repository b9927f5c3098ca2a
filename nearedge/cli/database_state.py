"""What `status` tells: only what is true now, also when nothing answers."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime

from fireworks.core.launchpad import LaunchPad

from nearedge.cli.console import counted
from nearedge.cli.watching import under_way
from nearedge.errors import DatabaseUnavailable, NearEdgeError
from nearedge.launch.failures import fizzled_jobs
from nearedge.launch.fireworks import ensure_launchpad_indexes, launchpad, launchpad_databases
from nearedge.launch.folders import DiskUse, disk_use
from nearedge.launch.progress import RATE_WINDOW, JobGroup, PartProgress, in_queue, progress
from nearedge.launch.queue_state import JobKind
from nearedge.launch.recovery import diagnose
from nearedge.launch.webpage.lifecycle import PageState, WebPage
from nearedge.settings import Settings
from nearedge.store import lifecycle
from nearedge.store.connection import connect, mongo_uri, redacted
from nearedge.store.lifecycle import BlobsState, DatabaseState
from nearedge.store.operations import MongoDatabase, database_errors
from nearedge.store.overview import Overview as StoreOverview
from nearedge.store.overview import overview as store_overview
from nearedge.store.progress import grouped
from nearedge.store.service import EmbeddedServer


@dataclass(frozen=True)
class RunningCalculation:
    """What a process works on; `owner` is alive, dead, or unknown elsewhere.

    Of a pack, `calculation_id` is one of its calculations.
    """

    label: str
    calculation_id: str
    stage: str
    host: str
    pid: int
    owner: str
    seconds: float


@dataclass(frozen=True)
class FailureCount:
    """How often calculations failed by one name, and one of them."""

    name: str
    count: int
    example: str


@dataclass
class Overview:
    """The state of everything; counts are of documents and of jobs.

    Parameters
    ----------
    state
        ``up``; ``down``; ``unusable`` where something answers that is not NearEdge's.
    where, detail
        The address without password, and one sentence.
    blobs
        Where they are, and whether they can be reached.
    launchpad
        Name of the queue; `other_launchpads` are those that work for the same database.
    """

    state: str
    where: str
    detail: str
    structures: int = 0
    spectra: int = 0
    incomplete_averages: int = 0
    calculations: dict[str, int] = field(default_factory=dict)
    datasets: int = 0
    models: int = 0
    blobs: BlobsState | None = None
    launchpad: str = ""
    other_launchpads: list[str] = field(default_factory=list)
    queue: dict[str, int] = field(default_factory=dict)
    running: list[RunningCalculation] = field(default_factory=list)
    projects: list[PartProgress] = field(default_factory=list)
    disk: DiskUse | None = None
    webgui: PageState | None = None
    failures: list[FailureCount] = field(default_factory=list)
    hints: list[str] = field(default_factory=list)

    @property
    def usable(self) -> bool:
        """Whether the database can be worked with."""
        return self.state == "up"


_QUEUED_BY = {
    JobKind.SITE: "submit",
    JobKind.AVERAGE: "submit",
    JobKind.PACK: "submit",
    "converge": "converge",
    "benchmark": "benchmark",
}
"""The verb that queues a kind of job; the others are worked at once by the one that makes them."""


def make_ready(settings: Settings) -> DatabaseState:
    """Start the embedded server if it is the one configured; make database and queue ready."""
    state = lifecycle.up(settings)
    with database_errors():
        ensure_launchpad_indexes(launchpad(settings))
    return state


def overview(settings: Settings) -> Overview:
    """Look at the database, the queue and what runs; a database that is down is no error."""
    where, detail = "embedded", ""
    try:
        if settings.mongo_uri is None:
            server = EmbeddedServer(settings).status()
            detail = server.detail
            if server.status == "foreign":
                return Overview("unusable", where, detail)
            if server.status != "running":
                return Overview("down", where, detail)
        else:
            where = redacted(mongo_uri(settings))
            detail = f"Database {settings.database!r} answers."
        database = connect(settings)
        found = Overview("up", where, detail, launchpad=settings.launchpad_database)
        found.blobs = lifecycle.blobs(settings)
        with database_errors():
            queues = launchpad_databases(settings, database)
            found.other_launchpads = [q.name for q in queues if q.name != found.launchpad]
            _look_at_queue(settings, database, found, _count(database, found))
            found.disk = disk_use(settings, database)
        found.webgui = WebPage(settings).status()
    except DatabaseUnavailable as error:
        return Overview("down", where, str(error))
    except NearEdgeError as error:
        return Overview("unusable", where, str(error))
    return found


def _count(database: MongoDatabase, found: Overview) -> StoreOverview:
    stored = store_overview(database, datetime.now(UTC) - RATE_WINDOW)
    found.structures = stored.structures
    found.datasets, found.models = stored.datasets, stored.models
    found.spectra, found.incomplete_averages = stored.spectra, stored.incomplete_averages
    for (_, state), count in sorted(stored.calculations.states().items()):
        found.calculations[state] = found.calculations.get(state, 0) + count
    fields = {"formula": 1, "absorber": 1, "absorbing_index": 1, "failure.message": 1}
    examples = {group.name: group.example for group in grouped(stored.calculations.failed)}
    for name, identifier in examples.items():
        example = database["calculations"].find_one({"_id": identifier}, fields) or {}
        message = (example.get("failure") or {}).get("message", "")
        site = "{formula} {absorber}{absorbing_index}".format(**example) if example else ""
        count = found.calculations[name]
        found.failures.append(FailureCount(name, count, f"{site}: {message}"))
    return stored


def _look_at_queue(
    settings: Settings, database: MongoDatabase, found: Overview, stored: StoreOverview
) -> None:
    pad = launchpad(settings)
    queue = in_queue(pad)
    found.queue = _states(pad, queue)
    found.projects = progress(pad, database, recorded=stored.calculations, queue=queue)
    now = datetime.now(UTC)
    for claim, label in under_way(pad, stored.claims):
        found.running.append(
            RunningCalculation(
                label=label or claim.calculation_id,
                calculation_id=claim.calculation_id,
                stage=claim.stage,
                host=claim.host,
                pid=claim.pid,
                owner=claim.owner,
                seconds=(now - claim.since).total_seconds(),
            )
        )
    to_put_back = diagnose(pad, database)
    if to_put_back.total:
        found.hints.append(
            f"`nearedge run` first puts back {counted(to_put_back.total, 'job')} whose worker is "
            "gone or whose machine failed."
        )
    elif found.queue.get("READY"):
        ready = counted(found.queue["READY"], "job")
        found.hints.append(f"Ready for a worker: {ready}; `nearedge run` goes on.")
    _look_at_fizzled(pad, found)


def _states(pad: LaunchPad, queue: list[JobGroup]) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for group in queue:
        counts[group.state] += group.jobs
    # What is in no other state: those are not read.
    completed = int(pad.fireworks.estimated_document_count()) - counts.total()
    if completed > 0:
        counts["COMPLETED"] = completed
    return dict(sorted(counts.items()))


def _look_at_fizzled(pad: LaunchPad, found: Overview) -> None:
    jobs = fizzled_jobs(pad, by_machine=False)
    if not jobs:
        return
    found.failures.append(
        FailureCount("fizzled", len(jobs), f"{jobs[0].label}: {jobs[0].error or 'no reason'}")
    )
    verbs = sorted({_QUEUED_BY[job.kind] for job in jobs if job.kind in _QUEUED_BY})
    again = f": {' or '.join(f'`nearedge {verb}`' for verb in verbs)}" if verbs else ""
    found.hints.append(
        f"Ended without a named failure: {counted(len(jobs), 'job')}; `nearedge rerun` tries a "
        f"group of `nearedge failures` again, the command that queued them all{again}."
    )
