"""Bytes of any size are kept under their hash."""

from __future__ import annotations

import hashlib
import random
from datetime import timedelta

import pytest

from nearedge.errors import DatabaseError
from nearedge.schemas.document import utc_now
from nearedge.store.blobs import BLOBS, CHUNKS, BlobStore
from nearedge.store.operations import Document, MongoDatabase

NOISE = random.Random(1).randbytes(600_000)


@pytest.fixture
def blobs(memory_database: MongoDatabase) -> BlobStore:
    return BlobStore(memory_database)


@pytest.mark.parametrize("content", [b"", b"short", b"text " * 10_000, NOISE], ids=len)
def test_a_blob_comes_back_under_its_hash(blobs: BlobStore, content: bytes) -> None:
    identifier = blobs.put(content)
    assert identifier == hashlib.sha256(content).hexdigest()
    assert blobs.get(identifier) == content
    assert blobs.get_many([identifier, identifier]) == {identifier: content}


def test_the_same_content_is_stored_once(blobs: BlobStore, memory_database: MongoDatabase) -> None:
    assert blobs.put(NOISE) == blobs.put(NOISE)
    assert memory_database[BLOBS].count_documents({}) == 1
    assert memory_database[CHUNKS].count_documents({}) == 1


def test_a_missing_blob_is_an_error(blobs: BlobStore) -> None:
    with pytest.raises(DatabaseError, match="not in the database"):
        blobs.get("0" * 64)
    with pytest.raises(DatabaseError, match="not in the database"):
        blobs.get_many(["0" * 64])


@pytest.mark.parametrize("content", [b"short", NOISE], ids=len)
def test_a_damaged_blob_is_an_error(
    blobs: BlobStore, memory_database: MongoDatabase, content: bytes
) -> None:
    identifier = blobs.put(content)
    memory_database[BLOBS].update_one({"data": {"$exists": True}}, {"$set": {"data": b"other"}})
    memory_database[CHUNKS].delete_many({})
    with pytest.raises(DatabaseError, match="damaged"):
        blobs.get(identifier)


def test_a_large_blob_put_again_while_it_is_removed_stays(
    blobs: BlobStore, memory_database: MongoDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    identifier = blobs.put(NOISE)
    long_ago = {"$set": {"stored_at": utc_now() - timedelta(days=2)}}
    memory_database[BLOBS].update_one({}, long_ago)
    memory_database[CHUNKS].update_one({}, long_ago)
    chunks, put = memory_database[CHUNKS], []

    class PutAgain:
        def delete_many(self, condition: Document) -> object:
            if not put:
                put.append(BlobStore(memory_database).put(NOISE))
            return chunks.delete_many(condition)

    monkeypatch.setattr(blobs, "_chunks", PutAgain())
    assert blobs.remove([identifier], older_than=timedelta(days=1)) == 1
    assert put == [identifier]
    assert BlobStore(memory_database).get(identifier) == NOISE


def test_chunks_of_earlier_releases_go_with_their_blob(
    blobs: BlobStore, memory_database: MongoDatabase
) -> None:
    identifier = blobs.put(NOISE)
    memory_database[CHUNKS].update_many({}, {"$unset": {"stored_at": ""}})
    assert blobs.remove([identifier]) == 1
    assert memory_database[CHUNKS].count_documents({}) == 0


def test_a_blob_removed_leaves_no_chunks(blobs: BlobStore, memory_database: MongoDatabase) -> None:
    identifier = blobs.put(NOISE)
    assert blobs.ids() == {identifier}
    assert blobs.ids(older_than=timedelta(hours=1)) == set()
    assert blobs.remove([identifier]) == 1
    assert memory_database[CHUNKS].count_documents({}) == 0
