"""A real campaign whose blobs are in storage: it may be away, and its keys are found nowhere."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import bson
import psutil
import pytest

from nearedge.errors import DatabaseUnavailable, SettingsError
from nearedge.launch.pool import worker_environment
from nearedge.launch.worker import Worker
from nearedge.settings import Settings, get_settings
from nearedge.store import moving
from nearedge.store.blobs import BLOBS
from nearedge.store.connection import client, connect, mongo_uri
from nearedge.store.queries import CalculationQuery, SpectrumQuery
from nearedge.store.spectra_store import SpectraStore
from nearedge.structures.source import LoadedStructure
from nearedge.workflows import campaign

if TYPE_CHECKING:
    from tests.store.objects.conftest import S3

pytestmark = [pytest.mark.integration, pytest.mark.slow]

Molecule = Callable[[str], LoadedStructure]


@pytest.fixture
def settings(
    embedded_settings: Settings, s3: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Settings]:
    """Return settings of this process and its workers, whose home is the test's own."""
    there = s3.settings(embedded_settings)
    values = {
        "mongo_uri": mongo_uri(embedded_settings),
        "home": str(tmp_path / "home"),
        "database": there.database,
        "blobs": str(there.blobs),
        "blobs_endpoint": str(there.blobs_endpoint),
        "keep_runs": "true",
    }
    for name, value in values.items():
        monkeypatch.setenv(f"NEAREDGE_{name.upper()}", value)
    get_settings.cache_clear()
    moving.prepare_move(get_settings())
    yield get_settings()
    get_settings.cache_clear()


# Of a molecule all texts are so short that they stay in their documents.
WORKER = """
from nearedge.launch.worker import main
from nearedge.store import packing

packing.TEXT_LIMIT = 100
raise SystemExit(main([]))
"""


def work(settings: Settings, watch: Callable[[], None] = lambda: None) -> None:
    """Let a worker do all there is, and call `watch` again and again while it does."""
    log = settings.home / "logs" / "worker-1.log"
    log.parent.mkdir(parents=True)
    with log.open("wb") as written:
        command = [sys.executable, "-P", "-c", WORKER]
        process = subprocess.Popen(
            command, env=worker_environment(settings), stdout=written, stderr=written
        )
    try:
        deadline = time.monotonic() + 180
        while process.poll() is None:
            assert time.monotonic() < deadline
            watch()
            time.sleep(0.1)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0, log.read_text()


def check_complete(settings: Settings, s3: S3) -> None:
    store = SpectraStore(connect(settings))
    (listed,) = store.calculations(CalculationQuery())
    calculation = store.calculation(listed.calculation_id)
    assert calculation is not None
    assert calculation.completed
    assert "POTENTIALS" in calculation.inputs["feff.inp"]
    assert store.count(SpectrumQuery()) == 2
    found = moving.unnamed(settings, timedelta(0))
    assert (found.blobs, found.objects) == (frozenset(), ())
    assert len(s3.names()) == store.database[BLOBS].count_documents({}) > 0
    assert store.database[BLOBS].count_documents({"data": {"$exists": True}}) == 0


def test_a_campaign_leaves_its_blobs_there_and_the_keys_nowhere(
    settings: Settings, s3: S3, molecule: Molecule
) -> None:
    assert campaign.submit([molecule("CO")], absorber="C", project="p", settings=settings).new == 1
    work(settings)
    check_complete(settings, s3)
    seen = 0
    for where, content in everything_stored(settings, s3):
        seen += 1
        for secret in s3.keys:
            assert secret.encode() not in content, where
    assert seen > 20


def everything_stored(settings: Settings, s3: S3) -> Iterator[tuple[str, bytes]]:
    """Yield every document of both databases, every object, and every file below the home."""
    for name in (settings.database, settings.launchpad_database):
        database = client(settings)[name]
        for collection in database.list_collection_names():
            for document in database[collection].find({}):
                yield f"{name}.{collection}", bson.encode(document)
    for name in s3.names():
        yield name, s3.client.get_object(Bucket=s3.bucket, Key=name)["Body"].read()
    for path in sorted(settings.home.rglob("*")):
        if path.is_file():
            yield str(path), path.read_bytes()


def test_away_when_a_result_is_to_be_stored_it_waits_and_is_stored_once(
    settings: Settings, s3: S3, molecule: Molecule
) -> None:
    """Cut off while FEFF runs, there again once the result waits on the disk."""
    campaign.submit([molecule("CO")], absorber="C", project="p", settings=settings)
    states: list[str] = []

    def look() -> None:
        if not states and feff_runs(settings):
            s3.relay.away()
            states.append("away")
        elif states == ["away"] and list(settings.runs.rglob("result.json")):
            states.append("waits")
        elif states[-1:] == ["waits"] and waited(settings):
            s3.relay.back()
            states.append("back")

    work(settings, look)
    check_complete(settings, s3)
    assert states == ["away", "waits", "back"]


def feff_runs(settings: Settings) -> bool:
    return any(
        str(settings.runs) in word
        for process in psutil.process_iter(["cmdline"])
        for word in process.info["cmdline"] or []
    )


def waited(settings: Settings) -> bool:
    """Whether the worker has said that the storage does not answer."""
    logs = [path.read_text() for path in (settings.home / "logs").glob("worker-*.log")]
    return any("The storage of blobs does not answer" in text for text in logs)


def test_no_worker_begins_without_the_storage_or_without_its_keys(
    settings: Settings, s3: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    get_settings.cache_clear()
    s3.relay.away()
    fresh = settings.model_copy(update={"database_timeout": 2.0})
    with pytest.raises(DatabaseUnavailable, match="storage of blobs"):
        Worker(fresh)
    s3.relay.back()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(SettingsError, match="no credentials"):
        Worker(settings.model_copy(update={"database_timeout": 3.0}))
