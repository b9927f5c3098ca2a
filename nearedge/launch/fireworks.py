"""The launchpad and the job store, from the same settings as everything else.

Passwords stay in the settings: neither a launchpad nor a job store is ever serialised into a
workflow, so what the database holds of a job names no host and no secret.
"""

from __future__ import annotations

from contextlib import suppress

import jobflow
from jobflow.core.store import JobStore
from maggma.stores import MemoryStore
from pymongo.errors import DuplicateKeyError

from nearedge.errors import LaunchError
from nearedge.launch.choosing import ORDER
from nearedge.launch.fencing import FencedLaunchPad
from nearedge.launch.guarding import GuardedJobStore, GuardedLaunchPad
from nearedge.launch.outputs import FencedOutputs, LargeOutputs
from nearedge.settings import Settings
from nearedge.store.connection import connect_milliseconds, mongo_uri
from nearedge.store.identity import read_identity
from nearedge.store.operations import MongoDatabase, operation

JOB_OUTPUTS = "job_outputs"
"""Collection of jobflow's outputs, in the launchpad's database."""

LAUNCHPADS = "launchpads"
"""Collection of the names of queues besides the one that every database has, in the store's
database."""

SPEC_KEY = "nearedge"
"""Where a Firework's spec carries what NearEdge asks about it; no leading ``_``, which would
change scheduling."""

SOCKET_MILLISECONDS = 120_000
"""Longest wait for one answer."""


def client_options(settings: Settings) -> dict[str, object]:
    """Return how FireWorks' and jobflow's clients of the database are to be made."""
    milliseconds = int(settings.database_timeout * 1000)
    return {
        "serverSelectionTimeoutMS": milliseconds,
        "connectTimeoutMS": connect_milliseconds(settings),
        "socketTimeoutMS": max(milliseconds, SOCKET_MILLISECONDS),
        # As in nearedge.store.connection: an acknowledged write survives `kill -9`.
        "w": 1 if settings.mongo_uri is None else "majority",
        "journal": True,
    }


def launchpad(settings: Settings) -> GuardedLaunchPad:
    """Return the launchpad of these settings; nothing is asked of the server yet.

    Raises
    ------
    DatabaseUnavailable
        If the settings lead to no database.
    """
    pad = GuardedLaunchPad(
        host=mongo_uri(settings, database=settings.launchpad_database),
        uri_mode=True,
        name=settings.launchpad_database,
        mongoclient_kwargs=client_options(settings),
        strm_lvl="CRITICAL",
    )
    pad.trusted = settings.trusted
    pad.of_store = None if settings.launchpad_is_default else settings.database
    return pad


@operation
def ensure_launchpad_indexes(pad: FencedLaunchPad) -> None:
    """Make the id counter and every index that the queue is asked through; idempotent.

    Raises
    ------
    LaunchError
        If the queue has the name of a database that holds spectra.
    """
    if pad.of_store is not None:
        _join(pad, pad.db.client[pad.of_store])
    # FireWorks makes the counter in `reset` alone, which deletes everything first.
    pad.fw_id_assigner.update_one(
        {"_id": -1}, {"$setOnInsert": {"next_fw_id": 1, "next_launch_id": 1}}, upsert=True
    )
    pad.tuneup(bkground=True)
    for field in (
        "calculation_id",
        "average_id",
        "convergence_id",
        "search_id",
        "learn_id",
        "continuation_id",
        "project",
        "kind",
    ):
        pad.fireworks.create_index(f"spec.{SPEC_KEY}.{field}", background=True)
    pad.fireworks.create_index(ORDER, background=True)
    pad.launches.create_index("launch_dir", background=True)
    pad.workflows.create_index("locked", sparse=True, background=True)
    outputs = pad.db[JOB_OUTPUTS]
    outputs.create_index([("uuid", 1), ("index", -1)], background=True)


def _join(pad: FencedLaunchPad, database: MongoDatabase) -> None:
    """Let a database know of a queue that works for it under a name of its own."""
    name = pad.db.name
    if read_identity(pad.db) is not None:
        raise LaunchError(
            f"Database {name!r} holds spectra: give the queue another name in NEAREDGE_LAUNCHPAD."
        )
    with suppress(DuplicateKeyError):  # another process was faster
        database[LAUNCHPADS].update_one({"_id": name}, {"$setOnInsert": {}}, upsert=True)


def launchpad_databases(settings: Settings, database: MongoDatabase) -> list[MongoDatabase]:
    """Return the databases of all queues that work for `database`."""
    default = settings.model_copy(
        update={"launchpad": Settings.model_fields["launchpad"].default}
    ).launchpad_database
    known = {str(each["_id"]) for each in database[LAUNCHPADS].find({})}
    names = known | {default, settings.launchpad_database}
    return [database.client[name] for name in sorted(names)]


def job_store(settings: Settings) -> JobStore:
    """Return the job store of these settings: documents, and a GridFS store named ``data``."""
    uri = mongo_uri(settings)
    options = client_options(settings)
    store = GuardedJobStore(
        FencedOutputs(
            database=settings.launchpad_database,
            collection_name=JOB_OUTPUTS,
            uri=uri,
            mongoclient_kwargs=options,
        ),
        additional_stores={
            "data": LargeOutputs(
                database=settings.launchpad_database,
                collection_name=f"{JOB_OUTPUTS}_data",
                uri=uri,
                mongoclient_kwargs=options,
                ensure_metadata=True,
            )
        },
    )
    store.trusted = settings.trusted
    return store


def configure_jobflow(settings: Settings) -> JobStore:
    """Make `settings` decide where this process's jobs put their outputs; return the store."""
    store = job_store(settings)
    jobflow.SETTINGS.JOB_STORE = store
    return store


def is_memory_store(store: JobStore) -> bool:
    """Return whether outputs put into `store` end with the process."""
    return isinstance(store.docs_store, MemoryStore)


def refuse_memory_store(store: JobStore) -> None:
    """Raise unless outputs put into `store` outlive this process.

    Raises
    ------
    LaunchError
        If they do not: a Firework would be COMPLETED and its result lost.
    """
    if is_memory_store(store):
        raise LaunchError(
            "This worker's job store is a MemoryStore, so results would be lost when it ends: "
            "start it with `nearedge run`, which takes the job store from NearEdge's settings."
        )
