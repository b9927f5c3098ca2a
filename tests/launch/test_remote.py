"""Stores that jobflow-remote makes of its project file."""

from __future__ import annotations

from pathlib import Path

import mongomock_ng
import pytest
from jobflow.core.store import JobStore
from monty.json import MontyDecoder
from pydantic import SecretStr

from nearedge.errors import DatabaseUnavailable, ForeignDatabase
from nearedge.launch.fireworks import JOB_OUTPUTS
from nearedge.launch.remote import RemoteStore
from nearedge.settings import Settings, get_settings


def test_a_store_is_made_of_its_class_and_collection_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    secret = "s3cr3t-and-long"
    monkeypatch.setenv("NEAREDGE_MONGO_URI", f"mongodb://me:{secret}@127.0.0.1:9/")
    monkeypatch.setenv("NEAREDGE_DATABASE_TIMEOUT", "0.1")
    get_settings.cache_clear()
    try:
        named = {"@module": "nearedge.launch.remote", "@class": "RemoteStore"}
        queue = MontyDecoder().process_decoded({**named, "collection_name": "jobs"})
        assert isinstance(queue, RemoteStore)
        assert (queue.database, queue.collection_name) == ("nearedge_launchpad", "jobs")
        monkeypatch.setattr("nearedge.launch.remote.connect", lambda _: None)
        queue.connect()
        outputs = JobStore(RemoteStore())
        outputs.docs_store.connect()
        assert secret not in str([queue.as_dict(), outputs.as_dict()])
        assert secret not in f"{queue.name} {outputs.name}"
        assert queue.name.endswith("127.0.0.1:9/nearedge_launchpad/jobs")
        assert outputs.docs_store.collection_name == "remote_outputs" != JOB_OUTPUTS
    finally:
        get_settings.cache_clear()


def test_a_database_of_somebody_else_is_not_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = Settings(mongo_uri=SecretStr("mongodb://127.0.0.1:9/"), database="shop")
    monkeypatch.setattr("nearedge.launch.remote.get_settings", lambda: theirs)
    server = mongomock_ng.MongoClient()
    server["shop"]["orders"].insert_one({"paid": True})
    monkeypatch.setattr("nearedge.store.connection.client", lambda _: server)
    store = RemoteStore("jobs")
    with pytest.raises(ForeignDatabase):
        store.connect()
    assert (store.uri, store._coll) == (None, None)


def test_without_a_database_it_says_how_to_start_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = Settings(home=tmp_path, mongo_uri=None)
    monkeypatch.setattr("nearedge.launch.remote.get_settings", lambda: nowhere)
    monkeypatch.setattr("nearedge.store.connection.get_settings", lambda: nowhere)
    with pytest.raises(DatabaseUnavailable, match="nearedge up"):
        RemoteStore("jobs").connect()
