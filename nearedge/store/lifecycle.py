"""`nearedge up`, `down` and `status` for whichever database is configured."""

from __future__ import annotations

from dataclasses import dataclass

from nearedge.errors import NearEdgeError
from nearedge.settings import Settings, get_settings
from nearedge.store.connection import connect, initialize, mongo_uri, redacted
from nearedge.store.objects import configured_storage, storage_of
from nearedge.store.service import EmbeddedServer, ServerState


@dataclass(frozen=True)
class BlobsState:
    """Where the blobs of a database are, and whether they can be reached.

    Parameters
    ----------
    where
        As ``s3://bucket/prefix``, with its endpoint if one is set, or ``database``.
    usable
        Whether they can be reached now.
    detail
        One sentence for people.
    """

    where: str
    usable: bool
    detail: str


@dataclass(frozen=True)
class DatabaseState:
    """Which database is configured and how it is.

    Parameters
    ----------
    where
        Its address without user and password, or ``embedded``.
    usable
        Whether the store can work with it now.
    detail
        One sentence for people.
    server
        The embedded server's state; None for a configured MongoDB.
    """

    where: str
    usable: bool
    detail: str
    server: ServerState | None = None


def up(settings: Settings | None = None) -> DatabaseState:
    """Start the embedded server if it is the one configured, and make the database ready."""
    settings = settings or get_settings()
    if settings.mongo_uri is None:
        state = EmbeddedServer(settings).up()
        initialize(settings)
        return DatabaseState("embedded", True, state.detail, state)
    where = redacted(mongo_uri(settings))
    identity = initialize(settings)
    return DatabaseState(
        where, True, f"Database {settings.database!r} at {where} is ready ({identity.instance})."
    )


def down(settings: Settings | None = None) -> DatabaseState:
    """End the embedded server; a MongoDB of yours is left alone."""
    settings = settings or get_settings()
    if settings.mongo_uri is not None:
        where = redacted(mongo_uri(settings))
        return DatabaseState(where, True, f"The MongoDB at {where} is yours: it is left running.")
    state = EmbeddedServer(settings).down()
    return DatabaseState("embedded", False, state.detail, state)


def status(settings: Settings | None = None) -> DatabaseState:
    """Say how the configured database is; never raises for a database that is down or foreign."""
    settings = settings or get_settings()
    server = None
    where = "embedded"
    try:
        if settings.mongo_uri is None:
            server = EmbeddedServer(settings).status()
        if server is not None and server.status != "running":
            return DatabaseState(where, False, server.detail, server)
        if server is None:
            where = redacted(mongo_uri(settings))
        connect(settings)
    except NearEdgeError as error:
        return DatabaseState(where, False, str(error), server)
    detail = server.detail if server else f"Database {settings.database!r} at {where} answers."
    return DatabaseState(where, True, detail, server)


def blobs(settings: Settings) -> BlobsState:
    """Say where blobs are; never raises for storage or a database that is away."""
    storage = configured_storage(settings)
    where = "database" if storage is None else storage.where
    try:
        storage_of(connect(settings))
    except NearEdgeError as error:
        return BlobsState(where, False, str(error))
    told = "Blobs are in the database." if storage is None else f"Blobs are in {where}: it answers."
    return BlobsState(where, True, told)
