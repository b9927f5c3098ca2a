"""Convergences: what was raised, and what it came to."""

from __future__ import annotations

from collections.abc import Sequence

from pymongo import DESCENDING

from nearedge.schemas.convergence import ConvergenceDoc
from nearedge.store.blobs import BlobStore
from nearedge.store.operations import MongoDatabase, operation
from nearedge.store.packing import pack, unpack

_ONCE = ("created_at", "projects")
"""Fields that a later version of a document does not replace."""


class ConvergenceStore:
    """Convergences, one document each; a later one takes the place of an earlier.

    What a document says follows from the calculations in the store, so that writing it again is
    harmless, whoever does.
    """

    def __init__(self, database: MongoDatabase) -> None:
        self._documents = database[ConvergenceDoc.collection]
        self._blobs = BlobStore(database)

    @operation
    def put(self, convergence: ConvergenceDoc) -> ConvergenceDoc:
        """Store what is known now, adding projects to those it has, and return it as stored."""
        stored, _ = pack(convergence)
        identifier = stored.pop("_id")
        self._documents.update_one(
            {"_id": identifier},
            {
                "$setOnInsert": {"created_at": stored["created_at"]},
                "$set": {name: value for name, value in stored.items() if name not in _ONCE},
                "$addToSet": {"projects": {"$each": stored["projects"]}},
            },
            upsert=True,
        )
        found = list(self._documents.find({"_id": identifier}))
        return unpack(ConvergenceDoc, found, self._blobs)[0]

    @operation
    def get(self, convergence_id: str) -> ConvergenceDoc | None:
        """Return a convergence, or None."""
        found = self._documents.find_one({"_id": str(convergence_id)})
        return None if found is None else unpack(ConvergenceDoc, [found], self._blobs)[0]

    @operation
    def listing(
        self,
        *,
        code: str | None = None,
        project: str | None = None,
        structure_keys: Sequence[str] | None = None,
    ) -> list[ConvergenceDoc]:
        """Return those that fit, the newest first."""
        condition: dict[str, object] = {}
        if code is not None:
            condition["code"] = str(code)
        if project is not None:
            condition["projects"] = str(project)
        if structure_keys is not None:
            condition["structure_key"] = {"$in": [str(key) for key in structure_keys]}
        found = list(self._documents.find(condition).sort("created_at", DESCENDING))
        return unpack(ConvergenceDoc, found, self._blobs)
