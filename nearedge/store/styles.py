"""Descriptors of absorbing sites, and trained styles."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

from pymongo import DESCENDING, UpdateOne

from nearedge.errors import DatabaseError
from nearedge.schemas.styles import DescriptorsDoc, StylesDoc, descriptors_id
from nearedge.store.batches import batches
from nearedge.store.blobs import BlobStore
from nearedge.store.learned import NamedStore
from nearedge.store.operations import MongoDatabase, operation
from nearedge.store.packing import pack, unpack


class DescriptorStore:
    """Descriptors by exact structure and absorber, as they are computed today."""

    def __init__(self, database: MongoDatabase) -> None:
        self._documents = database[DescriptorsDoc.collection]
        self._blobs = BlobStore(database)

    @operation
    def get_many(self, structure_keys: Iterable[str], absorber: str) -> dict[str, DescriptorsDoc]:
        """Return the descriptors of many structures by key; those not computed are left out."""
        found: dict[str, DescriptorsDoc] = {}
        for batch in batches(dict.fromkeys(structure_keys)):
            condition = {"_id": {"$in": [descriptors_id(key, absorber) for key in batch]}}
            stored = list(self._documents.find(condition))
            found |= {
                each.structure_key: each for each in unpack(DescriptorsDoc, stored, self._blobs)
            }
        return found

    @operation
    def put_many(self, documents: Sequence[DescriptorsDoc]) -> None:
        """Store descriptors; storing them again changes nothing."""
        updates = []
        for document in documents:
            stored, _ = pack(document)
            identifier = stored.pop("_id")
            updates.append(UpdateOne({"_id": identifier}, {"$setOnInsert": stored}, upsert=True))
        if updates:
            self._documents.bulk_write(updates, ordered=False)


class StylesStore(NamedStore[StylesDoc]):
    """Trained styles: cards, and their weights as blobs."""

    _cls = StylesDoc
    _what = "set of styles"

    def put(self, card: StylesDoc, weights: bytes) -> StylesDoc:
        """Store styles and return their card as stored; storing them again changes nothing.

        Raises
        ------
        DatabaseError
            If the weights are not those that the card was written for.
        """
        if hashlib.sha256(weights).hexdigest() != card.weights_sha256:
            raise DatabaseError(f"The weights of the styles {card.name!r} are not their card's.")
        stored = card.model_copy(update={"weights_blob": self._blobs.put(weights)})
        self._insert(stored)
        return stored

    def get(self, name_or_id: str) -> StylesDoc:
        """Return the card of an id, or the newest of a name.

        Raises
        ------
        DatabaseError
            If there is none, naming those that there are.
        """
        return self._get(name_or_id)

    def weights(self, card: StylesDoc) -> bytes:
        """Return the weights of a stored card.

        Raises
        ------
        DatabaseError
            If they are missing or damaged.
        """
        if card.weights_blob is None:
            raise DatabaseError(f"The styles {card.name!r} were stored without weights.")
        return self._blobs.get(card.weights_blob)

    @operation
    def named(self, name_or_id: str) -> list[StylesDoc]:
        """Return all styles of a name, or the one of an id: the seeds of one training."""
        condition = {"$or": [{"_id": str(name_or_id)}, {"name": str(name_or_id)}]}
        found = list(self._documents.find(condition).sort("created_at", DESCENDING))
        return unpack(StylesDoc, found, self._blobs)
