"""A result that comes late is refused by the very write that would store it, and leaves nothing."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from nearedge.schemas import CalculationDoc
from nearedge.schemas.calculation import Failure
from nearedge.store import packing
from nearedge.store.claims import Claims
from nearedge.store.operations import MongoDatabase
from nearedge.store.records import Record
from nearedge.store.spectra_store import SpectraStore


@pytest.fixture
def store(
    memory_database: MongoDatabase, copper_oxides: Callable[..., None], monkeypatch: Any
) -> SpectraStore:
    """Return a store that nothing is in, whose input files are blobs."""
    monkeypatch.setattr(packing, "TEXT_LIMIT", 10)
    copper_oxides(memory_database, 1)
    return SpectraStore(memory_database)


@pytest.fixture
def attempt(store: SpectraStore) -> Callable[..., Record]:
    """Return a maker of attempts at one calculation, each with an input file of its own."""
    (calculation,) = store.database["calculations"].find({}, {"_id": 1})
    known = store.calculation(calculation["_id"])
    spectrum = store.site_spectrum(calculation["_id"])
    assert known is not None
    for name in ("calculations", "spectra"):
        store.database[name].delete_many({})

    def make(name: str, state: str = "completed") -> Record:
        failed = state != "completed"
        changes = {
            "inputs": {"feff.inp": name * 20},
            "wall_seconds": float(len(name)),
            "state": state,
            "failure": Failure(name=state, message="It failed.") if failed else None,
            "run_dir": f"runs/{name}" if failed else None,
        }
        calculation = CalculationDoc.model_validate({**known.model_dump(), **changes})
        return Record(calculation, None if failed else spectrum, None)

    return make


def seen(store: SpectraStore, record: Record) -> CalculationDoc:
    found = store.calculation(record.calculation.calculation_id)
    assert found is not None
    return found


@pytest.mark.parametrize("first", ["completed", "scf_not_converged"])
@pytest.mark.parametrize("late", ["completed", "idle_timeout"])
def test_the_late_attempt_is_refused_and_nothing_of_it_stays(
    store: SpectraStore, attempt: Callable[..., Record], first: str, late: str
) -> None:
    assert store.conclude([attempt("first", first)], {}, "a") == set()
    refused = attempt("the late", late)
    assert store.conclude([refused], {}, "b") == {refused.calculation.calculation_id}
    stored = seen(store, attempt("first"))
    assert stored.state == first
    assert stored.inputs == {"feff.inp": "first" * 20}
    assert store.database["spectra"].count_documents({}) == (first == "completed")
    assert store.orphans(older_than=timedelta(0)) == set()


def test_a_failure_is_replaced_by_who_saw_it_and_by_nobody_who_saw_an_earlier_one(
    store: SpectraStore, attempt: Callable[..., Record], make_record: Callable[..., Record]
) -> None:
    one = attempt("one", "idle_timeout")
    this = one.calculation.calculation_id
    assert store.conclude([one], {}, "a") == set()
    saw = {this: seen(store, one)}
    other = make_record()
    for _ in range(2):  # the answer to the first is lost
        again = [attempt("second", "scf_not_converged"), other]
        assert store.conclude(again, saw, "b") == set(), "with what nothing is known of"
    assert store.conclude([attempt("the third")], saw, "c") == {this}
    assert store.conclude([attempt("the fourth one")], {this: seen(store, one)}, "d") == set()
    stored = seen(store, one)
    assert stored.completed


def test_an_attempt_whose_answer_was_lost_is_its_own(
    store: SpectraStore, attempt: Callable[..., Record]
) -> None:
    for _ in range(2):
        assert store.conclude([attempt("one")], {}, "a") == set()
    assert store.orphans(older_than=timedelta(0)) == set()
    assert store.database["spectra"].count_documents({}) == 1


def test_a_blob_that_somebody_else_has_put_since_stays(store: SpectraStore) -> None:
    mine, both = {"a" * 64: b"of one"}, {"b" * 64: b"of both"}
    for _ in range(2):  # the answer to the first was lost
        store.blobs.put_many(mine | both, attempt="one")
    store.blobs.put_many(both, attempt="two")
    for attempt in ("one", "two"):
        store.blobs.withdraw([*mine, *both], attempt)
    assert store.blobs.ids() == set(both)


def test_a_claim_is_confirmed_by_its_owner_alone(memory_database: MongoDatabase) -> None:
    with Claims(memory_database).hold("c") as claim:
        assert claim.confirmed()
        memory_database["claims"].update_one({"_id": "c"}, {"$set": {"owner": "another"}})
        assert not claim.confirmed()
        assert claim.lost


def test_of_many_those_that_are_late_leave_nothing_and_the_others_are_stored(
    store: SpectraStore, attempt: Callable[..., Record], make_record: Callable[..., Record]
) -> None:
    store.conclude([attempt("first")], {}, "a")
    late = attempt("the late")
    other = make_record()
    assert store.conclude([late, other], {}, "b") == {late.calculation.calculation_id}
    assert store.conclude([other], {}, "b") == set(), "as when the answer was lost on the way"
    stored = seen(store, late)
    assert stored.inputs == {"feff.inp": "first" * 20}
    assert store.database["calculations"].count_documents({}) == 2
    assert store.database["spectra"].count_documents({}) == 2
    assert store.orphans(older_than=timedelta(0)) == set()


def test_of_many_claims_the_free_ones_are_held(memory_database: MongoDatabase) -> None:
    claims = Claims(memory_database)
    with claims.hold("b"), claims.hold_free(["a", "b", "c"]) as claim:
        assert claim.calculation_ids == ("a", "c")
        assert claim.confirmed()
        memory_database["claims"].update_one({"_id": "c"}, {"$set": {"owner": "another"}})
        assert claim.held() == {"a"}
        assert claim.lost
    assert [each["_id"] for each in memory_database["claims"].find({})] == ["c"]


def test_of_many_claims_those_that_are_done_are_released(memory_database: MongoDatabase) -> None:
    claims = Claims(memory_database)
    with claims.hold_free(["a", "b", "c"]) as claim:
        claim.release_some(["a"])
        assert claim.confirmed(), "none is lost"
        assert claim.held() == {"b", "c"}
        with claims.hold("a", timeout=0):
            claim.release_some(["a", "b"])
            assert {each.calculation_id for each in claims.live()} == {"a", "c"}
    assert claims.live() == []
