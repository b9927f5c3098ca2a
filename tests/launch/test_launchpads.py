"""Several queues work for one database, and none computes what another has or is at."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
from fireworks import Firework

from nearedge.cli.database_state import overview
from nearedge.errors import LaunchError
from nearedge.launch.fireworks import (
    LAUNCHPADS,
    ensure_launchpad_indexes,
    launchpad,
    launchpad_databases,
)
from nearedge.launch.folders import old_folders
from nearedge.launch.pool import worker_environment
from nearedge.launch.webpage.lifecycle import WebPage
from nearedge.settings import Settings
from nearedge.store.connection import client, connect
from nearedge.store.queries import CalculationQuery, SpectrumQuery
from nearedge.store.spectra_store import SpectraStore
from nearedge.structures.source import LoadedStructure
from nearedge.workflows import campaign

pytestmark = pytest.mark.integration

Molecule = Callable[[str], LoadedStructure]


@pytest.fixture
def queues(live_settings: Settings) -> Iterator[tuple[Settings, Settings]]:
    """Return the settings of two queues of one database."""
    other = live_settings.model_copy(update={"launchpad": "other"})
    yield live_settings, other
    client(other).drop_database(other.launchpad_database)


def test_each_has_its_jobs_and_the_database_knows_of_both(
    queues: tuple[Settings, Settings], idle: Callable[..., Firework]
) -> None:
    usual, other = queues
    for settings in queues:
        ensure_launchpad_indexes(launchpad(settings))
        ensure_launchpad_indexes(launchpad(settings))
    launchpad(other).add_wf(idle())
    counts = [launchpad(each).fireworks.count_documents({}) for each in queues]
    assert counts == [0, 1]
    database = connect(usual)
    assert [row["_id"] for row in database[LAUNCHPADS].find({})] == [other.launchpad_database]
    names = {each.name for each in launchpad_databases(usual, database)}
    assert names == {usual.launchpad_database, other.launchpad_database}
    assert WebPage(usual).folder != WebPage(other).folder
    found = overview(other)
    assert (found.launchpad, found.queue) == (other.launchpad_database, {"READY": 1})
    assert found.other_launchpads == [usual.launchpad_database]


def test_a_queue_never_has_the_name_of_a_database_of_spectra(
    embedded_settings: Settings,
) -> None:
    above, _, name = embedded_settings.database.partition("_")
    settings = embedded_settings.model_copy(update={"database": above, "launchpad": name})
    with pytest.raises(LaunchError, match="holds spectra"):
        ensure_launchpad_indexes(launchpad(settings))


def test_clean_leaves_what_another_queue_runs(
    queues: tuple[Settings, Settings], idle: Callable[..., Firework]
) -> None:
    usual, other = queues
    for settings in queues:
        ensure_launchpad_indexes(launchpad(settings))
    folder = usual.runs / "launches" / "0123456789abcdef"
    folder.mkdir(parents=True)
    pad = launchpad(other)
    pad.launches.insert_one({"launch_id": 1, "state": "RUNNING", "launch_dir": str(folder)})
    found = old_folders(usual, launchpad(usual), connect(usual), timedelta(0))
    assert found == []
    pad.launches.update_one({}, {"$set": {"state": "COMPLETED"}})
    (found,) = old_folders(usual, launchpad(usual), connect(usual), timedelta(0))
    assert found.path == str(folder)


@pytest.mark.slow
def test_two_queues_with_the_same_sites_compute_each_once(
    queues: tuple[Settings, Settings], molecule: Molecule
) -> None:
    queues = tuple(each.model_copy(update={"keep_runs": True}) for each in queues)  # type: ignore[assignment]
    for settings in queues:
        crystal = molecule("CCO")
        report = campaign.submit([crystal], absorber="C", project="p", settings=settings)
        assert report.new == 2
    command = [sys.executable, "-P", "-m", "nearedge.launch.worker"]
    workers = [
        subprocess.Popen(command, env=worker_environment(settings), stdout=subprocess.PIPE)
        for settings in queues
    ]
    said = [worker.communicate(timeout=180)[0].decode() for worker in workers]
    done = [json.loads(each.splitlines()[-1]) for each in said]
    assert [(each["completed"], each["failed"]) for each in done] == [(3, 0), (3, 0)]
    store = SpectraStore(connect(queues[0]))
    assert store.count(CalculationQuery(state="completed")) == 2
    assert store.count(SpectrumQuery()) == 3
    calculations = [
        calculation.calculation_id for calculation in store.calculations(CalculationQuery())
    ]
    for name in calculations:
        attempts = [path for path in (queues[0].runs / name).iterdir() if path.is_dir()]
        assert len(attempts) == 1, "FEFF ran once"
    third = queues[0].model_copy(update={"launchpad": "third"})
    try:
        again = campaign.submit([molecule("CCO")], absorber="C", project="q", settings=third)
        assert (again.new, again.known) == (0, 2)
    finally:
        client(third).drop_database(third.launchpad_database)
