"""Bad luck: the database is down at submit, at run, and when a result is to be stored."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from nearedge.errors import DatabaseUnavailable
from nearedge.structures.source import LoadedStructure

if TYPE_CHECKING:
    from tests.faults.conftest import Site

Molecule = Callable[[str], LoadedStructure]

pytestmark = pytest.mark.integration


def test_down_at_submit_and_at_run_nothing_begins_and_afterwards_everything_is_there_once(
    site: Site, molecule: Molecule
) -> None:
    site.kill_server()
    with pytest.raises(DatabaseUnavailable, match="nearedge up"):
        site.submit(molecule("CO"), "C")
    assert site.status().state == "down"
    site.server.up()
    assert site.status().queue == {}
    assert site.submit(molecule("CO"), "C").new == 1
    assert site.submit(molecule("CO"), "C").queued == 1
    site.kill_server()
    with pytest.raises(DatabaseUnavailable):
        site.run()
    site.server.up()
    assert site.status().queue == {"READY": 1, "WAITING": 1}
    assert site.status().hints == ["Ready for a worker: 1 job; `nearedge run` goes on."]
    assert site.run().completed == 2
    site.check_complete()
    site.check_nothing_over()


def test_away_when_a_result_is_to_be_stored_it_waits_and_is_stored_once(
    site: Site, molecule: Molecule
) -> None:
    """Killed during FEFF, back after FEFF: the worker's claim, ping and store all miss it."""
    site.submit(molecule("CO"), "C")
    seen: set[int] = set()
    down = False

    def look() -> None:
        nonlocal down
        running = site.feff()
        seen.update(running[:1] if not seen else ())
        if running and not down:
            site.kill_server()
            down = True
        elif down and not running and site.server.status().status == "dead":
            # The result is on disk meanwhile, as soon as the worker has read FEFF's output.
            site.until(lambda: list(site.settings.runs.rglob("result.json")))
            site.server.up()

    summary = site.run(watch=look)
    assert down
    assert (summary.completed, summary.failed, summary.killed) == (2, 0, 0), summary.messages
    site.check_complete()
    site.check_nothing_over()


KILLED_ON_THE_WAY = """
import os, signal, sys
from pymongo.collection import Collection

insert_many = Collection.insert_many

def cut_short(self, documents, *arguments, **options):
    documents = list(documents)
    if self.name != "fireworks":
        return insert_many(self, documents, *arguments, **options)
    insert_many(self, documents[:1], *arguments, **options)
    os.kill(os.getpid(), signal.SIGKILL)

Collection.insert_many = cut_short
from nearedge.structures.sources import load_structures
from nearedge.workflows.campaign import submit
submit(load_structures([{path!r}]), absorber="C", project="p")
"""


def test_a_submitter_killed_half_way_leaves_nothing_that_cannot_end(
    site: Site, molecule: Molecule, tmp_path: Path
) -> None:
    loaded = molecule("CO")
    path = tmp_path / "CO.json"
    loaded.structure.to_file(str(path))
    submitter = site.start(KILLED_ON_THE_WAY.format(path=str(path)))
    assert submitter.wait(60) == -signal.SIGKILL
    assert site.pad.fireworks.count_documents({}) == 1, "torn, as FireWorks leaves it"
    assert site.submit(loaded, "C").new == 1
    assert site.status().queue == {"READY": 1, "WAITING": 1}
    assert site.run().completed == 2
    site.check_complete()
    site.check_nothing_over()
