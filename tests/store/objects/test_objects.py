"""Blobs in S3-compatible storage: the promises of those in the database, over real HTTP."""

from __future__ import annotations

import base64
import hashlib
import random
import time
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier
from typing import TYPE_CHECKING, Any

import pytest

from nearedge.errors import DatabaseError, DatabaseUnavailable, ForeignDatabase, SettingsError
from nearedge.settings import Settings
from nearedge.store import lifecycle
from nearedge.store.blobs import BLOBS, CHUNKS, BlobStore, blob_id
from nearedge.store.connection import client, connect, initialize
from nearedge.store.identity import IDENTITY_COLLECTION
from nearedge.store.objects import ObjectStorage, use_storage
from nearedge.store.operations import MongoDatabase

if TYPE_CHECKING:
    from tests.store.objects.conftest import S3

NOISE = random.Random(1).randbytes(600_000)


_made: list[tuple[int, Any]] = []
"""A client takes a sixth of a second to make, and fits every bucket."""


@pytest.fixture
def storage(s3: S3) -> ObjectStorage:
    storage = ObjectStorage(f"s3://{s3.bucket}/blobs", s3.endpoint, patience=2.0)
    storage._made = _made[0] if _made else None
    storage.claim("ours")
    assert storage._made is not None
    _made[:] = [storage._made]
    return storage


@pytest.fixture
def blobs(memory_database: MongoDatabase, storage: ObjectStorage) -> Iterator[BlobStore]:
    use_storage(memory_database, storage, "ours")
    yield BlobStore(memory_database)
    use_storage(memory_database, None, "ours")


def test_a_blob_comes_back_under_its_hash_and_the_database_keeps_no_content(
    blobs: BlobStore, memory_database: MongoDatabase, s3: S3
) -> None:
    contents = [b"", b"short", b"text " * 10_000, NOISE]
    names = [blobs.put(content) for content in contents]
    assert [blobs.get(name) for name in names] == contents
    assert blobs.get_many([*names, *names]) == dict(zip(names, contents, strict=True))
    assert memory_database[CHUNKS].count_documents({}) == 0
    assert memory_database[BLOBS].count_documents({"data": {"$exists": True}}) == 0
    kept = {key.removeprefix("blobs/").partition(".")[0] for key in s3.names()}
    assert kept == set(names)


def test_the_same_content_is_stored_once_and_renewed(
    blobs: BlobStore, memory_database: MongoDatabase, s3: S3
) -> None:
    name = blobs.put(NOISE)
    before = memory_database[BLOBS].find_one({"_id": name})
    assert blobs.put(NOISE) == name
    after = memory_database[BLOBS].find_one({"_id": name})
    assert before is not None
    assert after is not None
    assert after["stored_at"] >= before["stored_at"]
    assert after["last_put"] != after["first_put"] == before["first_put"]
    assert len(s3.names()) == 1


def test_two_that_put_the_same_at_once_leave_one_blob_and_one_object(
    blobs: BlobStore, s3: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    both, put_many = Barrier(2), ObjectStorage.put_many

    def together(self: ObjectStorage, contents: dict[str, bytes]) -> None:
        put_many(self, contents)
        both.wait(timeout=30)  # both have looked, and found nothing

    monkeypatch.setattr(ObjectStorage, "put_many", together)
    with ThreadPoolExecutor(2) as pool:
        names = set(pool.map(blobs.put, [NOISE, NOISE]))
    assert len(names) == len(s3.names()) == 1
    assert blobs.get(names.pop()) == NOISE
    assert blobs.unnamed_objects(older_than=timedelta(0)) == []


@pytest.mark.parametrize("content", [b"other", zlib.compress(b"other")], ids=["noise", "other"])
def test_a_damaged_object_is_an_error(blobs: BlobStore, s3: S3, content: bytes) -> None:
    name = blobs.put(b"text " * 10_000)
    s3.client.put_object(Bucket=s3.bucket, Key=s3.names()[0], Body=content)
    with pytest.raises(DatabaseError, match="damaged"):
        blobs.get(name)


def test_a_missing_object_and_a_missing_blob_are_errors(blobs: BlobStore, s3: S3) -> None:
    name = blobs.put(b"content")
    s3.client.delete_object(Bucket=s3.bucket, Key=s3.names()[0])
    with pytest.raises(DatabaseError, match="damaged"):
        blobs.get(name)
    with pytest.raises(DatabaseError, match="not in the database"):
        blobs.get("0" * 64)


def test_what_one_removes_and_another_has_put_since_stays(
    blobs: BlobStore, s3: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worst moment: the head is gone, the object not yet, and another puts the same."""
    name = blobs.put(NOISE)
    remove = ObjectStorage.remove

    def put_in_between(self: ObjectStorage, names: list[str]) -> None:
        monkeypatch.setattr(ObjectStorage, "remove", remove)
        assert blobs.put(NOISE) == name
        remove(self, names)

    monkeypatch.setattr(ObjectStorage, "remove", put_in_between)
    assert blobs.remove([name]) == 1
    assert blobs.get(name) == NOISE
    assert len(s3.names()) == 1


def test_who_reads_while_it_is_removed_and_put_again_reads_it(
    blobs: BlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = blobs.put(NOISE)
    get_many = ObjectStorage.get_many

    def replaced_in_between(self: ObjectStorage, names: list[str]) -> dict[str, bytes]:
        monkeypatch.setattr(ObjectStorage, "get_many", get_many)
        blobs.remove([name])
        blobs.put(NOISE)
        return get_many(self, names)

    monkeypatch.setattr(ObjectStorage, "get_many", replaced_in_between)
    assert blobs.get(name) == NOISE


def test_old_ones_are_removed_and_those_put_again_stay(blobs: BlobStore) -> None:
    name = blobs.put(NOISE)
    assert blobs.ids(older_than=timedelta(hours=1)) == set()
    assert blobs.remove([name], older_than=timedelta(hours=1)) == 0
    assert blobs.get(name) == NOISE
    assert blobs.remove([name]) == 1
    assert blobs.ids() == set()


def test_an_attempt_takes_its_own_away_and_nobody_elses(blobs: BlobStore, s3: S3) -> None:
    mine, both = blobs_of(b"mine"), blobs_of(b"both")
    blobs.put_many(mine | both, attempt="one")
    blobs.put_many(both, attempt="two")
    for attempt in ("two", "one"):
        blobs.withdraw([*mine, *both], attempt)
    assert blobs.ids() == set(both)
    assert len(s3.names()) == 1


def test_an_object_whose_writer_was_killed_is_found_by_the_storages_clock(
    blobs: BlobStore, storage: ObjectStorage, s3: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nearedge.store.blobs.insert_missing", killed)
    with pytest.raises(KeyboardInterrupt):
        blobs.put(NOISE)
    monkeypatch.undo()
    s3.client.put_object(Bucket=s3.bucket, Key="blobs/a-file-of-somebody", Body=b"x")
    assert blobs.ids() == set()
    assert blobs.unnamed_objects() == []  # young
    while not (found := blobs.unnamed_objects(older_than=timedelta(0))):
        time.sleep(0.1)  # a server says its time in whole seconds
    (left,) = found
    blobs.remove_objects([left])
    assert s3.names() == ["blobs/a-file-of-somebody"]
    assert storage.owner() == "ours"


def killed(*_: object) -> None:
    raise KeyboardInterrupt


def blobs_of(*contents: bytes) -> dict[str, bytes]:
    return {blob_id(content): content for content in contents}


def test_an_object_goes_with_its_hash_by_which_storage_refuses_what_was_spoiled_on_the_way(
    storage: ObjectStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[dict[str, Any]] = []
    monkeypatch.setattr(storage._client, "put_object", lambda **options: said.append(options))
    storage.put_many({"name": b"content"})
    assert base64.b64decode(said[0]["ContentMD5"]) == hashlib.md5(b"content").digest()


def test_storage_that_is_away_is_a_database_that_is_away(blobs: BlobStore, s3: S3) -> None:
    name = blobs.put(b"content")
    s3.relay.away()
    for operation in (lambda: blobs.get(name), lambda: blobs.put(b"other")):
        with pytest.raises(DatabaseUnavailable, match="does not answer"):
            operation()
    assert blobs.ids() == {name}
    s3.relay.back()
    assert blobs.get(name) == b"content"


def test_without_credentials_and_without_rights_the_sentence_says_so(
    s3: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(variable)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(SettingsError, match="no credentials"):
        ObjectStorage(f"s3://{s3.bucket}", s3.endpoint).owner()
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(SettingsError, match="AWS_PROFILE"):
        ObjectStorage(f"s3://{s3.bucket}", s3.endpoint).owner()


def test_a_bucket_that_is_not_there_is_named(s3: S3) -> None:
    storage = ObjectStorage("s3://no-such-bucket-here", s3.endpoint)
    with pytest.raises(DatabaseError, match=r"s3://no-such-bucket-here.*NoSuchBucket"):
        storage.claim("ours")


@pytest.fixture
def places(embedded_settings: Settings, s3: S3) -> tuple[Settings, Settings]:
    """Return settings of a database that is not there yet, without and with the bucket."""
    here = embedded_settings.model_copy(update={"database": f"{embedded_settings.database}_s3"})
    return here, s3.settings(here)


@pytest.fixture
def dropped(places: tuple[Settings, Settings]) -> Iterator[None]:
    yield
    client(places[0]).drop_database(places[0].database)


@pytest.mark.integration
@pytest.mark.usefixtures("dropped")
def test_a_database_remembers_where_its_blobs_are(
    places: tuple[Settings, Settings], embedded_settings: Settings, s3: S3
) -> None:
    here, there = places
    initialize(there)
    initialize(there)
    store = BlobStore(connect(there))
    name = store.put(NOISE)
    assert len(s3.names()) == 1
    elsewhere = there.model_copy(update={"blobs": f"s3://{s3.bucket}/other"})
    for wrong in (here, elsewhere):
        for refused in (connect, initialize, lifecycle.up):
            with pytest.raises(SettingsError, match=f"keeps its blobs in {there.blobs}"):
                refused(wrong)
        assert f"set it to {there.blobs}" in lifecycle.status(wrong).detail
    with pytest.raises(SettingsError, match=r"keeps its blobs in itself.*nearedge blobs move"):
        connect(s3.settings(embedded_settings))
    assert BlobStore(connect(there)).get(name) == NOISE


@pytest.mark.integration
@pytest.mark.usefixtures("dropped")
def test_two_databases_never_share_a_place_and_a_wrong_endpoint_is_noticed(
    places: tuple[Settings, Settings], s3: S3
) -> None:
    here, there = places
    theirs = ObjectStorage(f"s3://{s3.bucket}/blobs", s3.endpoint)
    theirs.claim("theirs")
    with pytest.raises(ForeignDatabase, match="another database"):
        initialize(there)
    assert client(here)[here.database].list_collection_names() == []
    s3.client.delete_object(Bucket=s3.bucket, Key="blobs/nearedge.json")
    initialize(there)
    fresh = ObjectStorage(f"s3://{s3.bucket}/blobs", s3.endpoint)
    s3.client.delete_object(Bucket=s3.bucket, Key="blobs/nearedge.json")
    database = connect(there)
    identity = database[IDENTITY_COLLECTION].find_one({})
    assert identity is not None
    use_storage(database, fresh, identity["instance"])
    with pytest.raises(ForeignDatabase, match="NEAREDGE_BLOBS_ENDPOINT"):
        BlobStore(database).put(NOISE)
    assert s3.names() == []


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("blobs", "s3://"),
        ("blobs", "/a/folder"),
        ("blobs", "s3://bucket//twice"),
        ("blobs", "s3://id:secret@bucket/x"),
        ("blobs_endpoint", "http://id:secret@host"),
        ("blobs_endpoint", "host:9000"),
        ("blobs_endpoint", "https://host/?secret=1"),
    ],
)
def test_what_is_no_place_is_refused(setting: str, value: str) -> None:
    with pytest.raises(ValueError, match=setting):
        Settings(**{setting: value})


def test_a_slash_at_the_end_names_the_same_place() -> None:
    assert Settings(blobs="s3://bucket/a/").blobs == "s3://bucket/a"
