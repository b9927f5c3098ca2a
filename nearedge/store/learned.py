"""Frozen data sets and trained models."""

from __future__ import annotations

import hashlib
from typing import Generic, TypeVar

from pymongo import DESCENDING

from nearedge.errors import DatabaseError
from nearedge.schemas.dataset import DatasetDoc
from nearedge.schemas.document import Document, utc_now
from nearedge.schemas.model import ModelCard
from nearedge.store.blobs import BlobStore
from nearedge.store.operations import MongoDatabase, operation
from nearedge.store.packing import pack, unpack

D = TypeVar("D", bound=Document)


class NamedStore(Generic[D]):
    """Documents found by id, or by name: the newest of that name."""

    _cls: type[D]
    _what: str

    def __init__(self, database: MongoDatabase) -> None:
        self._documents = database[self._cls.collection]
        self._blobs = BlobStore(database)

    @operation
    def _insert(self, document: D) -> None:
        stored, blobs = pack(document)
        self._blobs.put_many(blobs)
        identifier = stored.pop("_id")
        self._documents.update_one({"_id": identifier}, {"$setOnInsert": stored}, upsert=True)

    @operation
    def _find(self, name_or_id: str) -> D | None:
        condition = {"$or": [{"_id": str(name_or_id)}, {"name": str(name_or_id)}]}
        found = list(self._documents.find(condition).sort("created_at", DESCENDING).limit(1))
        return unpack(self._cls, found, self._blobs)[0] if found else None

    @operation
    def list(self) -> list[D]:
        """Return all of them, the newest first."""
        found = list(self._documents.find({}).sort("created_at", DESCENDING))
        return unpack(self._cls, found, self._blobs)

    def _get(self, name_or_id: str) -> D:
        found = self._find(name_or_id)
        if found is not None:
            return found
        names = ", ".join(sorted({str(d["name"]) for d in self._documents.find({}, {"name": 1})}))
        raise DatabaseError(
            f"There is no {self._what} {name_or_id!r} in the database; there are: "
            f"{names or 'none'}."
        )


class DatasetStore(NamedStore[DatasetDoc]):
    """Frozen data sets."""

    _cls = DatasetDoc
    _what = "data set"

    def put(self, dataset: DatasetDoc) -> None:
        """Store a data set; storing it again changes nothing."""
        self._insert(dataset)

    def get(self, name_or_id: str) -> DatasetDoc:
        """Return a data set by id, or the newest of a name.

        Raises
        ------
        DatabaseError
            If there is none, naming those that there are.
        """
        return self._get(name_or_id)


class ModelStore(NamedStore[ModelCard]):
    """Trained models: cards, and their weights as blobs."""

    _cls = ModelCard
    _what = "model"

    def put(self, card: ModelCard, weights: bytes, left_out: bytes | None = None) -> ModelCard:
        """Store a model and return its card as stored; storing it again changes nothing.

        Parameters
        ----------
        left_out
            Training rows as predicted with their material left out, as a safetensors file.

        Raises
        ------
        DatabaseError
            If the weights are not those that the card was written for.
        """
        digest = hashlib.sha256(weights).hexdigest()
        if digest != card.weights_sha256:
            raise DatabaseError(
                f"The weights of model {card.name!r} have SHA-256 {digest}, but its card says "
                f"{card.weights_sha256}."
            )
        blobs = {"weights_blob": self._blobs.put(weights)}
        if left_out is not None:
            blobs["left_out_blob"] = self._blobs.put(left_out)
        stored = card.model_copy(update=blobs)
        self._insert(stored)
        return self._checked(self._get(stored.model_id))

    def get(self, name_or_id: str) -> tuple[ModelCard, bytes]:
        """Return a model by id, or the newest of a name, with its weights.

        Raises
        ------
        DatabaseError
            If there is none, or its card or weights are damaged.
        """
        card = self.card(name_or_id)
        if card.weights_blob is None:
            raise DatabaseError(f"Model {card.name!r} was stored without its weights: train again.")
        return card, self._blobs.get(card.weights_blob)

    def chain(self, name_or_id: str) -> list[tuple[ModelCard, bytes]]:
        """Return a model, the one that predicts the spectra it takes as an input, and so on."""
        card, weights = self.get(name_or_id)
        below = [] if card.input_model is None else self.chain(card.input_model)
        return [(card, weights), *below]

    def card(self, name_or_id: str) -> ModelCard:
        """Return the card alone.

        Raises
        ------
        DatabaseError
            If there is none, or it is not what was sealed.
        """
        return self._checked(self._get(name_or_id))

    def left_out(self, card: ModelCard) -> bytes | None:
        """Return what was stored beside the weights of the training rows left out, or None."""
        return None if card.left_out_blob is None else self._blobs.get(card.left_out_blob)

    @operation
    def trained(self, training_id: str) -> list[ModelCard]:
        """Return the models that came of a training, the newest first; their blobs are there."""
        if not training_id:
            return []
        found = self._documents.find({"training_id": str(training_id)})
        cards = unpack(ModelCard, list(found.sort("created_at", DESCENDING)), self._blobs)
        return [self._checked(card) for card in cards]

    def renamed(self, card: ModelCard, model_id: str, name: str) -> ModelCard:
        """Store a model under a further name and return that card; the weights are shared."""
        changes = {"model_id": model_id, "name": name, "created_at": utc_now()}
        other = card.model_copy(update=changes).sealed()
        self._insert(other)
        return self._checked(self._get(model_id))

    @staticmethod
    def _checked(card: ModelCard) -> ModelCard:
        if card.intact is False:
            raise DatabaseError(
                f"The card of the model {card.name!r} ({card.model_id}) does not have the digest "
                "that it states: it was changed after training. Train again."
            )
        return card
