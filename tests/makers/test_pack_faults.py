"""Of a pack that an error, a person or the machine ends, what is done is stored, and once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from nearedge.errors import (
    CodeError,
    DatabaseError,
    DatabaseUnavailable,
    LaunchGivenUp,
    ResourceError,
    StructureError,
)
from nearedge.makers import pack, packed_sites, simulation, storing
from nearedge.makers.leftover import RESULT
from nearedge.makers.simulation import SimulationMaker
from nearedge.schemas import COMPLETED, SpectrumDoc
from nearedge.settings import Settings
from nearedge.store.claims import Claims
from nearedge.store.queries import CalculationQuery, SpectrumQuery
from nearedge.store.records import Record
from nearedge.store.spectra_store import SpectraStore
from nearedge.structures.source import LoadedStructure
from tests.makers.conftest import ComputePack, told

Molecule = Callable[[str], LoadedStructure]


@pytest.mark.parametrize(
    "error",
    [
        ValueError("a parser's"),
        ResourceError("No room."),
        DatabaseError("What another left is damaged."),
    ],
)
def test_a_site_that_ends_by_an_error_takes_none_of_the_others_along(
    store: SpectraStore, compute_pack: ComputePack, fake: Any, error: Exception
) -> None:
    def fail(run_dir: Path) -> None:
        if len(fake.runs) in (2, 4, 5):
            raise error

    fake.behaviour = fail
    with pytest.raises(type(error)) as raised:
        compute_pack()
    assert raised.value.__notes__[0].startswith("Of this pack 1 ended by such errors: ")
    assert len(fake.runs) == 3
    assert store.count(CalculationQuery(state=COMPLETED)) == 2
    assert store.count(SpectrumQuery(kind="average")) == 2, "of the crystals that are complete"
    assert store.database["claims"].count_documents({}) == 0
    with pytest.raises(type(error)):
        compute_pack()
    assert len(fake.runs) == 4, "only what ended by an error is computed again, and only once"
    fake.behaviour = lambda run_dir: None
    assert [each.state for each in compute_pack().averages] == ["completed"] * 3
    assert len(fake.runs) == 5


def test_a_result_that_cannot_be_stored_takes_none_of_the_others_along(
    store: SpectraStore,
    compute_pack: ComputePack,
    fake: Any,
    in_memory: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    conclude, refused = SpectraStore.conclude, list[str]()

    def refuse_second(self: SpectraStore, records: Sequence[Record], *more: Any) -> set[str]:
        second = fake.runs[1][1].parent.name
        if second in [each.calculation.calculation_id for each in records]:
            refused.append(second)
            raise DatabaseError("A document is too large.")
        return conclude(self, records, *more)

    monkeypatch.setattr(SpectraStore, "conclude", refuse_second)
    with pytest.raises(DatabaseError, match="too large"):
        compute_pack()
    assert len(refused) == 2, "with the others, and by itself"
    assert len(list(in_memory.runs.rglob(RESULT))) == 1, "it waits on the disk"
    assert store.count(CalculationQuery(state=COMPLETED)) == 2
    assert store.count(SpectrumQuery(kind="average")) == 2


@pytest.mark.parametrize("error", [ResourceError("The disk is full."), KeyboardInterrupt()])
def test_what_is_done_is_stored_when_the_machine_or_a_person_ends_a_pack(
    store: SpectraStore, compute_pack: ComputePack, fake: Any, error: BaseException
) -> None:
    def stop(run_dir: Path) -> None:
        if len(fake.runs) == 3:
            raise error

    fake.behaviour = stop
    with pytest.raises(type(error)):
        compute_pack()
    assert store.count(CalculationQuery(state=COMPLETED)) == 2
    assert store.database["claims"].count_documents({}) == 0
    fake.behaviour = lambda run_dir: None
    assert [each.state for each in compute_pack().sites] == [COMPLETED] * 3
    assert len(fake.runs) == 4, "only what was interrupted is computed again"
    assert store.count(SpectrumQuery()) == 6


def test_a_pack_that_was_given_up_stores_nothing_and_leaves_no_files(
    store: SpectraStore,
    compute_pack: ComputePack,
    in_memory: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(database: object) -> None:
        raise LaunchGivenUp("another has it")

    monkeypatch.setattr(storing, "refuse_given_up", refuse)
    with pytest.raises(LaunchGivenUp):
        compute_pack()
    assert store.count(CalculationQuery()) == store.count(SpectrumQuery()) == 0
    assert store.orphans() == set()
    assert not list(in_memory.runs.glob("*/*"))


def test_a_site_that_another_computes_is_waited_for_and_not_computed_twice(
    store: SpectraStore, compute_pack: ComputePack, fake: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = compute_pack(["CO"]).sites[0]
    kept = {
        name: list(store.database[name].find({})) for name in ("calculations", "spectra", "blobs")
    }
    for name in kept:
        store.database[name].delete_many({})
    with Claims(store.database).hold(first.calculation_id) as held:
        once = SimulationMaker._once

        def ended(maker: SimulationMaker, *arguments: Any) -> object:
            for name, documents in kept.items():
                if documents:
                    store.database[name].insert_many(documents)
            held.release()
            return once(maker, *arguments)

        monkeypatch.setattr(simulation.SimulationMaker, "_once", ended)
        outcome = compute_pack()
    assert outcome.sites[0] == first
    assert len(fake.runs) == 3


def test_what_is_stored_is_claimed_no_longer_while_the_pack_goes_on(
    store: SpectraStore, compute_pack: ComputePack, fake: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packed_sites, "STORE_RECORDS", 1)
    claimed: list[int] = []
    fake.behaviour = lambda run_dir: claimed.append(len(Claims(store.database).live()))
    assert [each.state for each in compute_pack().sites] == [COMPLETED] * 3
    assert claimed == [3, 2, 1]


def test_the_claim_of_a_result_that_was_lost_keeps_it_out(
    store: SpectraStore, compute_pack: ComputePack, fake: Any
) -> None:
    """As a suspended pack finds it: one site is another's by now, and has its result."""

    def lose(run_dir: Path) -> None:
        if len(fake.runs) == 2:
            store.database["claims"].delete_one({"_id": run_dir.parent.name})

    fake.behaviour = lose
    outcome = compute_pack()
    assert [each.state for each in outcome.sites] == [COMPLETED] * 3
    assert len(fake.runs) == 4, "the one that was lost is computed under a claim of its own"
    assert store.count(CalculationQuery()) == 3


@pytest.mark.parametrize("keep", [0.0, 1e6], ids=["kept as they are made", "in memory"])
def test_what_an_outage_keeps_from_being_stored_waits_on_the_disk(
    store: SpectraStore,
    compute_pack: ComputePack,
    fake: Any,
    in_memory: Settings,
    monkeypatch: pytest.MonkeyPatch,
    keep: float,
) -> None:
    monkeypatch.setattr(packed_sites, "KEEP_SECONDS", keep)
    monkeypatch.setattr(packed_sites, "STORE_RECORDS", 2)
    conclude = SpectraStore.conclude

    def away(*_: Any) -> set[str]:
        raise DatabaseUnavailable("No database answers.")

    monkeypatch.setattr(SpectraStore, "conclude", away)
    with pytest.raises(DatabaseUnavailable, match="waits in"):
        compute_pack()
    assert len(fake.runs) == len(list(in_memory.runs.rglob(RESULT))) == 2
    monkeypatch.setattr(SpectraStore, "conclude", conclude)
    assert [each.state for each in compute_pack().averages] == ["completed"] * 3
    assert len(fake.runs) == 3
    assert not list(in_memory.runs.iterdir())


def test_a_stop_while_the_disk_is_cleared_leaves_no_file_and_loses_no_result(
    store: SpectraStore,
    compute_pack: ComputePack,
    in_memory: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(packed_sites, "KEEP_SECONDS", 0.0)
    clear, calls = storing._clear_away, list[str]()

    def stopped(record: Record, settings: Settings) -> None:
        calls.append(record.calculation.calculation_id)
        if len(calls) == 2:
            raise KeyboardInterrupt
        clear(record, settings)

    monkeypatch.setattr(storing, "_clear_away", stopped)
    with pytest.raises(KeyboardInterrupt):
        compute_pack()
    assert store.count(CalculationQuery(state=COMPLETED)) == 3
    assert not list(in_memory.runs.iterdir())
    assert store.database["claims"].count_documents({}) == 0


def test_a_crystal_that_is_refused_where_it_is_computed_takes_none_of_the_others_along(
    store: SpectraStore, compute_pack: ComputePack, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(structure: Any, label: str) -> None:
        if label == "CCO":
            raise StructureError("By this version it is none.")

    monkeypatch.setattr(pack, "check_structure", refuse)
    with pytest.raises(StructureError) as raised:
        compute_pack()
    assert "CCO" in raised.value.__notes__[0]
    assert store.count(CalculationQuery(state=COMPLETED)) == 2
    assert store.count(SpectrumQuery(kind="average")) == 2


def test_of_several_errors_the_machines_ends_the_job_so_that_it_is_put_back(
    compute_pack: ComputePack, fake: Any
) -> None:
    errors = [ValueError("a parser's"), ResourceError("No room."), KeyError("another")]

    def fail(run_dir: Path) -> None:
        raise errors[len(fake.runs) - 1]

    fake.behaviour = fail
    with pytest.raises(ResourceError) as raised:
        compute_pack()
    assert raised.value.__notes__[0].startswith("Of this pack 3 ended by such errors: ")


def test_an_average_that_cannot_be_stored_takes_none_of_the_others_along(
    store: SpectraStore, compute_pack: ComputePack, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = SpectraStore._put_averages

    def refuse(self: SpectraStore, averages: Sequence[SpectrumDoc]) -> None:
        if any(each.formula == averages_of and each.absorber == "O" for each in averages):
            raise DatabaseError("A document is too large.")
        put(self, averages)

    averages_of = "CO2"
    monkeypatch.setattr(SpectraStore, "_put_averages", refuse)
    with pytest.raises(DatabaseError, match="too large"):
        compute_pack()
    assert store.count(CalculationQuery(state=COMPLETED)) == 3
    assert store.count(SpectrumQuery(kind="average")) == 2


def test_what_was_stored_and_not_cleared_away_is_cleared_and_a_failure_computed_again(
    store: SpectraStore, compute_pack: ComputePack, fake: Any, in_memory: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def fail(run_dir: Path) -> None:
        if len(fake.runs) == 2:
            raise CodeError("scf_not_converged", "It did not converge.")

    fake.behaviour = fail
    monkeypatch.setattr(packed_sites, "KEEP_SECONDS", 0.0)
    with monkeypatch.context() as killed:
        killed.setattr(storing, "_clear_away", lambda *_: None)
        compute_pack()
    assert len(list(in_memory.runs.rglob(RESULT))) == 3
    outcome = compute_pack(rerun_failed=True, failures=told(store))
    assert [each.state for each in outcome.sites] == [COMPLETED] * 3
    assert not list(in_memory.runs.iterdir())
