"""`nearedge up`, `down` and `status` for whichever database is configured."""

from __future__ import annotations

from dataclasses import dataclass

from nearedge.errors import NearEdgeError
from nearedge.settings import Settings, get_settings
from nearedge.store.connection import connect, initialize, mongo_uri, redacted
from nearedge.store.service import EmbeddedServer, ServerState


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
