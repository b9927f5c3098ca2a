"""The document that says whose database this is; a ping would say only that a server is there."""

from __future__ import annotations

import uuid
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from pymongo.errors import DuplicateKeyError

from nearedge.errors import DatabaseError, ForeignDatabase, SchemaError, SettingsError
from nearedge.schemas.document import SCHEMA_VERSION, utc_now
from nearedge.store.operations import Document, MongoDatabase

IDENTITY_COLLECTION = "identity"
IDENTITY_ID = "nearedge"


@dataclass(frozen=True)
class Identity:
    """Whose database it is, the version of its documents, and where its blobs are.

    Parameters
    ----------
    blobs
        As ``s3://bucket/prefix``; None: in the database itself.
    """

    instance: str
    schema_version: int
    created_at: datetime
    blobs: str | None = None


def read_identity(database: MongoDatabase) -> Identity | None:
    """Return the identity of `database`, or None if it carries none."""
    found = database[IDENTITY_COLLECTION].find_one({"_id": IDENTITY_ID})
    return None if found is None else _identity(found)


def check_identity(database: MongoDatabase, expected_instance: str | None = None) -> Identity:
    """Return the identity of `database` if this release may work with it.

    Parameters
    ----------
    database
        The database to look into.
    expected_instance
        The instance that it must be, or None for any database of NearEdge.

    Raises
    ------
    ForeignDatabase
        If it belongs to another application or to another instance of NearEdge.
    DatabaseError
        If it is empty: nobody has initialised it.
    SchemaError
        If its documents are of an older or a newer schema than this release's.
    """
    identity = read_identity(database)
    if identity is None:
        if _user_collections(database):
            raise _foreign(database)
        raise DatabaseError(
            f"Database {database.name!r} is empty: run `nearedge up` once to make it NearEdge's."
        )
    if expected_instance is not None and identity.instance != expected_instance:
        raise ForeignDatabase(
            f"Database {database.name!r} belongs to another NearEdge (instance "
            f"{identity.instance}, not {expected_instance}): another server answers at this "
            "address; `nearedge down` and `nearedge up` start your own."
        )
    _check_version(database.name, identity.schema_version)
    return identity


def establish_identity(
    database: MongoDatabase, instance: str | None = None, blobs: str | None = None
) -> Identity:
    """Make an empty database NearEdge's, with its blobs there, or return the identity it has.

    Raises
    ------
    ForeignDatabase
        If it holds collections but no identity: it is somebody else's.
    """
    identity = read_identity(database)
    if identity is not None:
        return identity
    if _user_collections(database):
        # Another process may have made it NearEdge's between the two looks.
        identity = read_identity(database)
        if identity is None:
            raise _foreign(database)
        return identity
    fresh: Document = {
        "instance": instance or str(uuid.uuid4()),
        "schema_version": SCHEMA_VERSION,
        "created_at": utc_now(),
    }
    if blobs is not None:
        fresh["blobs"] = blobs
    # Upsert, so that of two processes that find the database empty one wins and both read the same.
    with suppress(DuplicateKeyError):
        database[IDENTITY_COLLECTION].update_one(
            {"_id": IDENTITY_ID}, {"$setOnInsert": fresh}, upsert=True
        )
    return _identity(database[IDENTITY_COLLECTION].find_one({"_id": IDENTITY_ID}))


def check_place(name: str, identity: Identity, blobs: str | None) -> None:
    """Raise unless the blobs of the database `name` are where the settings say.

    Raises
    ------
    SettingsError
        If they are not: some would be written here and some there.
    """
    if identity.blobs == blobs:
        return
    here = "in itself" if identity.blobs is None else f"in {identity.blobs}"
    there = "no place for them" if blobs is None else blobs
    remedy = "unset it, or let `nearedge blobs move` bring them there"
    if identity.blobs is not None:
        remedy = f"set it to {identity.blobs}"
    raise SettingsError(
        f"Database {name!r} keeps its blobs {here}, and NEAREDGE_BLOBS names {there}: {remedy}."
    )


def note_place(database: MongoDatabase, blobs: str) -> None:
    """Let a database remember that its blobs are there."""
    database[IDENTITY_COLLECTION].update_one({"_id": IDENTITY_ID}, {"$set": {"blobs": blobs}})


def _identity(stored: Document | None) -> Identity:
    if stored is None:
        raise DatabaseError("The database did not keep its identity document.")
    return Identity(
        instance=str(stored["instance"]),
        schema_version=int(stored["schema_version"]),
        created_at=stored["created_at"],
        blobs=stored.get("blobs"),
    )


def _user_collections(database: MongoDatabase) -> list[str]:
    return [name for name in database.list_collection_names() if not name.startswith("system.")]


def _foreign(database: MongoDatabase) -> ForeignDatabase:
    return ForeignDatabase(
        f"Database {database.name!r} holds collections of another application and no identity of "
        "NearEdge: name an empty database in NEAREDGE_DATABASE."
    )


def _check_version(name: str, version: int) -> None:
    if version > SCHEMA_VERSION:
        raise SchemaError(
            f"Database {name!r} has schema version {version} and this NearEdge knows "
            f"{SCHEMA_VERSION}: install a newer NearEdge."
        )
    if version < SCHEMA_VERSION:
        raise SchemaError(
            f"Database {name!r} has schema version {version}, older than this NearEdge's "
            f"{SCHEMA_VERSION}: run `nearedge up`, which migrates it."
        )
