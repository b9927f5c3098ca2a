"""What a question finds comes whole, in one order, and no question reads more than it should."""

from __future__ import annotations

import random
from collections.abc import Iterator

import mongomock_ng
import pytest

from nearedge.schemas.document import content_hash
from nearedge.store import walking
from nearedge.store.operations import Document, MongoDatabase
from nearedge.store.queries import CalculationQuery, SpectrumQuery
from nearedge.store.spectra_store import SpectraStore
from nearedge.store.walking import ORDER, Walk, holds

ELEMENTS = ("Ti", "Cu", "Fe", "Ni")


def documents(crystals: int) -> Iterator[Document]:
    """Yield three spectra of each crystal, as far as a walk looks at them."""
    for number in range(crystals):
        absorber = ELEMENTS[number % len(ELEMENTS)]
        shared: Document = {
            "structure_key": content_hash(number),
            "structure_id": f"id-{number // 2}",
            "formula": f"{absorber}O{number % 7}",
            "elements": sorted([absorber, "O"]),
            "chemsys": "-".join(sorted([absorber, "O"])),
            "absorber": absorber,
            "edge": "K",
            "code": "vasp" if number % 10 == 0 else "feff",
            "protocol": "fast@1",
            "parameters_id": "p",
            "state": "completed",
            "projects": [f"project-{number // 20}", "all"],
            **COMPLETE,
        }
        for site in (0, 1, None):
            identifier = content_hash([number, site])
            yield {
                **shared,
                "_id": identifier,
                "kind": "average" if site is None else "site",
                "absorbing_index": site,
                "calculation_ids": [f"calculation-{number}"],
            }


COMPLETE = {
    "schema_version": 1,
    "created_at": "2026-11-23T00:00:00Z",
    "code_version": "10",
    "covered": 1.0,
    "energy": [1.0, 2.0],
    "absorption": [0.0, 1.0],
    "unit": "normalized",
    "energy_reference": {"kind": "absolute"},
    "multiplicity": 1,
}


@pytest.fixture(scope="module")
def spectra() -> list[Document]:
    found = list(documents(150))
    random.Random(1).shuffle(found)
    return found


@pytest.fixture(scope="module")
def database(spectra: list[Document]) -> MongoDatabase:
    database: MongoDatabase = mongomock_ng.MongoClient(tz_aware=True).nearedge
    database["spectra"].insert_many(spectra)
    return database


KEY = content_hash(7)
QUERIES: tuple[dict[str, object], ...] = (
    {},
    {"absorber": "Ti", "edge": "K"},
    {"absorber": "Cu", "kind": "average"},
    {"code": "vasp"},
    {"code": "vasp", "absorber": "Fe"},
    {"project": "all", "absorber": "Ni", "code": "feff"},
    {"project": "project-3"},
    {"project": "none"},
    {"formula": "TiO4"},
    {"elements": ["Cu", "O"], "protocol": "fast@1"},
    {"elements": ["Ti", "Cu"]},
    {"elements": ["Cu"], "chemsys": "Fe-O"},
    {"structure_id": "id-7"},
    {"structure_key": KEY, "kind": "site"},
    {"calculation_ids": [f"calculation-{number}" for number in range(0, 150, 2)]},
    {"spectrum_ids": []},
    {"state": "incomplete"},
)


def named(conditions: dict[str, object]) -> str:
    return " ".join(conditions) or "everything"


@pytest.mark.parametrize("conditions", QUERIES, ids=named)
def test_a_walk_finds_what_the_database_finds_in_order(
    conditions: dict[str, object], database: MongoDatabase
) -> None:
    condition = SpectrumQuery(**conditions).filter()
    expected = [row["_id"] for row in database["spectra"].find(condition).sort("_id")]
    walked = [row for rows in Walk(database["spectra"], condition).pieces() for row in rows]
    assert sorted(row["_id"] for row in walked) == expected
    assert walked == sorted(walked, key=place)
    assert Walk(database["spectra"], condition).count() == len(expected)


def place(row: Document) -> list[object]:
    values = [row.get(name) for name in ORDER]
    return [*((value is not None, value or 0) for value in values), row["_id"]]


@pytest.mark.parametrize("conditions", QUERIES, ids=named)
def test_a_page_anywhere_is_a_part_of_the_whole(
    conditions: dict[str, object], database: MongoDatabase
) -> None:
    store = SpectraStore(database)
    query = SpectrumQuery(**conditions)
    whole = store.listing(query)
    for skip, limit in ((0, 7), (5, 20), (150, 30), (0, 10_000)):
        assert store.listing(query, skip=skip, limit=limit) == whole[skip : skip + limit]
    assert store.count(query, most=20) == min(20, len(whole))
    ids = [row.spectrum_id for row in whole]
    assert [each.spectrum_id for each in store.spectra(query, skip=2, limit=9)] == ids[2:11]


def test_keys_that_are_no_hashes_are_found_too(memory_database: MongoDatabase) -> None:
    strange = [{"_id": key, "structure_key": key} for key in ("rutile", "TiO2-1", "")]
    memory_database["spectra"].insert_many(strange)
    walked = [row["_id"] for rows in Walk(memory_database["spectra"], {}).pieces() for row in rows]
    assert sorted(walked) == sorted(each["_id"] for each in strange)


@pytest.mark.parametrize(
    ("conditions", "most"),
    [
        # The sample, and what is expected to hold the page, with a margin and whole crystals.
        ({}, 60),
        ({"code": "feff"}, 70),
        ({"absorber": "Cu"}, 90),
        ({"absorber": "Cu", "code": "vasp"}, 60),
        ({"absorber": "Cu", "kind": "average"}, 160),
        ({"formula": "TiO4"}, 60),
        # Looked up by the rarer of the two: all have oxygen.
        ({"elements": ["O", "Cu"]}, 90),
        ({"project": "project-3"}, 100),
        ({"project": "none"}, 60),
    ],
    ids=str,
)
def test_a_page_reads_about_as_much_as_it_shows(
    conditions: dict[str, object],
    most: int,
    database: MongoDatabase,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of 450 documents, of which up to 405 fit; `test_indexes` shows that an index bounds each."""
    read: list[int] = []

    class Counted(Walk):
        def _ask(self, looked_up: Document, *, complete: bool = False) -> list[Document]:
            rows = super()._ask(looked_up, complete=complete)
            read.append(len(rows))
            return rows

    monkeypatch.setattr(walking, "_SAMPLE", 12)
    walk = Counted(database["spectra"], SpectrumQuery(**conditions).filter(), wanted=20)
    shown = 0
    for rows in walk.pieces():
        shown += len(rows)
        if shown >= 20:
            break
    assert sum(read) <= most, read
    assert len(read) <= 6


def test_a_walk_through_all_reads_bounded_pieces(
    database: MongoDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(walking, "_MOST", 50)
    sizes = [len(rows) for rows in Walk(database["spectra"], {"code": "feff"}).pieces()]
    assert sum(sizes) == 405
    assert max(sizes) < 100


@pytest.mark.parametrize(
    "condition",
    [
        {"projects": "all"},
        {"state": {"$ne": "completed"}},
        {"state": {"$ne": "failed"}},
        {"projects": {"$ne": "project-0"}},
        {"absorber": {"$in": ["Cu", "Fe"]}},
        {"calculation_ids": {"$in": ["calculation-4"]}},
        {"missing": {"$ne": 1}},
        {"missing": 1},
    ],
    ids=str,
)
def test_a_condition_holds_as_in_the_database(
    condition: Document, database: MongoDatabase, spectra: list[Document]
) -> None:
    ((field, wanted),) = condition.items()
    expected = {row["_id"] for row in database["spectra"].find(condition)}
    assert {row["_id"] for row in spectra if holds(row, field, wanted)} == expected


def test_failed_calculations_are_found_among_the_others(memory_database: MongoDatabase) -> None:
    rows = [{**row, "state": "killed" if n % 9 else "completed"} for n, row in
            enumerate(documents(60))]  # fmt: skip
    memory_database["calculations"].insert_many(rows)
    failed = Walk(memory_database["calculations"], CalculationQuery(failed=True).filter())
    assert failed.count() == sum(row["state"] == "killed" for row in rows)
