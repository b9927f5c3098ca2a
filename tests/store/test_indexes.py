"""Every question people ask is answered by an index, shown by the server's own explanation."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from nearedge.settings import Settings
from nearedge.store.connection import client, connect, initialize
from nearedge.store.indexes import INDEXES, ensure_indexes
from nearedge.store.operations import Document, MongoDatabase
from nearedge.store.queries import CalculationQuery, Query, SpectrumQuery
from nearedge.store.records import Record
from nearedge.store.spectra_store import SpectraStore

pytestmark = pytest.mark.integration

OXIDES = [("Ti", "TiO2"), ("Cu", "Cu2O"), ("Fe", "FeO"), ("Ni", "NiO")]


@pytest.fixture(scope="module")
def filled(
    embedded_server: Settings, make_record: Callable[..., Record]
) -> Iterator[MongoDatabase]:
    settings = embedded_server.model_copy(update={"database": "test_indexes"})
    initialize(settings)
    database = connect(settings)
    records = [
        make_record(
            site,
            absorber=element,
            formula=formula,
            elements=tuple(sorted([element, "O"])),
            structure=f"{formula}-{number}",
            project=f"project-{number}",
        )
        for element, formula in OXIDES
        for number in range(10)
        for site in range(3)
    ]
    records.append(make_record(99, state="scf_not_converged", structure="bad", formula="TiO"))
    SpectraStore(database).record_many(records)
    yield database
    client(settings).drop_database(settings.database)


def scan(plan: Document) -> Document:
    while "inputStage" in plan:
        plan = plan["inputStage"]
    return plan


SPECTRA: list[tuple[dict[str, object], int]] = [
    ({"absorber": "Ti", "edge": "K", "code": "feff", "protocol": "fast@1"}, 30),
    ({"absorber": "Ti", "edge": "K", "code": "feff"}, 30),
    ({"absorber": "Ti", "edge": "K"}, 30),
    ({"absorber": "Ti"}, 30),
    ({"formula": "O4Ti2"}, 30),
    ({"elements": ["Ti"]}, 30),
    ({"chemsys": "Ti-O"}, 30),
    ({"project": "project-3"}, 12),
    ({"structure_id": "id of Cu2O"}, 30),
    ({"structure_key": "Cu2O-1"}, 3),
    ({"code": "xspectra"}, 0),
    ({"state": "incomplete"}, 0),
    ({"kind": "average"}, 0),
    ({"kind": "average", "state": "incomplete"}, 0),
    ({"calculation_ids": ["none"]}, 0),
]
CALCULATIONS: list[tuple[dict[str, object], int]] = [
    ({"absorber": "Cu", "edge": "K", "code": "feff", "protocol": "fast@1"}, 30),
    ({"formula": "Cu2O"}, 30),
    ({"chemsys": "Cu-O"}, 30),
    ({"project": "project-3"}, 12),
    ({"structure_key": "Cu2O-1"}, 3),
    ({"state": "scf_not_converged"}, 1),
    ({"state": "scf_not_converged", "code": "feff"}, 1),
]


@pytest.mark.parametrize(("conditions", "expected"), SPECTRA, ids=str)
def test_questions_for_spectra_use_an_index(
    filled: MongoDatabase, conditions: dict[str, object], expected: int
) -> None:
    check(filled, "spectra", SpectrumQuery(**conditions), expected)


@pytest.mark.parametrize(("conditions", "expected"), CALCULATIONS, ids=str)
def test_questions_for_calculations_use_an_index(
    filled: MongoDatabase, conditions: dict[str, object], expected: int
) -> None:
    check(filled, "calculations", CalculationQuery(**conditions), expected)


def check(database: MongoDatabase, collection: str, query: Query, expected: int) -> None:
    explained = database[collection].find(query.filter()).explain()
    assert scan(explained["queryPlanner"]["winningPlan"])["stage"] == "IXSCAN"
    statistics = explained["executionStats"]
    assert statistics["nReturned"] == expected
    assert statistics["totalDocsExamined"] <= expected + 1


@pytest.mark.parametrize(
    "conditions",
    [
        {"formula": "TiO2", "absorber": "Ti", "edge": "K", "code": "feff", "kind": "site"},
        {"project": "project-3", "absorber": "Ti", "edge": "K"},
        {"elements": ["O", "Ti"], "absorber": "Ti"},
        {"structure_key": "TiO2-1", "absorber": "Ti", "edge": "K", "protocol": "fast@1"},
    ],
    ids=str,
)
def test_of_several_conditions_the_first_is_narrow_and_has_an_index(
    filled: MongoDatabase, conditions: dict[str, object]
) -> None:
    """The embedded server looks up the first condition with an index; its `explain` hides that."""
    query = SpectrumQuery(**conditions).filter()
    field, value = next(iter(query.items()))
    explained = filled["spectra"].find({field: value}).explain()
    assert scan(explained["queryPlanner"]["winningPlan"])["stage"] == "IXSCAN"
    assert explained["executionStats"]["totalDocsExamined"] <= 30
    assert SpectraStore(filled).count(SpectrumQuery(**conditions)) > 0


def test_the_listing_leaves_the_arrays_in_the_database(filled: MongoDatabase) -> None:
    rows = SpectraStore(filled).listing(SpectrumQuery(), limit=1)
    assert not {"energy", "absorption"} & set(vars(rows[0]))
    assert not {"energy", "absorption"} & set(rows[0].projection())


def test_indexes_may_be_ensured_again(filled: MongoDatabase) -> None:
    ensure_indexes(filled)
    for collection, keys in INDEXES.items():
        # one more: the index on _id
        assert len(filled[collection].index_information()) == len(keys) + 1, collection
