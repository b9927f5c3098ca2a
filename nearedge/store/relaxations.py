"""Relaxations: each is done once, whatever asks for it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from pymongo import ASCENDING

from nearedge.schemas.calculation import COMPLETED
from nearedge.schemas.relaxation import RelaxationDoc
from nearedge.store.batches import batches
from nearedge.store.blobs import BlobStore
from nearedge.store.operations import MongoDatabase, operation
from nearedge.store.packing import pack, unpack


class RelaxationStore:
    """What structures were relaxed to, or why they could not be.

    Parameters
    ----------
    database
        A database that `nearedge.store.connection.connect` returned.
    """

    def __init__(self, database: MongoDatabase) -> None:
        self._documents = database[RelaxationDoc.collection]
        self._blobs = BlobStore(database)

    @operation
    def put(self, relaxation: RelaxationDoc) -> None:
        """Store a relaxation, after its structures; a completed one is never replaced."""
        stored, _ = pack(relaxation)
        identifier = stored.pop("_id")
        open_ = {"_id": identifier, "state": {"$ne": COMPLETED}}
        if self._documents.replace_one(open_, stored).matched_count == 0:
            self._documents.update_one({"_id": identifier}, {"$setOnInsert": stored}, upsert=True)

    @operation
    def get(self, relaxation_id: str) -> RelaxationDoc | None:
        """Return a relaxation, or None."""
        return self.get_many([relaxation_id]).get(relaxation_id)

    @operation
    def get_many(self, relaxation_ids: Iterable[str]) -> dict[str, RelaxationDoc]:
        """Return relaxations by id; those that are not there are left out."""
        found = []
        for batch in batches(str(each) for each in relaxation_ids):
            found += list(self._documents.find({"_id": {"$in": batch}}))
        read = unpack(RelaxationDoc, found, self._blobs)
        return {each.relaxation_id: each for each in read}

    @operation
    def add_project(self, relaxation_ids: Iterable[str], project: str) -> None:
        """File relaxations under a project."""
        for batch in batches(str(each) for each in relaxation_ids):
            condition = {"_id": {"$in": batch}}
            self._documents.update_many(condition, {"$addToSet": {"projects": project}})

    @operation
    def failed(
        self, *, project: str | None = None, since: datetime | None = None
    ) -> list[RelaxationDoc]:
        """Return what failed by name, the earliest first."""
        condition: dict[str, object] = {"state": {"$ne": COMPLETED}}
        if project is not None:
            condition["projects"] = str(project)
        if since is not None:
            condition["created_at"] = {"$gte": since}
        found = list(self._documents.find(condition).sort("created_at", ASCENDING))
        return unpack(RelaxationDoc, found, self._blobs)
