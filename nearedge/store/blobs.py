"""Bytes too large for a document, kept under their SHA-256.

A blob is written before the document that names it. Whoever is killed in between leaves a blob that
nobody names: harmless, found by `SpectraStore.orphans`, and taken up again by the repetition.

Each has a head in the database, which says how long it is and who put it when. Its content is in
the head and in chunks, or in an object of S3-compatible storage that the head names. No two writers
ever write an object of the same name, so that whoever removes a head may remove its object after
it: another who puts the same content meanwhile has written another object.
"""

from __future__ import annotations

import hashlib
import re
import uuid
import zlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta

from bson import Binary
from pymongo import UpdateOne

from nearedge.errors import DatabaseError, SettingsError
from nearedge.schemas.document import SCHEMA_VERSION, utc_now
from nearedge.store.batches import batches
from nearedge.store.objects import ObjectStorage, storage_of
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
_OBJECT = re.compile(r"[0-9a-f]{64}\.[0-9a-f]{32}")
"""How objects are called: by the blob's id, and by a name of the writing."""


def blob_id(content: bytes) -> str:
    """Return the id of `content`: the hex digits of its SHA-256."""
    return hashlib.sha256(content).hexdigest()


class BlobStore:
    """Content-addressed bytes of any size."""

    def __init__(self, database: MongoDatabase) -> None:
        self._database = database
        self._blobs = database[BLOBS]
        self._chunks = database[CHUNKS]

    @property
    def _objects(self) -> ObjectStorage | None:
        return storage_of(self._database)

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
        """Remove blobs that this attempt has put first, unless anybody put them since.

        Those in chunks stay until `SpectraStore.orphans` finds them: their parts cannot be removed
        at once.
        """
        mine = {"first_put": attempt, "last_put": attempt, "chunks": 0}
        for identifier in identifiers:
            self._removed({"_id": identifier, **mine})

    @operation
    def get(self, identifier: str) -> bytes:
        """Return the content of a blob.

        Raises
        ------
        DatabaseError
            If there is none, or its content does not match its id.
        """
        return self._read([identifier])[identifier]

    @operation
    def get_many(self, identifiers: Collection[str]) -> dict[str, bytes]:
        """Return the contents of many blobs by id.

        Raises
        ------
        DatabaseError
            If one is missing or damaged.
        """
        return self._read(sorted(set(identifiers)))

    @operation
    def ids(self, *, older_than: timedelta = timedelta(0)) -> set[str]:
        """Return the ids of all blobs last stored at least `older_than` ago."""
        before = utc_now() - older_than
        return {
            str(head["_id"])
            for head in self._blobs.find({"stored_at": {"$lte": before}}, {"_id": 1})
        }

    @operation
    def remove(self, identifiers: Collection[str], *, older_than: timedelta = timedelta(0)) -> int:
        """Remove blobs that no document names, unless put again since; return how many there were.

        Parameters
        ----------
        identifiers
            The blobs.
        older_than
            As they were found by; see `SpectraStore.orphans`.
        """
        before = utc_now() - older_than
        return sum(
            self._removed({"_id": identifier, "stored_at": {"$lte": before}})
            for identifier in identifiers
        )

    @operation
    def unnamed_objects(self, *, older_than: timedelta = timedelta(hours=1)) -> list[str]:
        """Return objects that no blob names, left by writers that were killed.

        Parameters
        ----------
        older_than
            Leave younger ones alone, by the storage's clock: their blobs may be on their way.
        """
        if self._objects is None:
            return []
        found = []
        names = (n for n in self._objects.names(older_than=older_than) if _OBJECT.fullmatch(n))
        for batch in batches(names):
            heads = self._blobs.find({"_id": {"$in": [_id_of(n) for n in batch]}}, {"object": 1})
            named = {head.get("object") for head in heads}
            found += [name for name in batch if name not in named]
        return found

    def remove_objects(self, names: Collection[str]) -> None:
        """Remove objects that no blob names."""
        if self._objects is not None:
            self._objects.remove(names)

    @operation
    def ids_in_database(self) -> list[str]:
        """Return the blobs whose content is in the database."""
        return [str(head["_id"]) for head in self._blobs.find({"object": None}, {"_id": 1})]

    @operation
    def move_out(self, identifiers: Collection[str]) -> tuple[int, set[str]]:
        """Bring content from the database to the storage.

        What was brought is read again before it is removed here. May be repeated at any moment.

        Returns
        -------
        int
            Of how many blobs.
        set of str
            Those whose content is damaged, or somebody else brought meanwhile: left as they are.

        Raises
        ------
        DatabaseError
            If what comes back is something else.
        """
        objects = self._objects
        if objects is None:
            return 0, set()
        left = {"_id": {"$in": list(identifiers)}, "object": None}
        heads = {str(head["_id"]): head for head in self._blobs.find(left)}
        brought: dict[str, tuple[bytes, str]] = {}
        for identifier, head in heads.items():
            with suppress(DatabaseError):
                content = self._checked(head, self._here(head))
                brought[identifier] = self._packed(content)
        names = {identifier: _new_name(identifier) for identifier in brought}
        objects.put_many({names[identifier]: packed for identifier, (packed, _) in brought.items()})
        there = objects.get_many(list(names.values()))
        moved = 0
        for identifier, (packed, encoding) in brought.items():
            if there.get(names[identifier]) != packed:
                raise DatabaseError(
                    f"Blob {identifier} came back from {objects.where} as something else: it "
                    "stays in the database."
                )
            where = {"object": names[identifier], "encoding": encoding, "chunks": 0}
            change = {"$set": where, "$unset": {"data": ""}}
            if self._blobs.update_one({"_id": identifier, "object": None}, change).modified_count:
                self._chunks.delete_many({"blob": identifier})
                moved += 1
            else:  # somebody was faster, or it is gone
                self._remove_unnamed({identifier: names[identifier]})
        return moved, heads.keys() - brought.keys()

    @operation
    def drop_moved_chunks(self) -> None:
        """Remove chunks of blobs that were moved, left by who was killed before removing them."""
        left = {str(chunk["blob"]) for chunk in self._chunks.find({}, {"blob": 1})}
        for batch in batches(left):
            for head in self._blobs.find({"_id": {"$in": batch}}, {"object": 1}):
                if "object" in head:
                    self._chunks.delete_many({"blob": head["_id"]})

    def _put(self, contents: Mapping[str, bytes], attempt: str | None = None) -> None:
        attempt = attempt or uuid.uuid4().hex
        if self._objects is None:
            self._put_here(contents, attempt)
            return
        for batch in batches(contents):
            self._put_there(self._objects, {each: contents[each] for each in batch}, attempt)

    def _put_here(self, contents: Mapping[str, bytes], attempt: str) -> None:
        heads: list[Document] = []
        size = 0
        for identifier, content in contents.items():
            head = self._head(identifier, content)
            heads.append({"_id": identifier, **head, **_put_by(attempt)})
            size += len(head.get("data", b""))
            if size > _BATCH_BYTES:
                self._put_heads(heads)
                heads, size = [], 0
        self._put_heads(heads)

    def _put_there(
        self, objects: ObjectStorage, contents: Mapping[str, bytes], attempt: str
    ) -> None:
        left = set(contents)
        # Again for those that somebody removes, or puts, between our two looks.
        while left := left - self._renewed(left, attempt):
            names = {identifier: _new_name(identifier) for identifier in left}
            heads, packed = [], {}
            for identifier, name in names.items():
                content = contents[identifier]
                packed[name], encoding = self._packed(content)
                about = {"encoding": encoding, "chunks": 0, "object": name}
                head = {**_about(content), **about, **_put_by(attempt)}
                heads.append({"_id": identifier, **head})
            objects.put_many(packed)
            present = {str(head["_id"]) for head in insert_missing(self._blobs, heads)}
            self._remove_unnamed({identifier: names[identifier] for identifier in present})
            left = present

    def _renewed(self, identifiers: Collection[str], attempt: str) -> set[str]:
        """Note those that are there as put by this attempt as well, and return them."""
        wanted = {"_id": {"$in": list(identifiers)}}
        present = [str(head["_id"]) for head in self._blobs.find(wanted, {"_id": 1})]
        if not present:
            return set()
        there = {"_id": {"$in": present}}
        self._blobs.update_many(there, {"$set": {"stored_at": utc_now(), "last_put": attempt}})
        mine = self._blobs.find({**there, "last_put": attempt}, {"_id": 1})
        return {str(head["_id"]) for head in mine}

    def _remove_unnamed(self, names: Mapping[str, str]) -> None:
        """Remove objects of ours, given by blob, that are not what the blobs' heads name."""
        if not names or self._objects is None:
            return
        heads = self._blobs.find({"_id": {"$in": list(names)}}, {"object": 1})
        named = {head.get("object") for head in heads}
        self._objects.remove([name for name in names.values() if name not in named])

    def _removed(self, condition: Document) -> bool:
        """Remove the blob that fits the condition; return whether there was one."""
        head = self._blobs.find_one(condition, {"object": 1, "chunks": 1})
        # Not both at once: for that the embedded server reads every blob there is.
        as_seen = {**condition, "object": (head or {}).get("object")}
        if head is None or not self._blobs.delete_one(as_seen).deleted_count:
            return False
        # Its object only now: nobody can name it any more.
        if "object" in head and self._objects is not None:
            self._objects.remove([str(head["object"])])
        if head["chunks"]:
            # Not those that another has written since, whose head is on its way or there already.
            for stored_at in (None, condition["stored_at"]):  # None: of earlier releases
                self._chunks.delete_many({"blob": head["_id"], "stored_at": stored_at})
        return True

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
        packed, encoding = self._packed(content)
        head: Document = {**_about(content), "encoding": encoding, "chunks": 0}
        if len(packed) <= _INLINE:
            return {**head, "data": Binary(packed)}
        starts = range(0, len(packed), _CHUNK)
        for number, start in enumerate(starts):
            part = Binary(packed[start : start + _CHUNK])
            self._chunks.replace_one(
                {"_id": f"{identifier}:{number}"},
                {"blob": identifier, "stored_at": utc_now(), "data": part},
                upsert=True,
            )
        return {**head, "chunks": len(starts)}

    def _packed(self, content: bytes) -> tuple[bytes, str]:
        """Return content as it is kept, and how it is encoded."""
        packed = zlib.compress(content, 1)
        return (packed, "zlib") if len(packed) < len(content) else (content, "raw")

    def _read(self, identifiers: Sequence[str]) -> dict[str, bytes]:
        contents: dict[str, bytes] = {}
        for batch in batches(identifiers):
            contents |= self._read_batch(batch)
        return contents

    def _read_batch(self, identifiers: Sequence[str]) -> dict[str, bytes]:
        heads = self._heads(identifiers)
        kept = self._kept(heads.values())
        # Moved, or removed and put again, between our two looks, it is in another object.
        if gone := [identifier for identifier in heads if identifier not in kept]:
            heads |= self._heads(gone)
            kept |= self._kept(heads[identifier] for identifier in gone)
        return {
            identifier: self._checked(head, kept.get(identifier))
            for identifier, head in heads.items()
        }

    def _heads(self, identifiers: Sequence[str]) -> dict[str, Document]:
        found = self._blobs.find({"_id": {"$in": list(identifiers)}})
        heads = {str(head["_id"]): head for head in found}
        for identifier in identifiers:
            if identifier not in heads:
                raise DatabaseError(f"Blob {identifier} is not in the database.")
        return heads

    def _kept(self, heads: Iterable[Document]) -> dict[str, bytes]:
        """Return what is kept of blobs, those left out whose object or chunks are not there."""
        kept: dict[str, bytes] = {}
        there: dict[str, str] = {}
        for head in heads:
            if "object" in head:
                there[str(head["_id"])] = str(head["object"])
            elif (content := self._here(head)) is not None:
                kept[str(head["_id"])] = content
        if there:
            if (objects := self._objects) is None:
                raise SettingsError(
                    f"Blob {next(iter(there))} is not in the database but in S3-compatible "
                    "storage: name that in NEAREDGE_BLOBS."
                )
            found = objects.get_many(list(there.values()))
            kept |= {each: found[name] for each, name in there.items() if name in found}
        return kept

    def _here(self, head: Document) -> bytes | None:
        """Return what the database keeps of a blob, or None where a chunk is not there."""
        parts = [bytes(head["data"])] if "data" in head else []
        for number in range(int(head["chunks"])):
            chunk = self._chunks.find_one({"_id": f"{head['_id']}:{number}"})
            if chunk is None:
                return None
            parts.append(bytes(chunk["data"]))
        return b"".join(parts)

    def _checked(self, head: Document, kept: bytes | None) -> bytes:
        """Return the content of which that is kept, if it has the blob's hash."""
        identifier = str(head["_id"])
        if kept is None:
            raise DatabaseError(
                f"Blob {identifier} is damaged, its content is gone: compute or ingest again what "
                "names it."
            )
        try:
            content = zlib.decompress(kept) if head["encoding"] == "zlib" else kept
        except zlib.error:
            content = b""
        if blob_id(content) != identifier:
            raise DatabaseError(
                f"Blob {identifier} is damaged, its content has another hash: compute or ingest "
                "again what names it."
            )
        return content


def _about(content: bytes) -> Document:
    return {"schema_version": SCHEMA_VERSION, "length": len(content)}


def _put_by(attempt: str) -> Document:
    return {"first_put": attempt, "last_put": attempt, "stored_at": utc_now()}


def _new_name(identifier: str) -> str:
    return f"{identifier}.{uuid.uuid4().hex}"


def _id_of(name: str) -> str:
    return name.partition(".")[0]
