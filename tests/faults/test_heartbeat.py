"""Bad luck: the database is away while a worker shows that it lives."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from fireworks.core import rocket
from fireworks.core.fworker import FWorker
from pymongo.errors import PyMongoError

from nearedge.errors import NearEdgeError
from nearedge.launch import heartbeat
from nearedge.launch.heartbeat import WORKERS, Heartbeat
from nearedge.store.claims import Claims
from nearedge.store.connection import connect
from nearedge.structures.source import LoadedStructure

if TYPE_CHECKING:
    from tests.faults.conftest import Site

Molecule = Callable[[str], LoadedStructure]

pytestmark = pytest.mark.integration


@pytest.mark.parametrize("seconds", [3, pytest.param(20, marks=pytest.mark.slow)])
def test_every_sign_of_life_outlasts_an_outage(
    site: Site, molecule: Molecule, monkeypatch: pytest.MonkeyPatch, seconds: int
) -> None:
    monkeypatch.setattr(heartbeat, "BEAT_SECONDS", 0.1)
    monkeypatch.setattr(rocket, "PING_TIME_SECS", 0.1)
    site.submit(molecule("CO"), "C")
    _, launch = site.pad.checkout_fw(FWorker(name="w"), "/nowhere")
    beats = Heartbeat(site.settings, "w")

    def signs() -> tuple[int, int, str]:
        worker = site.pad.db[WORKERS].find_one({"_id": "w"}) or {"beat": 0}
        claim = connect(site.settings)["claims"].find_one({"_id": "c"}) or {"beat": 0}
        pinged = site.pad.launches.find_one({"launch_id": launch})["state_history"][-1]
        return worker["beat"], claim["beat"], str(pinged["updated_on"])

    def all_moved(before: tuple[int, int, str]) -> bool:
        try:
            return all(now > then for now, then in zip(signs(), before, strict=True))
        except (PyMongoError, NearEdgeError):
            return False

    with Claims(connect(site.settings), beat_seconds=0.1).hold("c"):
        beats.start()
        stop = rocket.start_ping_launch(site.pad, launch)
        try:
            first = signs()
            site.until(lambda: all_moved(first))
            site.kill_server()
            time.sleep(seconds)
            site.server.up()
            after = signs()
            site.until(lambda: all_moved(after))
        finally:
            stop.set()
            beats.stop()
    assert site.pad.db[WORKERS].find_one({"_id": "w"}) is None, "it ended in order"
