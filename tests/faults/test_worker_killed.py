"""Bad luck: a worker is killed during FEFF, between a blob and its document, or asked to end."""

from __future__ import annotations

import signal
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING

import psutil
import pytest

from nearedge.store.queries import CalculationQuery, SpectrumQuery
from nearedge.structures.source import LoadedStructure

if TYPE_CHECKING:
    from tests.faults.conftest import Site

Molecule = Callable[[str], LoadedStructure]

pytestmark = pytest.mark.integration

_SMALL_BLOBS = """
from nearedge.store import packing
packing.TEXT_LIMIT = 10
"""
_KILLED_AFTER_THE_BLOB = (
    _SMALL_BLOBS
    + """
import os
from nearedge.store.blobs import BlobStore
put = BlobStore._put
def put_and_die(self, contents, *attempt):
    put(self, contents, *attempt)
    if contents:
        os.kill(os.getpid(), 9)
BlobStore._put = put_and_die
"""
)


def test_killed_during_feff_nothing_runs_on_and_the_next_run_computes_it_once(
    site: Site, molecule: Molecule
) -> None:
    site.submit(molecule("CO"), "C")
    worker = site.start_worker()
    site.until(site.feff)
    worker.kill()
    worker.wait()
    site.until(lambda: not site.feff(), seconds=10)
    found = site.status()
    assert found.queue == {"RUNNING": 1, "WAITING": 1}
    assert [each.owner for each in found.running] == ["dead"]
    assert "puts back 1 job whose worker" in found.hints[0]
    assert site.store.count(CalculationQuery()) == 0
    summary = site.run()
    assert (summary.completed, summary.failed) == (2, 0), summary.messages
    site.check_complete()
    site.check_nothing_over()


@pytest.mark.slow
def test_killed_with_the_supervisor_of_its_code_nothing_runs_on_and_it_is_computed_once(
    site: Site, molecule: Molecule
) -> None:
    site.submit(molecule("CO"), "C")
    worker = site.start_worker()
    site.until(site.feff)
    site.kill_with_supervisor(psutil.Process(worker.pid))
    worker.wait()
    site.until(lambda: not site.feff(), seconds=10)
    assert site.run().completed == 2
    site.check_complete()
    site.check_nothing_over()


@pytest.mark.slow
def test_asked_to_end_during_feff_the_job_is_put_back_at_once_and_computed_once(
    site: Site, molecule: Molecule
) -> None:
    site.submit(molecule("CO"), "C")
    worker = site.start_worker()
    site.until(site.feff)
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(timeout=20) == 0
    assert site.feff() == []
    found = site.status()
    assert found.queue == {"READY": 1, "WAITING": 1}
    assert found.running == []
    assert site.store.count(CalculationQuery()) == 0
    assert not [path for path in site.settings.runs.rglob("*") if path.is_file()]
    assert site.recover().total == 0, "there was nothing to put right"
    assert site.run().completed == 2
    site.check_complete()
    site.check_nothing_over()


def test_killed_between_a_blob_and_its_document_the_result_is_stored_without_computing(
    site: Site, molecule: Molecule
) -> None:
    site.submit(molecule("CO"), "C")
    worker = site.start_worker(_KILLED_AFTER_THE_BLOB)
    assert worker.wait(timeout=120) == -signal.SIGKILL
    assert site.store.blobs.ids(), "the blob is there"
    assert site.store.count(CalculationQuery()) == 0, "its document is not"
    assert site.store.count(SpectrumQuery()) == 0
    assert "puts back 1 job whose worker" in site.status().hints[0]
    site.recover()
    computed: list[int] = []
    again = site.start_worker(_SMALL_BLOBS)
    site.until(lambda: computed.extend(site.feff()) or again.poll() is not None, seconds=60)
    assert again.returncode == 0
    assert computed == [], "FEFF did not run a second time"
    site.check_complete()
    orphans = site.store.orphans(older_than=timedelta(0))
    assert orphans == set(), "the blob has found its document"


_POOL = """
from nearedge.launch.pool import run_workers
from nearedge.settings import get_settings
print(run_workers(1, get_settings()))
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT], ids=["killed", "Ctrl-C"])
def test_when_the_pool_ends_its_workers_and_their_codes_end_too(
    site: Site, molecule: Molecule, how: signal.Signals
) -> None:
    site.submit(molecule("CO"), "C")
    pool = site.start(_POOL)
    site.until(site.feff)
    everything = site.children(pool)
    pool.send_signal(how)
    pool.wait(timeout=20)
    site.until(lambda: not any(site.works(each) for each in everything), seconds=20)
    assert site.feff() == []
    assert site.status().queue == {"READY": 1, "WAITING": 1}
    assert site.store.count(CalculationQuery()) == 0
