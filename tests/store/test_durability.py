"""On the real server: what was acknowledged survives kill -9, and nothing is too large."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest

from nearedge.errors import DatabaseUnavailable
from nearedge.schemas.spectrum import SpectrumDoc
from nearedge.settings import Settings
from nearedge.store.claims import Claims
from nearedge.store.connection import connect, initialize
from nearedge.store.features import FeatureStore
from nearedge.store.operations import MongoDatabase
from nearedge.store.overview import overview
from nearedge.store.queries import CalculationQuery, SpectrumQuery
from nearedge.store.records import Record, RecordCounts
from nearedge.store.service import EmbeddedServer
from nearedge.store.spectra_store import SpectraStore

pytestmark = pytest.mark.integration

MakeRecord = Callable[..., Record]
MakeAverage = Callable[..., SpectrumDoc]
HERE = Path(__file__).parent


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[Settings]:
    settings = Settings(home=tmp_path, mongo_uri=None, embedded_cache="64M", database_timeout=1)
    EmbeddedServer(settings).up()
    initialize(settings)
    yield settings
    EmbeddedServer(settings).down()


def kill(settings: Settings) -> None:
    pid = EmbeddedServer(settings).status().pid
    assert pid is not None
    process = psutil.Process(pid)
    os.kill(pid, 9)
    psutil.wait_procs([process], timeout=5)


def test_no_acknowledged_spectrum_is_lost_when_the_server_is_killed(settings: Settings) -> None:
    acknowledged: list[str] = []
    for first in (0, 10_000, 20_000):
        writer = subprocess.Popen(
            [sys.executable, str(HERE / "writer.py"), str(settings.home), str(first)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert writer.stdout is not None
        lines = [writer.stdout.readline()]  # it is at work
        time.sleep(0.4)
        kill(settings)
        lines += writer.stdout.readlines()
        assert writer.wait(30) == 3, "the writer must end because the database is away"
        acknowledged += [line.strip() for line in lines if line.endswith("\n")]
        EmbeddedServer(settings).up()

    store = SpectraStore(connect(settings))
    assert len(acknowledged) > 30
    assert len(set(acknowledged)) == len(acknowledged)
    assert store.completed(acknowledged) == set(acknowledged)
    spectra = {s.calculation_ids[0]: s for s in store.spectra(SpectrumQuery())}
    assert set(acknowledged) <= set(spectra)
    # Every completed calculation has its spectrum and its inputs, also those on the way.
    for calculation in store.calculations(CalculationQuery()):
        spectrum = spectra[calculation.calculation_id]
        assert spectrum.absorption[-1] == 0.125 * 199 + calculation.absorbing_index
        whole = store.calculation(calculation.calculation_id)
        assert whole is not None
        assert whole.inputs["feff.inp"].startswith(f"TITLE {calculation.absorbing_index}\n")
    assert store.count(SpectrumQuery()) == len(spectra)


def test_an_outage_is_one_sentence_and_the_same_store_works_after_it(
    settings: Settings, make_record: MakeRecord
) -> None:
    store = SpectraStore(connect(settings))
    claims = Claims(store.database, beat_seconds=0.1)
    store.record(*make_record(0))
    with claims.hold("c") as claim:
        kill(settings)
        for call in (
            lambda: store.record(*make_record(1)),
            lambda: store.listing(SpectrumQuery()),
            lambda: list(store.spectra(SpectrumQuery())),
            lambda: overview(store.database, datetime.now(UTC)),
        ):
            with pytest.raises(DatabaseUnavailable, match="nearedge up"):
                call()
        EmbeddedServer(settings).up()
        # The same objects, with dead connections in their pool, go on where they were.
        assert store.record(*make_record(1))
        assert store.count(SpectrumQuery(absorber="Ti")) == 2
        [before] = claims.live()
        deadline = time.monotonic() + 10
        while claims.live()[0].last_beat <= before.last_beat:
            assert time.monotonic() < deadline, "the heart stood still after the outage"
            time.sleep(0.05)
        assert not claim.lost
    assert claims.live() == []


def test_a_worker_killed_with_a_claim_is_succeeded_at_once(settings: Settings) -> None:
    writer = subprocess.Popen(
        [sys.executable, str(HERE / "writer.py"), str(settings.home), "claim"],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert writer.stdout is not None
    assert writer.stdout.readline() == "claimed\n"
    claims = Claims(connect(settings))
    assert [claim.owner for claim in claims.live()] == ["alive"]
    writer.kill()
    writer.wait()
    with claims.hold("c", timeout=0):
        assert [claim.pid for claim in claims.live()] == [os.getpid()]


def test_many_who_record_the_same_at_once_record_it_once(
    embedded_database: MongoDatabase, make_record: MakeRecord
) -> None:
    records = [make_record(i) for i in range(60)]

    def record(worker: int) -> RecordCounts:
        store = SpectraStore(embedded_database)
        return store.record_many(records[worker * 10 :] + records[: worker * 10])

    with ThreadPoolExecutor(4) as pool:
        counts = list(pool.map(record, range(4)))
    assert sum(count.new for count in counts) == 60
    assert sum(count.known for count in counts) == 180
    store = SpectraStore(embedded_database)
    assert store.count(SpectrumQuery()) == store.count(CalculationQuery()) == 60


def test_documents_over_the_limit_of_the_database_come_back_exactly(
    embedded_database: MongoDatabase, make_record: MakeRecord
) -> None:
    store = SpectraStore(embedded_database)
    record = make_record(points=1_500_000)  # 12 MB an array, 24 MB a document
    assert record.spectrum is not None
    absorption = [float(hash(i) % 9973) / 9973 for i in range(1_500_000)]
    large = record.spectrum.model_copy(update={"absorption": absorption})
    assert store.record(record.calculation, large)
    assert not store.record(record.calculation, large)
    assert store.site_spectrum(record.calculation.calculation_id) == large
    assert len(store.listing(SpectrumQuery())) == 1
    assert store.orphans() == set()


def test_the_store_does_on_the_server_what_it_does_in_memory(
    embedded_database: MongoDatabase, make_record: MakeRecord, make_average: MakeAverage
) -> None:
    store = SpectraStore(embedded_database)
    one, two = make_record(0), make_record(1)
    store.record(*make_record(1, state="killed"))
    store.put_average(make_average(one, make_record(1, state="killed")))
    counts = store.record_many([one, two])
    assert (counts.new, counts.known) == (2, 0)
    assert not store.record(*make_record(1, state="killed", project="late"))
    store.put_average(make_average(one, two))
    store.put_average(make_average(one, make_record(1, state="killed")))
    site, other, average = store.listing(SpectrumQuery(elements=["O", "Ti"]))[1:] + store.listing(
        SpectrumQuery(kind="average")
    )
    assert (site.kind, other.kind, average.kind, average.covered) == ("site", "site", "average", 1)
    assert other.projects == ("titania", "late")
    assert store.listing(SpectrumQuery(), limit=2, skip=1) == store.listing(SpectrumQuery())[1:3]
    found = overview(embedded_database, datetime.now(UTC))
    assert (found.spectra, found.incomplete_averages) == (3, 0)
    assert FeatureStore(embedded_database).get_many([], None) == {}  # type: ignore[arg-type]


def test_a_blob_whose_document_never_came_is_found_and_can_go(
    embedded_database: MongoDatabase, make_record: MakeRecord
) -> None:
    store = SpectraStore(embedded_database)
    store.record(*make_record(points=20_000, inputs="ATOMS\n" * 2000))
    orphan = store.blobs.put(b"written by a worker that was killed")
    assert store.orphans() == set()  # young: its document may be on its way
    assert store.orphans(older_than=timedelta(0)) == {orphan}
    assert store.blobs.remove([orphan]) == 1
    assert store.orphans(older_than=timedelta(0)) == set()
