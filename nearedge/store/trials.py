"""Trials of searches: all that is needed to go on with one that was stopped."""

from __future__ import annotations

from pymongo import ASCENDING

from nearedge.schemas.trial import TrialDoc
from nearedge.store.blobs import BlobStore
from nearedge.store.operations import MongoDatabase, operation
from nearedge.store.packing import pack, unpack


class TrialStore:
    """Trials by search.

    Parameters
    ----------
    database
        The store's database.
    """

    def __init__(self, database: MongoDatabase) -> None:
        self._trials = database[TrialDoc.collection]
        self._blobs = BlobStore(database)

    @operation
    def of_search(self, search_id: str) -> list[TrialDoc]:
        """Return the trials of a search by number."""
        found = self._trials.find({"search_id": str(search_id)}).sort("number", ASCENDING)
        return unpack(TrialDoc, list(found), self._blobs)

    @operation
    def ask(self, trial: TrialDoc) -> TrialDoc:
        """Store what a trial is to try, and return it; what was asked first stays."""
        stored, _ = pack(trial)
        identifier = stored.pop("_id")
        self._trials.update_one({"_id": identifier}, {"$setOnInsert": stored}, upsert=True)
        found = self._trials.find({"_id": identifier})
        return unpack(TrialDoc, list(found), self._blobs)[0]

    @operation
    def tell(self, trial: TrialDoc) -> None:
        """Store how a trial ended; one that has ended stays as it is."""
        stored, _ = pack(trial)
        identifier = stored.pop("_id")
        self._trials.update_one({"_id": identifier, "state": "asked"}, {"$set": stored})
