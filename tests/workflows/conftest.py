"""Campaigns on a database and a launchpad in memory."""

from __future__ import annotations

import mongomock_ng
import pytest
from fireworks.core import launchpad as fireworks_launchpad
from fireworks.core.launchpad import LaunchPad

from nearedge.launch.fencing import FencedLaunchPad
from nearedge.store.operations import MongoDatabase
from nearedge.store.spectra_store import SpectraStore
from nearedge.workflows import campaign


@pytest.fixture
def pad(monkeypatch: pytest.MonkeyPatch) -> LaunchPad:
    """Return the launchpad in memory that campaigns are submitted to."""
    monkeypatch.setattr(fireworks_launchpad, "MongoClient", mongomock_ng.MongoClient)
    monkeypatch.setattr(fireworks_launchpad, "GRIDFS_FALLBACK_COLLECTION", None)
    pad = FencedLaunchPad(
        host="mongodb://localhost", uri_mode=True, name="launchpad", strm_lvl="CRITICAL"
    )
    monkeypatch.setattr(campaign, "launchpad", lambda settings: pad)
    return pad


@pytest.fixture
def store(memory_database: MongoDatabase, monkeypatch: pytest.MonkeyPatch) -> SpectraStore:
    """Return the store in memory that campaigns ask what is known."""
    store = SpectraStore(memory_database)
    monkeypatch.setattr(SpectraStore, "from_settings", lambda settings=None: store)
    return store
