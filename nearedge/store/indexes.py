"""The indexes that serve every question the store answers."""

from __future__ import annotations

from pymongo import ASCENDING, IndexModel

from nearedge.store.operations import MongoDatabase, operation

_SITE = ("absorber", "edge", "code", "protocol")

INDEXES: dict[str, tuple[tuple[str, ...], ...]] = {
    "spectra": (
        (*_SITE, "kind", "state"),
        ("formula", "absorber", "edge"),
        ("structure_id", "absorber", "edge"),
        ("structure_key", "absorber", "edge"),
        ("projects", "absorber", "edge"),
        ("elements", "absorber", "edge"),
        ("calculation_ids",),
        ("parameters_id",),
        ("code", "protocol"),
        ("kind", "state"),
        ("state",),
    ),
    "calculations": (
        (*_SITE, "state"),
        ("formula", "absorber", "edge"),
        ("structure_id", "absorber", "edge"),
        ("structure_key", "absorber", "edge"),
        ("projects", "state"),
        ("elements", "absorber", "edge"),
        ("parameters_id",),
        ("code", "protocol"),
        ("state", "code"),
    ),
    "structures": (("structure_id",), ("formula",), ("elements",)),
    "features": (("structure_key",),),
    "datasets": (("name",),),
    "models": (("name",),),
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
