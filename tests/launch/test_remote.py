"""Stores that jobflow-remote makes of its project file."""

from __future__ import annotations

from pathlib import Path

import pytest
from jobflow.core.store import JobStore
from monty.json import MontyDecoder

from nearedge.errors import DatabaseUnavailable
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
        queue.connect()
        outputs = JobStore(RemoteStore())
        assert secret not in str([queue.as_dict(), outputs.as_dict()])
        assert outputs.docs_store.collection_name == "job_outputs"
    finally:
        get_settings.cache_clear()


def test_without_a_database_it_says_how_to_start_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = Settings(home=tmp_path, mongo_uri=None)
    monkeypatch.setattr("nearedge.launch.remote.get_settings", lambda: nowhere)
    monkeypatch.setattr("nearedge.store.connection.get_settings", lambda: nowhere)
    with pytest.raises(DatabaseUnavailable, match="nearedge up"):
        RemoteStore("jobs").connect()
