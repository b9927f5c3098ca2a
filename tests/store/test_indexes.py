"""Every question people ask is answered by an index, shown by the server's own explanation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pymongo import ASCENDING, MongoClient
from pymongo.monitoring import CommandListener, CommandStartedEvent

from nearedge.schemas.document import content_hash
from nearedge.settings import Settings
from nearedge.store.connection import client, connect, initialize, mongo_uri
from nearedge.store.indexes import INDEXES, ensure_indexes
from nearedge.store.operations import Document, MongoDatabase
from nearedge.store.queries import CalculationQuery, SpectrumQuery
from nearedge.store.records import Record
from nearedge.store.spectra_store import SpectraStore

pytestmark = pytest.mark.integration

OXIDES = [("Ti", "TiO2"), ("Cu", "Cu2O"), ("Fe", "FeO"), ("Ni", "NiO")]
PAGE = 10
DATABASE = "test_indexes"


def key(formula: str, number: int) -> str:
    return content_hash([formula, number])


class Asked(CommandListener):
    """The conditions of the questions that were asked since it was emptied."""

    def __init__(self) -> None:
        self.conditions: list[Document] = []

    def started(self, event: CommandStartedEvent) -> None:
        assert event.command_name != "aggregate"
        if event.command_name == "find":
            self.conditions.append(dict(event.command["filter"]))

    def succeeded(self, event: object) -> None:
        pass

    def failed(self, event: object) -> None:
        pass


@pytest.fixture(scope="module")
def filled(
    embedded_server: Settings, make_record: Callable[..., Record]
) -> Iterator[MongoDatabase]:
    settings = embedded_server.model_copy(update={"database": DATABASE})
    initialize(settings)
    database = connect(settings)
    records = [
        make_record(
            site,
            absorber=element,
            formula=formula,
            elements=tuple(sorted([element, "O"])),
            structure=key(formula, number),
            project=f"project-{number}",
        )
        for element, formula in OXIDES
        for number in range(30)
        for site in range(3)
    ]
    records.append(
        make_record(99, state="scf_not_converged", structure=key("bad", 0), formula="TiO")
    )
    SpectraStore(database).record_many(records)
    yield database
    client(settings).drop_database(settings.database)


@pytest.fixture(scope="module")
def watched(embedded_server: Settings, filled: MongoDatabase) -> Iterator[tuple[Any, Asked]]:
    asked = Asked()
    watched: MongoClient[Document] = MongoClient(
        mongo_uri(embedded_server), event_listeners=[asked]
    )
    yield SpectraStore(watched[DATABASE]), asked
    watched.close()


MOST_READ = 160
"""By a page of ten: a sample of some 60, mostly, and what is expected to hold the page."""
# Conditions, and how many of the 360 spectra fit.
SPECTRA: list[tuple[dict[str, object], int]] = [
    ({}, 360),
    ({"absorber": "Ti", "edge": "K", "code": "feff", "protocol": "fast@1"}, 90),
    ({"absorber": "Ti", "edge": "K", "code": "feff"}, 90),
    ({"absorber": "Ti", "edge": "K"}, 90),
    ({"absorber": "Ti"}, 90),
    ({"absorber": "Ti", "kind": "site", "state": "completed"}, 90),
    ({"formula": "O4Ti2"}, 90),
    ({"formula": "TiO2", "absorber": "Ti", "edge": "K", "code": "feff", "kind": "site"}, 90),
    ({"elements": ["Ti"]}, 90),
    ({"elements": ["O", "Ti"], "absorber": "Ti"}, 90),
    ({"chemsys": "Ti-O"}, 90),
    ({"project": "project-3"}, 12),
    ({"project": "project-3", "absorber": "Ti", "edge": "K"}, 3),
    ({"project": "project-3", "code": "feff"}, 12),
    ({"project": "none"}, 0),
    ({"structure_id": "id of Cu2O"}, 90),
    ({"structure_key": key("Cu2O", 1)}, 3),
    ({"structure_key": key("Cu2O", 1), "absorber": "Cu", "protocol": "fast@1"}, 3),
    ({"code": "feff"}, 360),
    ({"code": "xspectra"}, 0),
    ({"protocol": "fast@1"}, 360),
    ({"parameters_id": "none"}, 0),
    ({"state": "incomplete"}, 0),
    ({"kind": "average"}, 0),
    ({"kind": "average", "state": "incomplete"}, 0),
    ({"calculation_ids": ["none"]}, 0),
    ({"spectrum_ids": ["none"], "kind": "site"}, 0),
]
CALCULATIONS: list[tuple[dict[str, object], int]] = [
    ({}, 361),
    ({"absorber": "Cu", "edge": "K", "code": "feff", "protocol": "fast@1"}, 90),
    ({"formula": "Cu2O"}, 90),
    ({"chemsys": "Cu-O"}, 90),
    ({"elements": ["Cu"]}, 90),
    ({"project": "project-3"}, 12),
    ({"structure_key": key("Cu2O", 1)}, 3),
    ({"structure_id": "id of Cu2O"}, 90),
    ({"state": "scf_not_converged"}, 1),
    ({"state": "scf_not_converged", "code": "feff"}, 1),
    ({"state": "completed"}, 360),
    ({"calculation_ids": ["none"]}, 0),
]


@pytest.mark.parametrize(("conditions", "fit"), SPECTRA, ids=str)
def test_questions_for_spectra_read_little_by_an_index(
    watched: tuple[SpectraStore, Asked],
    filled: MongoDatabase,
    conditions: dict[str, object],
    fit: int,
) -> None:
    query = SpectrumQuery(**conditions)
    store, asked = watched
    asked.conditions.clear()
    assert len(store.listing(query, limit=PAGE)) == min(fit, PAGE)
    check(filled["spectra"], asked)
    assert len(store.listing(query)) == fit
    assert_all_by_an_index(filled["spectra"], asked)


@pytest.mark.parametrize(("conditions", "fit"), CALCULATIONS, ids=str)
def test_questions_for_calculations_read_little_by_an_index(
    watched: tuple[SpectraStore, Asked],
    filled: MongoDatabase,
    conditions: dict[str, object],
    fit: int,
) -> None:
    query = CalculationQuery(**conditions)
    store, asked = watched
    asked.conditions.clear()
    assert store.count(query, most=PAGE) == min(fit, PAGE)
    check(filled["calculations"], asked)
    assert len(list(store.calculations(query))) == fit
    assert_all_by_an_index(filled["calculations"], asked)


def check(collection: Any, asked: Asked) -> None:
    """Check that a page took few questions, and that they read few documents."""
    assert len(asked.conditions) <= 6
    assert sum(assert_all_by_an_index(collection, asked)) <= MOST_READ


def assert_all_by_an_index(collection: Any, asked: Asked) -> list[int]:
    """Check that each question is answered by one index alone; return what each reads."""
    read = []
    for condition in asked.conditions:
        explained = collection.find(condition).explain()
        plan = scan(explained["queryPlanner"]["winningPlan"])
        assert plan["stage"] == "IXSCAN", condition
        # Of a condition that is not in the index the explanation would not say what it reads.
        assert set(plan["keyPattern"]) >= set(condition)
        read.append(int(explained["executionStats"]["totalDocsExamined"]))
    return read


def scan(plan: Document) -> Document:
    while "inputStage" in plan:
        plan = plan["inputStage"]
    return plan


def test_the_listing_leaves_the_arrays_in_the_database(filled: MongoDatabase) -> None:
    rows = SpectraStore(filled).listing(SpectrumQuery(), limit=1)
    assert not {"energy", "absorption"} & set(vars(rows[0]))
    assert not {"energy", "absorption"} & set(rows[0].projection())


def test_indexes_may_be_ensured_again(filled: MongoDatabase) -> None:
    ensure_indexes(filled)
    for collection, keys in INDEXES.items():
        # one more: the index on _id
        assert len(filled[collection].index_information()) == len(keys) + 1, collection


def test_indexes_of_earlier_releases_are_replaced_and_those_of_others_kept(
    embedded_settings: Settings,
) -> None:
    database = connect(embedded_settings)
    database["spectra"].drop_index("kind_1_structure_key_1")
    for fields in (["kind", "state"], ["formula"], ["created_at"]):
        database["spectra"].create_index([(field, ASCENDING) for field in fields], background=True)
    ensure_indexes(database)
    there = set(database["spectra"].index_information())
    assert "kind_1_structure_key_1" in there
    assert "created_at_1" in there
    assert not {"kind_1_state_1", "formula_1"} & there
