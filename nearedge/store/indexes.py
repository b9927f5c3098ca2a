"""The indexes that serve every question the store answers."""

from __future__ import annotations

from pymongo import ASCENDING

from nearedge.store.operations import MongoDatabase, operation

_KEY = "structure_key"
_BROAD = ("projects", "elements", "absorber", "code", "protocol", "parameters_id", "state")
_WALKED = (
    ("formula", _KEY),
    ("chemsys", _KEY),
    ("projects", "absorber", _KEY),
    ("projects", "code", _KEY),
    ("absorber", "code", _KEY),
    *((field, _KEY) for field in _BROAD),
)
"""Conditions that may leave many go on with the key by which a walk (`nearedge.store.walking`)
goes through them in pieces; the narrowest are first. A pair is of conditions that may each leave
less than a tenth: of others, one is looked up and the other compared."""

INDEXES: dict[str, tuple[tuple[str, ...], ...]] = {
    "spectra": (
        *_WALKED,
        ("kind", _KEY),
        (_KEY,),
        ("structure_id",),
        ("calculation_ids",),
    ),
    "calculations": (
        *_WALKED,
        (_KEY,),
        ("structure_id",),
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


_WHAT = ("absorber", "edge", "code", "protocol")
_RETIRED: dict[str, tuple[tuple[str, ...], ...]] = {
    "spectra": (
        (*_WHAT, "kind", "state"),
        ("formula",),
        ("chemsys",),
        ("projects",),
        ("elements",),
        ("code", "protocol"),
        ("parameters_id",),
        ("kind", "state"),
        ("state",),
    ),
    "calculations": (
        (*_WHAT, "state"),
        ("formula",),
        ("chemsys",),
        ("projects",),
        ("elements",),
        ("code", "protocol"),
        ("parameters_id",),
        ("state", "code"),
    ),
}
"""Indexes of earlier releases, which no question needs any more."""


@operation
def ensure_indexes(database: MongoDatabase) -> None:
    """Create the indexes that are missing, and drop those that only earlier releases asked."""
    for collection, keys in INDEXES.items():
        there = database[collection].index_information()
        for fields in keys:
            # One after the other: on a large store each takes the embedded server seconds. Always
            # in the background: it refuses to see an existing index again under another value.
            if _name(fields) not in there:
                database[collection].create_index(
                    [(field, ASCENDING) for field in fields], background=True
                )
    for collection, retired in _RETIRED.items():
        for name in {*map(_name, retired)} & set(database[collection].index_information()):
            database[collection].drop_index(name)


def _name(fields: tuple[str, ...]) -> str:
    return "_".join(f"{field}_{ASCENDING}" for field in fields)
