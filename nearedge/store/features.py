"""Features of structures, computed once per featurizer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from bson import Binary
from numpy.typing import NDArray
from pymongo import UpdateOne

from nearedge.errors import DatabaseError
from nearedge.schemas.document import SCHEMA_VERSION, content_hash, utc_now
from nearedge.schemas.model import FeaturizerRef
from nearedge.store.batches import batches
from nearedge.store.blobs import BlobStore, blob_id
from nearedge.store.operations import Document, MongoDatabase, operation

FEATURES = "features"
_INLINE = 2**18

Features = NDArray[np.floating]
"""One row per site, in the order of the exact structure: shape ``(nsites, size)``."""


class FeatureStore:
    """Features by exact structure and featurizer.

    Parameters
    ----------
    database
        The store's database.
    """

    def __init__(self, database: MongoDatabase) -> None:
        self._features = database[FEATURES]
        self._blobs = BlobStore(database)

    def get(self, structure_key: str, featurizer: FeaturizerRef) -> Features | None:
        """Return the features of a structure, shape ``(nsites, size)``, or None."""
        return self.get_many([structure_key], featurizer).get(structure_key)

    def get_many(
        self, structure_keys: Iterable[str], featurizer: FeaturizerRef
    ) -> dict[str, Features]:
        """Return the features of many structures by key; those not computed are left out.

        Raises
        ------
        DatabaseError
            If stored features do not match their hash.
        """
        found: dict[str, Features] = {}
        for batch in batches(dict.fromkeys(structure_keys)):
            found |= self._whole(batch, featurizer)
        return found

    def sites(
        self, places: Sequence[tuple[str, int]], featurizer: FeaturizerRef
    ) -> tuple[Features, list[int]]:
        """Return the features of some sites, without ever holding those of all their neighbours.

        Parameters
        ----------
        places
            Structure key and number of each site.

        Returns
        -------
        Features
            In float64, shape ``(len(places), featurizer.size)``; rows that are lacking are zero.
        list of int
            Numbers of the places whose structure has no such features.
        """
        rows = np.zeros((len(places), featurizer.size))
        numbers: dict[str, list[int]] = {}
        for number, (key, _) in enumerate(places):
            numbers.setdefault(key, []).append(number)
        lacking = []
        for batch in batches(numbers):
            found = self._whole(batch, featurizer)
            for key in batch:
                if key not in found:
                    lacking += numbers[key]
                    continue
                for number in numbers[key]:
                    rows[number] = found[key][places[number][1]]
        return rows, sorted(lacking)

    def missing(self, structure_keys: Iterable[str], featurizer: FeaturizerRef) -> list[str]:
        """Return the keys of structures without these features, each once, reading none."""
        missing: list[str] = []
        for batch in batches(dict.fromkeys(structure_keys)):
            known = set(batch)
            for part in featurizer.parts or (featurizer,):
                known &= self._known(batch, part)
            missing += [key for key in batch if key not in known]
        return missing

    def put(self, structure_key: str, featurizer: FeaturizerRef, features: Features) -> None:
        """Store the features of a structure; storing them again changes nothing.

        Raises
        ------
        DatabaseError
            If their shape is not ``(nsites, featurizer.size)`` or a number is not finite.
        """
        self.put_many({structure_key: features}, featurizer)

    @operation
    def put_many(self, features: Mapping[str, Features], featurizer: FeaturizerRef) -> None:
        """Store the features of many structures by key; see `put`.

        Those of a sum are stored part by part, so that other sums find them.
        """
        if featurizer.parts:
            for key, array in features.items():
                _checked(key, array, featurizer)
            first = 0
            for part in featurizer.parts:
                columns = slice(first, first + part.size)
                self.put_many({key: a[:, columns] for key, a in features.items()}, part)
                first += part.size
            return
        blobs: dict[str, bytes] = {}
        updates = []
        for key, array in features.items():
            content = _checked(key, array, featurizer)
            stored, digest = content.tobytes(), blob_id(content.tobytes())
            document: Document = {
                "schema_version": SCHEMA_VERSION,
                "created_at": utc_now(),
                "structure_key": key,
                "featurizer": featurizer.model_dump(),
                "shape": list(content.shape),
                "dtype": content.dtype.str,
                "sha256": digest,
                "blob": None,
            }
            if len(stored) > _INLINE:
                blobs[digest] = stored
                document["blob"] = digest
            else:
                document["data"] = Binary(stored)
            updates.append(
                UpdateOne({"_id": _id(key, featurizer)}, {"$setOnInsert": document}, upsert=True)
            )
        self._blobs.put_many(blobs)
        if updates:
            self._features.bulk_write(updates, ordered=False)

    def _whole(self, keys: list[str], featurizer: FeaturizerRef) -> dict[str, Features]:
        """Return features by key, those of a sum put together of its parts."""
        if not featurizer.parts:
            return self._batch(keys, featurizer)
        parts = [self._batch(keys, part) for part in featurizer.parts]
        in_all = [key for key in keys if all(key in part for part in parts)]
        return {key: np.concatenate([part[key] for part in parts], axis=1) for key in in_all}

    @operation
    def _known(self, keys: list[str], featurizer: FeaturizerRef) -> set[str]:
        condition = {"_id": {"$in": [_id(key, featurizer) for key in keys]}}
        found = self._features.find(condition, {"structure_key": True})
        return {str(each["structure_key"]) for each in found}

    @operation
    def _batch(self, keys: list[str], featurizer: FeaturizerRef) -> dict[str, Features]:
        condition = {"_id": {"$in": [_id(key, featurizer) for key in keys]}}
        found = list(self._features.find(condition))
        contents = self._blobs.get_many({str(f["blob"]) for f in found if f["blob"]})
        return {str(f["structure_key"]): _array(f, contents) for f in found}


def _id(structure_key: str, featurizer: FeaturizerRef) -> str:
    return content_hash(["features", structure_key, featurizer.model_dump()])


def _checked(key: str, features: Features, featurizer: FeaturizerRef) -> Features:
    if features.ndim != 2 or features.shape[1] != featurizer.size:
        raise DatabaseError(
            f"Features of structure {key} must have shape (sites, {featurizer.size}), not "
            f"{features.shape}."
        )
    if not np.all(np.isfinite(features)):
        raise DatabaseError(f"Features of structure {key} hold numbers that are not finite.")
    return np.ascontiguousarray(features, dtype=features.dtype.newbyteorder("<"))


def _array(stored: Document, contents: Mapping[str, bytes]) -> Features:
    content = contents[str(stored["blob"])] if stored["blob"] else bytes(stored["data"])
    if blob_id(content) != stored["sha256"]:
        raise DatabaseError(
            f"The stored features of structure {stored['structure_key']} are damaged: remove them "
            "from the collection `features`, and they are computed again."
        )
    return (
        np.frombuffer(content, dtype=np.dtype(str(stored["dtype"]))).reshape(stored["shape"]).copy()
    )
