"""Insert first, update only what is there: an upsert costs the embedded server three insertions."""

from __future__ import annotations

from collections.abc import Sequence

from pymongo.collection import Collection
from pymongo.errors import BulkWriteError

from nearedge.store.operations import Document

_DUPLICATE_KEY = 11000


def insert_missing(
    collection: Collection[Document], documents: Sequence[Document]
) -> list[Document]:
    """Insert the documents whose `_id` is not there yet; return those whose is, untouched."""
    if not documents:
        return []
    try:
        collection.insert_many([dict(document) for document in documents], ordered=False)
    except BulkWriteError as error:
        failures = (error.details or {}).get("writeErrors", [])
        if any(failure.get("code") != _DUPLICATE_KEY for failure in failures):
            raise
        return [documents[failure["index"]] for failure in failures]
    return []
