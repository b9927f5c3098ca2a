"""The indexes that serve every question the store answers."""

from __future__ import annotations

from pymongo import ASCENDING, IndexModel

from nearedge.store.operations import MongoDatabase, operation

_WHAT = ("absorber", "edge", "code", "protocol")
_NARROW = ("structure_key", "structure_id", "formula", "chemsys", "projects", "elements")
"""Fields that alone leave few documents: what else is asked for is checked on those."""

INDEXES: dict[str, tuple[tuple[str, ...], ...]] = {
    "spectra": (
        (*_WHAT, "kind", "state"),
        *((field,) for field in _NARROW),
        ("calculation_ids",),
        ("code", "protocol"),
        ("parameters_id",),
        ("kind", "state"),
        ("state",),
    ),
    "calculations": (
        (*_WHAT, "state"),
        *((field,) for field in _NARROW),
        ("code", "protocol"),
        ("parameters_id",),
        ("state", "code"),
        ("restart_key",),
        # What `nearedge.store.sums` and the counts of failures ask.
        ("state", "created_at"),
        ("projects", "state"),
        ("filed_at",),
    ),
    "structures": (("structure_id",),),
    "features": (("structure_key",),),
    "datasets": (("name",),),
    "models": (("name",), ("training_id",)),
    "trials": (("search_id",),),
    "styles": (("name",),),
    "convergences": (("structure_key",), ("code", "protocol"), ("projects",)),
    "benchmarks": (("projects",),),
    "relaxations": (("state",), ("projects",)),
    "blobs": (("stored_at",),),
    "blob_chunks": (("blob",),),
}
"""Collection to indexes; an equality on the leading fields of one finds its documents in it."""


@operation
def ensure_indexes(database: MongoDatabase) -> None:
    """Create the indexes that are missing."""
    for collection, keys in INDEXES.items():
        # Always in the background: the embedded server refuses to see an existing index again
        # under another value of that option.
        database[collection].create_indexes(
            [
                IndexModel([(field, ASCENDING) for field in fields], background=True)
                for fields in keys
            ]
        )
