"""Passwords and keys are in the settings alone: in no document, job, log or folder of a run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import bson
import pytest
from fireworks import Firework
from pydantic import SecretStr

from nearedge.errors import DatabaseUnavailable
from nearedge.launch.failures import fizzled_jobs
from nearedge.launch.fireworks import launchpad
from nearedge.launch.pool import run_workers
from nearedge.settings import Settings, get_settings
from nearedge.store.connection import client, connect, mongo_uri
from nearedge.store.queries import CalculationQuery
from nearedge.store.spectra_store import SpectraStore
from nearedge.structures.source import LoadedStructure
from nearedge.workflows import campaign

KEY = "a-key-of-the-materials-project-a1b2c3"
PAGE = "a-password-of-the-web-page-d4e5f6"


@pytest.fixture
def secretive(
    embedded_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Settings]:
    """Return settings with a password in each place that takes one, for this process as well."""
    secrets = {
        "mongo_uri": mongo_uri(embedded_settings),
        "mp_api_key": KEY,
        "webgui_password": PAGE,
    }
    plain = {"home": str(tmp_path), "database": embedded_settings.database, "keep_runs": "true"}
    for name, value in {**secrets, **plain}.items():
        monkeypatch.setenv(f"NEAREDGE_{name.upper()}", value)
    get_settings.cache_clear()
    yield get_settings()
    get_settings.cache_clear()


def _everything_stored(settings: Settings) -> Iterator[tuple[str, bytes]]:
    """Yield every document of both databases, and every file below the home."""
    for name in (settings.database, settings.launchpad_database):
        database = client(settings)[name]
        for collection in database.list_collection_names():
            for document in database[collection].find({}):
                yield f"{name}.{collection}", bson.encode(document)
    for path in sorted(settings.home.rglob("*")):
        if path.is_file():
            yield str(path), str(path).encode() + path.read_bytes()


@pytest.mark.integration
def test_no_secret_is_found_anywhere_after_a_real_run_and_a_failed_one(
    secretive: Settings,
    molecule: Callable[[str], LoadedStructure],
    idle: Callable[..., Firework],
) -> None:
    assert isinstance(secretive.mongo_uri, SecretStr)
    password = secretive.mongo_uri.get_secret_value().split("//")[1].split("@")[0].split(":")[1]
    assert len(password) > 20
    report = campaign.submit([molecule("CO")], absorber="C", project="demo", settings=secretive)
    assert report.new == 1
    launchpad(secretive).add_wf(idle())  # a function of `math`, which is not trusted here
    done = run_workers(1, secretive)
    assert (done.completed, done.failed) == (2, 1)
    (refused,) = fizzled_jobs(launchpad(secretive), by_machine=False)
    assert "JobRefused" in refused.error
    (calculation,) = SpectraStore.from_settings(secretive).calculations(CalculationQuery())
    assert calculation.completed

    seen = 0
    for where, content in _everything_stored(secretive):
        seen += 1
        for secret in (password, KEY, PAGE):
            assert secret.encode() not in content, where
    assert seen > 20
    assert any(secretive.home.rglob("*.log")), "logs of workers were among it"
    for secret in (password, KEY, PAGE):
        assert secret not in repr(secretive)


def test_an_error_about_the_database_does_not_say_the_password(tmp_path: Path) -> None:
    uri = "mongodb://nearedge:very-secret-indeed@127.0.0.1:9/?authSource=admin"
    settings = Settings(home=tmp_path, mongo_uri=uri, database_timeout=0.2)
    with pytest.raises(DatabaseUnavailable) as raised:
        connect(settings)
    assert "very-secret-indeed" not in str(raised.value)
    cause = raised.value.__cause__ or raised.value.__context__
    assert "very-secret-indeed" not in str(cause)
