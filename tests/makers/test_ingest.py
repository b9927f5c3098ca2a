"""Finished calculations become the documents that a run would give, however often one begins."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from pymongo.errors import AutoReconnect

from nearedge.errors import DatabaseError, InputRefused, SpectrumError
from nearedge.makers import ingest
from nearedge.makers.ingest import ingest_path
from nearedge.settings import Settings
from nearedge.store import recording
from nearedge.store.connection import connect
from nearedge.store.operations import MongoDatabase
from nearedge.store.queries import CalculationQuery, SpectrumQuery
from nearedge.store.spectra_store import SpectraStore

Shared = Callable[[str], Path]
ARCHIVE = "data/omnixas/cu_feff_calculations.tar.xz"


def members(archive: Path) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(archive, "r|*") as opened:
        for member in opened:
            file = opened.extractfile(member)
            if file is not None:
                yield member.name, file.read()


@pytest.fixture(scope="session")
def materials(shared: Shared) -> dict[str, dict[str, bytes]]:
    """The files of the archive's first materials, by material: read once, 40 sites or so."""
    found: dict[str, dict[str, bytes]] = {}
    for name, content in members(shared(ARCHIVE)):
        found.setdefault(PurePosixPath(name).parts[1], {})[name] = content
        if len(found) > 30:
            break
    found.popitem()
    return found


@pytest.fixture
def pack(tmp_path: Path) -> Callable[[dict[str, bytes]], Path]:
    """Return a function that makes an archive."""

    def make(files: dict[str, bytes]) -> Path:
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.tar.xz"
        with tarfile.open(path, "w:xz", preset=0) as archive:
            for name, content in files.items():
                entry = tarfile.TarInfo(name)
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
        return path

    return make


@pytest.fixture
def files(materials: dict[str, dict[str, bytes]]) -> dict[str, bytes]:
    return {name: content for each in materials.values() for name, content in each.items()}


@pytest.fixture
def store(memory_database: MongoDatabase) -> SpectraStore:
    return SpectraStore(memory_database)


def content_of(store: SpectraStore) -> dict[str, dict[str, Any]]:
    """Everything that is stored, without when it was written and by which attempt."""
    writing = {"created_at", "stored_at", "first_put", "last_put"}
    return {
        f"{name}/{stored['_id']}": {k: v for k, v in stored.items() if k not in writing}
        for name in ("calculations", "spectra", "structures", "blobs", "ingested")
        for stored in store.database[name].find({})
    }


def sites_in(files: dict[str, bytes]) -> int:
    return sum(name.endswith("xmu.dat") for name in files)


def test_an_archive_gives_sites_and_averages_with_their_origin(
    store: SpectraStore, files: dict[str, bytes], pack: Callable[[dict[str, bytes]], Path]
) -> None:
    seen: list[tuple[int, float]] = []
    summary = ingest_path(
        pack(files), "feff", store, "cu", lambda count, share: seen.append((count, share))
    )
    assert (summary.new, summary.known, summary.bad) == (sites_in(files), 0, [])
    assert seen[-1][0] == summary.new
    assert [share for _, share in seen] == sorted(share for _, share in seen)
    assert store.count(SpectrumQuery(kind="site")) == summary.new
    materials = {PurePosixPath(n).parts[1] for n in files if n.endswith("xmu.dat")}
    averages = list(store.spectra(SpectrumQuery(kind="average")))
    assert len(averages) == len(materials)
    for average in averages:
        weights = [each.weight for each in average.contributions]
        assert sum(weights) == pytest.approx(1.0)
        multiplicities = [each.multiplicity for each in average.contributions]
        structure = store.structure(average.structure_key)
        assert structure is not None
        copper = structure.to_structure().composition["Cu"]
        assert sum(multiplicities) == copper, "every copper is represented"
    calculation = next(store.calculations(CalculationQuery()))
    assert calculation.origin.startswith("ingest:mp-")
    assert calculation.projects == ["cu"]


def test_the_second_time_nothing_is_new_and_nothing_is_read_again(
    store: SpectraStore,
    files: dict[str, bytes],
    pack: Callable[[dict[str, bytes]], Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    archive = pack(files)
    ingest_path(archive, "feff", store, "cu")
    before = content_of(store)

    def never(*_arguments: object) -> None:
        raise AssertionError("a file was parsed again")

    monkeypatch.setattr("nearedge.codes.feff.finished.parse_deck", never)
    summary = ingest_path(archive, "feff", store, "cu")
    assert (summary.new, summary.known) == (0, sites_in(files))
    assert content_of(store) == before


def test_a_second_project_is_added_to_what_is_there(
    store: SpectraStore, files: dict[str, bytes], pack: Callable[[dict[str, bytes]], Path]
) -> None:
    archive = pack(files)
    ingest_path(archive, "feff", store, "first")
    ingest_path(archive, "feff", store, "second")
    total = store.count(SpectrumQuery())
    assert store.count(SpectrumQuery(project="first")) == total
    assert store.count(SpectrumQuery(project="second")) == total


@pytest.mark.parametrize("writes", range(0, 14, 2))
def test_cut_off_after_any_write_the_repetition_reaches_the_same_state(
    store: SpectraStore,
    files: dict[str, bytes],
    pack: Callable[[dict[str, bytes]], Path],
    monkeypatch: pytest.MonkeyPatch,
    writes: int,
) -> None:
    archive = pack(files)
    monkeypatch.setattr("nearedge.makers.ingest.BATCH", 8)
    left = iter(range(writes))

    def dying(collection: Any, documents: Any) -> Any:
        if documents and next(left, None) is None:
            raise AutoReconnect("killed here")
        return insert_missing(collection, documents)

    insert_missing = recording.insert_missing
    rooms = ("recording", "ledger", "blobs")
    for room in rooms:
        monkeypatch.setattr(f"nearedge.store.{room}.insert_missing", dying)
    with pytest.raises(DatabaseError):
        ingest_path(archive, "feff", store, "cu")
    for room in rooms:
        monkeypatch.setattr(f"nearedge.store.{room}.insert_missing", insert_missing)
    ingest_path(archive, "feff", store, "cu")

    fresh = SpectraStore(store.database.client["fresh"])
    ingest_path(archive, "feff", fresh, "cu")
    assert content_of(store) == content_of(fresh)


def test_sites_that_come_later_complete_the_average(
    store: SpectraStore,
    materials: dict[str, dict[str, bytes]],
    pack: Callable[[dict[str, bytes]], Path],
) -> None:
    crystal = next(each for each in materials.values() if sites_in(each) > 1)
    last = next(name for name in crystal if name.endswith("xmu.dat"))
    folder = str(PurePosixPath(last).parent)
    without = {name: content for name, content in crystal.items() if not name.startswith(folder)}
    only = {
        name: content
        for name, content in crystal.items()
        if name.startswith(folder) or name.endswith("POSCAR")
    }
    ingest_path(pack(without), "feff", store)
    (average,) = store.spectra(SpectrumQuery(kind="average"))
    assert average.state == "incomplete"
    assert average.covered < 1
    ingest_path(pack(only), "feff", store)
    (later,) = store.spectra(SpectrumQuery(kind="average"))
    assert later.spectrum_id == average.spectrum_id
    assert (later.state, later.covered) == ("completed", pytest.approx(1.0))
    assert sum(each.weight for each in later.contributions) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda text: b"", "empty"),
        (lambda text: text[: len(text) // 2], "end"),
        (lambda text: text.replace(b"1.0000000E+00", b"NaN          ", 1), "finite"),
        (lambda text: b"not a spectrum at all\n" * 50, "FEFF"),
    ],
    ids=["empty", "truncated", "not a number", "foreign"],
)
def test_a_bad_file_is_listed_with_its_reason_and_stops_nothing(
    store: SpectraStore,
    files: dict[str, bytes],
    pack: Callable[[dict[str, bytes]], Path],
    damage: Callable[[bytes], bytes],
    reason: str,
) -> None:
    victim = next(name for name in files if name.endswith("xmu.dat"))
    damaged = {**files, victim: damage(files[victim])}
    if damaged[victim] == files[victim]:
        numbers = files[victim].split(b"\n")
        numbers[-20] = numbers[-20].rsplit(b" ", 1)[0] + b" NaN"
        damaged[victim] = b"\n".join(numbers)
    summary = ingest_path(pack(damaged), "feff", store)
    assert summary.new == sites_in(files) - 1
    ((label, said),) = summary.bad
    assert label.startswith(PurePosixPath(victim).parts[1])
    assert reason in said


def test_a_code_that_is_none_is_refused_by_name(store: SpectraStore, tmp_path: Path) -> None:
    with pytest.raises(InputRefused, match="'nexafs'"):
        ingest_path(tmp_path, "nexafs", store)


@pytest.mark.slow
@pytest.mark.integration
def test_the_whole_copper_archive_goes_in_once(shared: Shared, live_settings: Settings) -> None:
    store = SpectraStore(connect(live_settings))
    first = ingest_path(shared(ARCHIVE), "feff", store, "cu")
    assert (first.new, len(first.bad)) == (4831, 2)
    second = ingest_path(shared(ARCHIVE), "feff", store, "cu")
    assert (second.new, second.known) == (0, 4831)


def test_sites_that_cannot_be_averaged_are_kept_and_told(
    store: SpectraStore,
    files: dict[str, bytes],
    pack: Callable[[dict[str, bytes]], Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuses(*_: object) -> None:
        raise SpectrumError("The spectra do not overlap.")

    monkeypatch.setattr(ingest, "average_document", refuses)
    summary = ingest_path(pack(files), "feff", store)
    assert summary.new == sites_in(files) > 0
    assert {reason for _, reason in summary.bad} == {"The spectra do not overlap."}
    assert store.count(SpectrumQuery(kind="average")) == 0
    assert ingest_path(pack(files), "feff", store).known == sites_in(files)
