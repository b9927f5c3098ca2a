"""What `status` tells: only what is true now, also when nothing answers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from nearedge.errors import DatabaseUnavailable, NearEdgeError
from nearedge.launch.fireworks import ensure_launchpad_indexes, launchpad
from nearedge.launch.queue_state import state_counts
from nearedge.launch.recovery import diagnose
from nearedge.schemas import COMPLETED
from nearedge.settings import Settings
from nearedge.store import lifecycle
from nearedge.store.claims import Claims
from nearedge.store.connection import connect, mongo_uri, redacted
from nearedge.store.lifecycle import DatabaseState
from nearedge.store.operations import MongoDatabase, database_errors
from nearedge.store.service import EmbeddedServer


@dataclass(frozen=True)
class RunningCalculation:
    """A calculation that somebody is computing."""

    label: str
    calculation_id: str
    stage: str
    host: str
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
    """

    state: str
    where: str
    detail: str
    structures: int = 0
    spectra: dict[str, int] = field(default_factory=dict)
    calculations: dict[str, int] = field(default_factory=dict)
    queue: dict[str, int] = field(default_factory=dict)
    running: list[RunningCalculation] = field(default_factory=list)
    failures: list[FailureCount] = field(default_factory=list)
    hints: list[str] = field(default_factory=list)

    @property
    def usable(self) -> bool:
        """Whether the database can be worked with."""
        return self.state == "up"


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
        found = Overview("up", where, detail)
        with database_errors():
            _count(database, found)
            _look_at_queue(settings, database, found)
    except DatabaseUnavailable as error:
        return Overview("down", where, str(error))
    except NearEdgeError as error:
        return Overview("unusable", where, str(error))
    return found


def _count(database: MongoDatabase, found: Overview) -> None:
    found.structures = database["structures"].estimated_document_count()
    found.spectra = dict(sorted(_grouped(database, "spectra", "kind")))
    states = dict(sorted(_grouped(database, "calculations", "state")))
    found.calculations = states
    for name, count in states.items():
        if name == COMPLETED:
            continue
        example = database["calculations"].find_one(
            {"state": name}, {"formula": 1, "absorber": 1, "absorbing_index": 1, "failure": 1}
        )
        if example is not None:
            message = (example.get("failure") or {}).get("message", "")
            site = f"{example['formula']} {example['absorber']}{example['absorbing_index']}"
            found.failures.append(FailureCount(name, count, f"{site}: {message}"))


def _grouped(database: MongoDatabase, collection: str, field_name: str) -> Iterator[tuple[str, int]]:
    pipeline = [{"$group": {"_id": f"${field_name}", "count": {"$sum": 1}}}]
    for row in database[collection].aggregate(pipeline):
        yield str(row["_id"]), int(row["count"])


def _look_at_queue(settings: Settings, database: MongoDatabase, found: Overview) -> None:
    pad = launchpad(settings)
    found.queue = dict(sorted(state_counts(pad).items()))
    found.running = list(_running(database))
    to_put_back = diagnose(pad, database)
    if to_put_back.total:
        found.hints.append(
            f"{to_put_back.total} jobs lost their worker: `nearedge run` puts them back first."
        )
    if found.queue.get("READY"):
        found.hints.append(f"{found.queue['READY']} jobs wait for a worker: `nearedge run`.")


def _running(database: MongoDatabase) -> Iterator[RunningCalculation]:
    for claim in Claims(database).live():
        yield RunningCalculation(
            claim.label, claim.calculation_id, claim.stage, claim.host, claim.seconds
        )
