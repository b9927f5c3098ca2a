"""Blobs are brought from a database to storage, whatever happens on the way."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from pymongo.collection import Collection
from typer.testing import CliRunner

from nearedge.cli import doctor
from nearedge.cli.app import app
from nearedge.errors import DatabaseError, DatabaseUnavailable, SettingsError
from nearedge.settings import Settings, get_settings
from nearedge.store import moving, objects
from nearedge.store.blobs import BLOBS, CHUNKS, BlobStore
from nearedge.store.claims import CLAIMS, Claims
from nearedge.store.connection import connect
from nearedge.store.objects import ObjectStorage
from nearedge.store.operations import Document
from nearedge.store.records import Record
from nearedge.store.spectra_store import SpectraStore

if TYPE_CHECKING:
    from tests.store.objects.conftest import S3

pytestmark = pytest.mark.integration

MakeRecord = Callable[..., Record]


class _Killed:
    """Chunks that are read, and whose reader is killed before it removes any."""

    def __init__(self, chunks: Collection[Document]) -> None:
        self.find_one = chunks.find_one

    def delete_many(self, _: Document) -> None:
        raise KeyboardInterrupt


def test_a_move_that_is_interrupted_goes_on_and_every_blob_can_be_read_throughout(
    embedded_settings: Settings, s3: S3, make_record: MakeRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = SpectraStore(connect(embedded_settings))
    records = [make_record(i, inputs=f"TITLE {i}\n" * 3000) for i in range(30)]
    store.record_many(records)
    large = store.blobs.put(
        bytes(range(256)) + b"".join(i.to_bytes(4, "big") for i in range(10**5))
    )
    there = s3.settings(embedded_settings)
    put_many, calls = ObjectStorage.put_many, []

    def away_in_the_second(self: ObjectStorage, contents: dict[str, bytes]) -> None:
        calls.append(len(contents))
        if len(calls) == 2:
            s3.relay.away()
        put_many(self, contents)

    monkeypatch.setattr(ObjectStorage, "put_many", away_in_the_second)
    with pytest.raises(DatabaseUnavailable):
        moving.move(moving.prepare_move(there))
    monkeypatch.undo()
    s3.relay.back()
    store = SpectraStore(connect(there))
    assert calls == [25, 6]
    assert len(store.blobs.ids_in_database()) == 6
    ids = [record.calculation.calculation_id for record in records]
    assert [store.calculation(each) for each in ids] == [r.calculation for r in records]
    with pytest.raises(SettingsError):
        connect(embedded_settings)
    new = make_record(31, inputs="TITLE new\n" * 3000)
    store.record(*new)  # while some are still here

    assert moving.move(moving.prepare_move(there)) == 6
    assert moving.move(moving.prepare_move(there)) == 0
    assert store.database[BLOBS].count_documents({"data": {"$exists": True}}) == 0
    assert store.database[CHUNKS].count_documents({}) == 0
    assert [store.calculation(each) for each in ids] == [r.calculation for r in records]
    assert len(store.blobs.get(large)) == 400_256
    assert len(s3.names()) == 32
    found = moving.unnamed(there, timedelta(0))
    assert (found.blobs, found.objects) == ({large}, ())


def test_what_comes_back_from_the_storage_as_something_else_stays_here(
    embedded_settings: Settings, s3: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = BlobStore(connect(embedded_settings)).put(b"content")
    there = s3.settings(embedded_settings)
    put_many = ObjectStorage.put_many
    spoiled = lambda self, contents: put_many(self, dict.fromkeys(contents, b"spoiled"))  # noqa: E731
    monkeypatch.setattr(ObjectStorage, "put_many", spoiled)
    with pytest.raises(DatabaseError, match="stays in the database"):
        moving.move(moving.prepare_move(there))
    assert BlobStore(connect(there)).get(name) == b"content"


def test_a_damaged_blob_holds_no_other_up_and_stays(embedded_settings: Settings, s3: S3) -> None:
    blobs = BlobStore(connect(embedded_settings))
    names = [blobs.put(f"content {number}".encode()) for number in range(30)]
    first = blobs.ids_in_database()[0]
    spoiled = {"$set": {"data": b"other", "encoding": "raw"}}
    connect(embedded_settings)[BLOBS].update_one({"_id": first}, spoiled)
    there = s3.settings(embedded_settings)
    with pytest.raises(DatabaseError, match=f"1 blob is damaged .* {first}"):
        moving.move(moving.prepare_move(there))
    blobs = BlobStore(connect(there))
    assert blobs.ids_in_database() == [first]
    assert len(blobs.get_many(set(names) - {first})) == 29


def test_who_reads_or_moves_while_another_moves_sees_no_damage(
    embedded_settings: Settings, s3: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = random.Random(1).randbytes(600_000)
    name = BlobStore(connect(embedded_settings)).put(content)
    blobs = moving.prepare_move(s3.settings(embedded_settings))
    here, others = BlobStore._here, []

    def moved_meanwhile(self: BlobStore, head: Document) -> bytes | None:
        if not others:
            others.append(name)
            self.move_out([name])
            assert self.ids_in_database() == []
        return here(self, head)

    monkeypatch.setattr(BlobStore, "_here", moved_meanwhile)
    assert blobs.get(name) == content
    assert others == [name]
    back = {"$unset": {"object": ""}, "$set": {"chunks": 1, "encoding": "raw"}}
    blobs._database[BLOBS].update_one({"_id": name}, back)
    blobs._database[CHUNKS].insert_one({"_id": f"{name}:0", "blob": name, "data": content})
    others.clear()
    assert moving.move(blobs) == 0
    assert others == [name]
    assert blobs.get(name) == content


def test_a_move_that_was_killed_leaves_no_chunks(
    embedded_settings: Settings, s3: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    BlobStore(connect(embedded_settings)).put(random.Random(1).randbytes(600_000))
    there = s3.settings(embedded_settings)
    blobs = moving.prepare_move(there)

    monkeypatch.setattr(blobs, "_chunks", _Killed(blobs._chunks))
    with pytest.raises(KeyboardInterrupt):
        moving.move(blobs)
    chunks = connect(there)[CHUNKS]
    assert chunks.count_documents({}) == 1
    assert moving.move(moving.prepare_move(there)) == 0
    assert chunks.count_documents({}) == 0


def test_a_claim_of_a_process_that_is_gone_stops_no_move(
    embedded_settings: Settings, s3: S3
) -> None:
    database = connect(embedded_settings)
    with Claims(database).hold("a calculation"):
        left = database[CLAIMS].find_one({}) or {}
    database[CLAIMS].insert_one({**left, "process_started": 1.0})
    assert [each.owner for each in Claims(database).live()] == ["dead"]
    assert moving.move(moving.prepare_move(s3.settings(embedded_settings))) == 0


def test_nothing_is_moved_under_the_feet_of_who_works(embedded_settings: Settings, s3: S3) -> None:
    database = connect(embedded_settings)
    claimed = Claims(database).hold("a calculation")
    with claimed, pytest.raises(DatabaseError, match="end all workers"):
        moving.prepare_move(s3.settings(embedded_settings))
    connect(embedded_settings)
    assert s3.names() == []


def test_the_commands_move_and_clean(
    live_settings: Settings, s3: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    BlobStore(connect(live_settings)).put(b"named by no document")
    there = s3.settings(live_settings)
    runner = CliRunner()
    assert runner.invoke(app, ["blobs", "move"]).exit_code == 1
    monkeypatch.setenv("NEAREDGE_BLOBS", str(there.blobs))
    monkeypatch.setenv("NEAREDGE_BLOBS_ENDPOINT", str(there.blobs_endpoint))
    get_settings.cache_clear()
    assert "unset it, or let" in runner.invoke(app, ["blobs", "clean"]).output.replace("\n", " ")
    done = runner.invoke(app, ["blobs", "move", "--json"])
    assert json.loads(done.output) == {"moved": 1, "place": there.blobs}
    counts = {"blobs": 1, "objects": 0}
    clean = ["blobs", "clean", "--json"]
    assert json.loads(runner.invoke(app, clean).output)["blobs"] == 0  # young
    told = json.loads(runner.invoke(app, [*clean, "--older-than", "0d"]).output)
    assert told == {**counts, "removed": 0}
    told = json.loads(runner.invoke(app, [*clean, "--older-than", "0d", "--yes"]).output)
    assert told == {**counts, "removed": 1}
    assert s3.names() == []
    told = runner.invoke(app, ["status"]).output.replace("\n", "")
    assert f"Blobs are in {there.blobs} at {s3.endpoint}: it answers." in told
    assert doctor._blobs(get_settings()).level == "ok"
    s3.relay.away()
    objects._storages.clear()  # as in a process that has not asked yet
    told = runner.invoke(app, ["status"]).output.replace("\n", " ")
    assert "The storage of blobs does not answer" in told
    assert doctor._blobs(get_settings()).level == "note"
