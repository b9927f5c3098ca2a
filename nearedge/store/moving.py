"""Bringing blobs from a database to S3-compatible storage, and taking away what nobody names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from nearedge.errors import DatabaseError, SettingsError
from nearedge.settings import Settings
from nearedge.store.batches import batches
from nearedge.store.blobs import BlobStore
from nearedge.store.claims import Claims
from nearedge.store.connection import client, connect, expected_instance
from nearedge.store.identity import check_identity, check_place, note_place
from nearedge.store.objects import configured_storage, use_storage
from nearedge.store.operations import operation
from nearedge.store.spectra_store import SpectraStore

_BATCH = 25
"""Blobs in memory at once: the weights of a model have megabytes, the restart of a code more."""


@operation
def prepare_move(settings: Settings) -> BlobStore:
    """Let the blobs of the database be in the storage of the settings from now on.

    Those that are in the database stay readable there until `move` brings them.

    Raises
    ------
    SettingsError
        If the settings name no storage, or the blobs are in another.
    DatabaseError
        If somebody works with the database, who would go on writing blobs into it.
    ForeignDatabase
        If the storage holds another database's blobs.
    """
    storage = configured_storage(settings)
    if storage is None:
        raise SettingsError("Name where the blobs are to be, as NEAREDGE_BLOBS=s3://bucket/prefix.")
    database = client(settings)[settings.database]
    identity = check_identity(database, expected_instance(settings))
    if identity.blobs is not None:
        check_place(database.name, identity, settings.blobs)
    elif claims := [each for each in Claims(database).live() if each.owner != "dead"]:
        raise DatabaseError(
            f"{claims[0].host} works on calculations (process {claims[0].pid}), and would go on "
            "writing blobs into the database: end all workers before blobs are moved."
        )
    storage.claim(identity.instance)
    note_place(database, storage.place)
    use_storage(database, storage, identity.instance)
    return BlobStore(database)


def move(blobs: BlobStore, moved: Callable[[int], None] = lambda count: None) -> int:
    """Bring all blobs that are still in the database to its storage; return how many.

    May be interrupted at any moment, and goes on when it is called again.

    Parameters
    ----------
    blobs
        As `prepare_move` returned.
    moved
        Called after each few with how many were brought.

    Raises
    ------
    DatabaseError
        If the content of some is damaged: they stay as they are, and all others have been brought.
    """
    total = 0
    left: set[str] = set()
    for batch in batches(blobs.ids_in_database(), _BATCH):
        count, damaged = blobs.move_out(batch)
        moved(count)
        total += count
        left |= damaged
    blobs.drop_moved_chunks()
    # Without those that another move has brought between a look at the head and at the content.
    if left and (left := left.intersection(blobs.ids_in_database())):
        are = "1 blob is" if len(left) == 1 else f"{len(left)} blobs are"
        raise DatabaseError(
            f"{are} damaged and in the database still, such as {min(left)}: compute or ingest "
            "again what names it; all others have been moved."
        )
    return total


@dataclass(frozen=True)
class Unnamed:
    """What nobody names: blobs that no document does, and objects that no blob does."""

    blobs: frozenset[str]
    objects: tuple[str, ...]


def unnamed(settings: Settings, older_than: timedelta) -> Unnamed:
    """Return what writers left that were killed, at least so long ago."""
    store = SpectraStore(connect(settings))
    return Unnamed(
        frozenset(store.orphans(older_than=older_than)),
        tuple(store.blobs.unnamed_objects(older_than=older_than)),
    )


def remove_unnamed(settings: Settings, found: Unnamed, older_than: timedelta) -> int:
    """Remove what `unnamed` found, blobs that were put again since left out; return how many."""
    blobs = BlobStore(connect(settings))
    removed = blobs.remove(found.blobs, older_than=older_than)
    blobs.remove_objects(found.objects)
    return removed + len(found.objects)
