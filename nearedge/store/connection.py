"""Where the database is, and how to reach it."""

from __future__ import annotations

import os
import re

from pymongo import MongoClient

from nearedge.errors import SettingsError
from nearedge.settings import Settings, get_settings
from nearedge.store.identity import (
    Identity,
    check_identity,
    check_place,
    establish_identity,
    read_identity,
)
from nearedge.store.indexes import ensure_indexes
from nearedge.store.migrations import migrate
from nearedge.store.objects import configured_storage, use_storage
from nearedge.store.operations import Document, MongoDatabase, database_errors, operation
from nearedge.store.service import EmbeddedServer

_URI = re.compile(
    r"(?P<scheme>mongodb(?:\+srv)?)://(?:(?P<user>[^@/?#]*)@)?(?P<hosts>[^@/?]+)"
    r"(?:/(?P<database>[^?@]*))?(?:\?(?P<options>[^@]*))?"
)
"""No `@` but the one after the password: a password with a bare @, / or ? would otherwise be taken
for a host or a database, and told to whoever reads a message."""
_SOCKET_SECONDS = 120.0
"""Longest wait for one answer; counting a large collection takes the embedded server seconds."""

_clients: dict[tuple[int, str, float], MongoClient[Document]] = {}


def mongo_uri(settings: Settings | None = None, *, database: str | None = None) -> str:
    """Return the URI of the configured MongoDB or of the running embedded server.

    It may hold a password: print `redacted(uri)` instead.

    Parameters
    ----------
    settings
        Default: this process's.
    database
        Put this database's name into the URI's path, as FireWorks' ``uri_mode`` wants; the user is
        still looked up where the configured URI says.

    Raises
    ------
    DatabaseUnavailable
        If no URI is configured and the embedded server does not run.
    SettingsError
        If the configured URI is none.
    """
    settings = settings or get_settings()
    if settings.mongo_uri is None:
        return EmbeddedServer(settings).uri(database)
    uri = settings.mongo_uri.get_secret_value()
    parts = _URI.fullmatch(uri)
    if parts is None:
        raise SettingsError(
            "NEAREDGE_MONGO_URI must look like mongodb://user:password@host:27017/?options, with "
            "@ : / ? # and % in user and password written as %40 %3A %2F %3F %23 and %25."
        )
    if database is None:
        return uri
    # As they stand: some options hold signs that must not be escaped, and some stand twice.
    options = [option for option in (parts["options"] or "").split("&") if option]
    stated = {option.partition("=")[0].lower() for option in options}
    if parts["user"] and "authsource" not in stated:
        # A name in the path would also say where the user is; keep what the URI meant before.
        options.append(f"authSource={parts['database'] or 'admin'}")
    user = f"{parts['user']}@" if parts["user"] else ""
    query = f"?{'&'.join(options)}" if options else ""
    return f"{parts['scheme']}://{user}{parts['hosts']}/{database}{query}"


def redacted(uri: str) -> str:
    """Return `uri` without user, password and options, fit for a message."""
    parts = _URI.fullmatch(uri)
    if parts is None:
        return "(not a MongoDB URI)"
    return f"{parts['scheme']}://{'***@' if parts['user'] else ''}{parts['hosts']}"


def client(settings: Settings | None = None) -> MongoClient[Document]:
    """Return this process's client of the configured database; writes are journalled.

    One client is kept per process and address: it holds a pool of connections and threads.
    """
    settings = settings or get_settings()
    uri = mongo_uri(settings)
    key = (os.getpid(), uri, settings.database_timeout)
    if key not in _clients:
        milliseconds = int(settings.database_timeout * 1000)
        with database_errors():
            _clients[key] = MongoClient(
                uri,
                appname="nearedge",
                tz_aware=True,
                w=1 if settings.mongo_uri is None else "majority",
                journal=True,
                serverSelectionTimeoutMS=milliseconds,
                connectTimeoutMS=connect_milliseconds(settings),
                socketTimeoutMS=int(max(_SOCKET_SECONDS, settings.database_timeout) * 1000),
            )
    return _clients[key]


def connect_milliseconds(settings: Settings) -> int:
    """Return how long a connection, and the driver's question whether it still is one, may take.

    The embedded server answers nobody while it counts a large collection on a busy machine; asked
    in vain, the driver would give up what is being counted. It is on loopback, where a server that
    is gone refuses at once.
    """
    patience = settings.database_timeout
    if settings.mongo_uri is None:
        patience = max(_SOCKET_SECONDS, patience)
    return int(patience * 1000)


@operation
def connect(settings: Settings | None = None) -> MongoDatabase:
    """Return the database after checking that it is NearEdge's and of this release's schema.

    Raises
    ------
    DatabaseUnavailable
        If nothing answers.
    ForeignDatabase
        If what answers is somebody else's.
    SchemaError
        If its documents must be migrated first, or are newer than this release.
    SettingsError
        If it keeps its blobs elsewhere than the settings say.
    """
    settings = settings or get_settings()
    database = client(settings)[settings.database]
    identity = check_identity(database, expected_instance(settings))
    check_place(database.name, identity, settings.blobs)
    use_storage(database, configured_storage(settings), identity.instance)
    return database


@operation
def initialize(settings: Settings | None = None) -> Identity:
    """Make the configured database ready: identity, migrations, indexes. Repeating it is harmless.

    Raises
    ------
    ForeignDatabase
        If the database holds somebody else's collections, or the storage another's blobs.
    SettingsError
        If it keeps its blobs elsewhere than the settings say.
    """
    settings = settings or get_settings()
    database = client(settings)[settings.database]
    storage = configured_storage(settings)
    if storage is not None and read_identity(database) is None:
        storage.refuse_owned()  # before the database says that its blobs are there
    identity = establish_identity(database, expected_instance(settings), settings.blobs)
    check_place(database.name, identity, settings.blobs)
    if storage is not None:
        storage.claim(identity.instance)
    migrate(database)
    ensure_indexes(database)
    return check_identity(database, expected_instance(settings))


def expected_instance(settings: Settings) -> str | None:
    """Return the instance that must answer; None: any, where a MongoDB is configured."""
    return EmbeddedServer(settings).instance if settings.mongo_uri is None else None
