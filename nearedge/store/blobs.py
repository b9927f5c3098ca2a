"""Bytes too large for a document, kept under their SHA-256.

A blob is written before the document that names it. Whoever is killed in between leaves a blob that
nobody names: harmless, found by `SpectraStore.orphans`, and taken up again by the repetition.
"""

from __future__ import annotations

import hashlib
import uuid
import zlib
from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta

from bson import Binary
from pymongo import UpdateOne

from nearedge.errors import DatabaseError
from nearedge.schemas.document import SCHEMA_VERSION, utc_now
from nearedge.store.operations import Document, MongoDatabase, operation
from nearedge.store.writing import insert_missing

BLOBS = "blobs"
CHUNKS = "blob_chunks"
PREFIX = "blob:"
"""A string in a document that begins like this stands for the blob whose id follows."""

_CHUNK = 4 * 2**20
"""Bytes per chunk: well under the 16 MB of a document and the 10 MB of a journal segment."""
_INLINE = 2**18
"""Bytes up to which the blob's own document holds the content."""
_BATCH_BYTES = 8 * 2**20


def blob_id(content: bytes) -> str:
    """Return the id of `content`: the hex digits of its SHA-256."""
    return hashlib.sha256(content).hexdigest()


class BlobStore:
    """Content-addressed bytes of any size."""

    def __init__(self, database: MongoDatabase) -> None:
        self._blobs = database[BLOBS]
        self._chunks = database[CHUNKS]

    @operation
    def put(self, content: bytes) -> str:
        """Store `content` and return its id; storing it again changes nothing."""
        identifier = blob_id(content)
        self._put({identifier: content})
        return identifier

    @operation
    def put_many(self, contents: Mapping[str, bytes], *, attempt: str | None = None) -> None:
        """Store many small blobs at once, given under their ids.

        Parameters
        ----------
        contents
            The blobs.
        attempt
            A name of who puts them, by which `withdraw` finds what nobody else has put.
        """
        self._put(contents, attempt)

    @operation
    def withdraw(self, identifiers: Collection[str], attempt: str) -> None:
        """Remove small blobs that this attempt has put first, unless anybody put them since.

        Large ones stay until `SpectraStore.orphans` finds them: their parts cannot be removed at
        once.
        """
        mine = {"first_put": attempt, "last_put": attempt, "chunks": 0}
        for identifier in identifiers:
            self._blobs.delete_one({"_id": identifier, **mine})

    @operation
    def get(self, identifier: str) -> bytes:
        """Return the content of a blob.

        Raises
        ------
        DatabaseError
            If there is none, or its content does not match its id.
        """
        head = self._blobs.find_one({"_id": identifier})
        if head is None:
            raise DatabaseError(f"Blob {identifier} is not in the database.")
        return self._content(head)

    @operation
    def get_many(self, identifiers: Collection[str]) -> dict[str, bytes]:
        """Return the contents of many blobs by id.

        Raises
        ------
        DatabaseError
            If one is missing or damaged.
        """
        wanted = sorted(set(identifiers))
        if not wanted:
            return {}
        found = {
            str(head["_id"]): self._content(head)
            for head in self._blobs.find({"_id": {"$in": wanted}})
        }
        missing = [identifier for identifier in wanted if identifier not in found]
        if missing:
            raise DatabaseError(f"Blob {missing[0]} is not in the database.")
        return found

    @operation
    def ids(self, *, older_than: timedelta = timedelta(0)) -> set[str]:
        """Return the ids of all blobs last stored at least `older_than` ago."""
        before = utc_now() - older_than
        return {
            str(head["_id"])
            for head in self._blobs.find({"stored_at": {"$lte": before}}, {"_id": 1})
        }

    @operation
    def remove(self, identifiers: Collection[str]) -> int:
        """Remove blobs that no document names; return how many there were."""
        removed = 0
        for identifier in identifiers:
            removed += self._blobs.delete_one({"_id": identifier}).deleted_count
            self._chunks.delete_many({"blob": identifier})
        return removed

    def _put(self, contents: Mapping[str, bytes], attempt: str | None = None) -> None:
        attempt = attempt or uuid.uuid4().hex
        heads: list[Document] = []
        size = 0
        for identifier, content in contents.items():
            head = self._head(identifier, content)
            put = {"first_put": attempt, "last_put": attempt, "stored_at": utc_now()}
            heads.append({"_id": identifier, **head, **put})
            size += len(head.get("data", b""))
            if size > _BATCH_BYTES:
                self._put_heads(heads)
                heads, size = [], 0
        self._put_heads(heads)

    def _put_heads(self, heads: Sequence[Document]) -> None:
        # Renewed so that a blob in use again is no old orphan, and not its first writer's alone.
        renewed = ("stored_at", "last_put")
        updates = [
            UpdateOne(
                {"_id": head["_id"]},
                {
                    "$setOnInsert": {k: v for k, v in head.items() if k not in ("_id", *renewed)},
                    "$set": {k: head[k] for k in renewed},
                },
                upsert=True,
            )
            for head in insert_missing(self._blobs, heads)
        ]
        if updates:
            self._blobs.bulk_write(updates, ordered=False)

    def _head(self, identifier: str, content: bytes) -> Document:
        """Store the chunks of a large blob, and return its head, which is written last."""
        packed = zlib.compress(content, 1)
        encoding = "zlib"
        if len(packed) >= len(content):
            packed, encoding = content, "raw"
        head: Document = {
            "schema_version": SCHEMA_VERSION,
            "length": len(content),
            "encoding": encoding,
            "chunks": 0,
        }
        if len(packed) <= _INLINE:
            return {**head, "data": Binary(packed)}
        starts = range(0, len(packed), _CHUNK)
        for number, start in enumerate(starts):
            self._chunks.replace_one(
                {"_id": f"{identifier}:{number}"},
                {"blob": identifier, "data": Binary(packed[start : start + _CHUNK])},
                upsert=True,
            )
        return {**head, "chunks": len(starts)}

    def _content(self, head: Document) -> bytes:
        identifier = str(head["_id"])
        parts = [bytes(head["data"])] if "data" in head else []
        for number in range(int(head["chunks"])):
            chunk = self._chunks.find_one({"_id": f"{identifier}:{number}"})
            parts.append(b"" if chunk is None else bytes(chunk["data"]))
        content = b"".join(parts)
        try:
            if head["encoding"] == "zlib":
                content = zlib.decompress(content)
        except zlib.error:
            content = b""
        if blob_id(content) != identifier:
            raise DatabaseError(
                f"Blob {identifier} is damaged, its content has another hash: compute or ingest "
                "again what names it."
            )
        return content
