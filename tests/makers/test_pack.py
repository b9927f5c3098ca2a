"""A pack leaves what single jobs leave, whatever interrupts it, and computes nothing twice."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from monty.json import MontyDecoder, jsanitize

from nearedge.errors import (
    CodeError,
    DatabaseError,
    DatabaseUnavailable,
    LaunchGivenUp,
    ResourceError,
    StructureError,
)
from nearedge.launch import token
from nearedge.makers import pack, packed_sites, simulation, storing
from nearedge.makers.average import AverageMaker, average_sites
from nearedge.makers.leftover import RESULT
from nearedge.makers.pack import PackMaker, PackOutcome, failure_told
from nearedge.makers.simulation import SimulationMaker
from nearedge.schemas import COMPLETED, SpectrumDoc, StructureDoc
from nearedge.schemas.document import utc_now
from nearedge.settings import Settings
from nearedge.store.claims import Claims
from nearedge.store.operations import MongoDatabase
from nearedge.store.queries import CalculationQuery, SpectrumQuery
from nearedge.store.records import Record
from nearedge.store.spectra_store import SpectraStore
from nearedge.structures.source import LoadedStructure
from nearedge.workflows.spectrum import plan_sites, shares

Molecule = Callable[[str], LoadedStructure]
FORMULAS = ("CO", "CCO", "OCO")


@pytest.fixture
def store(memory_database: MongoDatabase, in_memory: Settings, fake: object) -> SpectraStore:
    return SpectraStore(memory_database)


@pytest.fixture
def compute(store: SpectraStore, molecule: Molecule) -> Callable[..., PackOutcome]:
    """Return what does the job of a pack of all oxygens, without jobflow."""

    def run(
        formulas: Sequence[str] = FORMULAS,
        *,
        failures: dict[str, str] | None = None,
        instead_of: dict[str, str] | None = None,
        **options: object,
    ) -> PackOutcome:
        loaded = [molecule(formula) for formula in formulas]
        site_maker = SimulationMaker(code="fake", project="p", patience=0.0, **options)  # type: ignore[arg-type]
        maker = PackMaker(site_maker=site_maker, average_maker=AverageMaker(project="p"))
        crystals = [
            plan_sites(
                site_maker, StructureDoc.from_structure(each.structure, each.source), "O", "K"
            )
            for each in loaded
        ]
        make: Any = PackMaker.make
        outcome = make.original(
            maker,
            [each.structure for each in loaded],
            [each.source for each in loaded],
            [[site.absorbing_index for site in sites] for sites in crystals],
            [shares(sites) for sites in crystals],
            failures,
            instead_of,
        )
        assert isinstance(outcome, PackOutcome)
        return outcome

    return run


Compute = Callable[..., PackOutcome]


def told(store: SpectraStore) -> dict[str, str]:
    """Return what the store holds of failures, as a submission finds it."""
    failed = store.calculations(CalculationQuery(failed=True))
    return {each.calculation_id: failure_told(each) for each in failed}


def stored(store: SpectraStore) -> list[dict[str, Any]]:
    """Return what is stored, without what differs from run to run."""
    found: list[dict[str, Any]] = []
    for documents in (
        sorted(store.calculations(CalculationQuery()), key=lambda each: each.calculation_id),
        sorted(store.spectra(SpectrumQuery()), key=lambda each: each.spectrum_id),
    ):
        found += [each.model_dump(exclude={"created_at"}) for each in documents]
    return found


def test_a_pack_leaves_the_documents_that_single_jobs_leave(
    store: SpectraStore, compute: Compute, molecule: Molecule, in_memory: Settings
) -> None:
    outcome = compute()
    assert [each.state for each in outcome.sites] == [COMPLETED] * 3
    assert [each.state for each in outcome.averages] == ["completed"] * 3
    assert [each.multiplicity for each in outcome.sites] == [1, 1, 2]
    packed = stored(store)
    assert not list(in_memory.runs.iterdir()), "nothing is left of runs that succeeded"
    assert store.database["claims"].count_documents({}) == 0
    for collection in ("calculations", "spectra", "structures", "blobs"):
        store.database[collection].delete_many({})
    maker = SimulationMaker(code="fake", project="p")
    make: Any = SimulationMaker.make
    for formula in FORMULAS:
        loaded = molecule(formula)
        document = StructureDoc.from_structure(loaded.structure, loaded.source)
        sites = plan_sites(maker, document, "O", "K")
        for site in sites:
            make.original(maker, loaded.structure, site.absorbing_index, loaded.source)
        average_sites(store, shares(sites), "p")
    assert stored(store) == packed


def test_progress_is_what_a_launch_has_stored_and_the_next_one_does_not_repeat(
    store: SpectraStore, compute: Compute, fake: Any
) -> None:
    def fail(run_dir: Path) -> None:
        raise CodeError("idle_timeout", "Idle.")

    fake.behaviour = fail

    def progresses(**options: Any) -> bool:
        token.let_go()
        compute(**options)
        return token.has_progressed()

    assert progresses()
    assert not progresses(), "all is known"
    assert progresses(rerun_failed=True, failures=told(store))
    assert not progresses(rerun_failed=True), "it says not which, and would repeat them for ever"


def test_what_is_known_is_not_computed_again(compute: Compute, fake: Any) -> None:
    first = compute(["CO", "CCO"])
    assert compute().sites[:2] == first.sites
    assert len(fake.runs) == 3


def test_a_site_that_fails_by_name_is_recorded_and_the_others_go_on(
    store: SpectraStore, compute: Compute, fake: Any
) -> None:
    def fail(run_dir: Path) -> None:
        if len(fake.runs) == 2:
            raise CodeError("scf_not_converged", "It did not converge.")

    fake.behaviour = fail
    outcome = compute()
    assert [each.state for each in outcome.sites] == [COMPLETED, "scf_not_converged", COMPLETED]
    assert [each.state for each in outcome.averages][1] == "no_site_completed"
    assert [each.state for each in compute().sites][1] == "scf_not_converged"
    assert len(fake.runs) == 3
    fake.behaviour = lambda run_dir: None
    assert [each.state for each in compute(rerun_failed=True).sites] == [COMPLETED] * 3
    assert len(fake.runs) == 4


def test_an_interrupted_repetition_of_failures_repeats_none_of_them_twice(
    store: SpectraStore, compute: Compute, fake: Any
) -> None:
    def fail(run_dir: Path) -> None:
        if len(fake.runs) == 6:
            raise KeyboardInterrupt
        raise CodeError("scf_not_converged", "It did not converge.")

    fake.behaviour = fail
    compute()
    # By the clock of who computed them, which is an hour fast.
    later = {"$set": {"created_at": utc_now() + timedelta(hours=1)}}
    store.database["calculations"].update_many({}, later)
    failures = told(store)
    with pytest.raises(KeyboardInterrupt):
        compute(failures=failures, rerun_failed=True)
    assert len(fake.runs) == 3 + 3, "the third is interrupted"
    compute(failures=failures, rerun_failed=True)
    assert len(fake.runs) == 3 + 3 + 1
    compute(failures=told(store), rerun_failed=True)
    assert len(fake.runs) == 3 + 3 + 1 + 3, "another job repeats them all"


@pytest.mark.parametrize(
    "error",
    [
        ValueError("a parser's"),
        ResourceError("No room."),
        DatabaseError("What another left is damaged."),
    ],
)
def test_a_site_that_ends_by_an_error_takes_none_of_the_others_along(
    store: SpectraStore, compute: Compute, fake: Any, error: Exception
) -> None:
    def fail(run_dir: Path) -> None:
        if len(fake.runs) in (2, 4, 5):
            raise error

    fake.behaviour = fail
    with pytest.raises(type(error)) as raised:
        compute()
    assert raised.value.__notes__[0].startswith("Of this pack 1 ended by such errors: ")
    assert len(fake.runs) == 3
    assert store.count(CalculationQuery(state=COMPLETED)) == 2
    assert store.count(SpectrumQuery(kind="average")) == 2, "of the crystals that are complete"
    assert store.database["claims"].count_documents({}) == 0
    with pytest.raises(type(error)):
        compute()
    assert len(fake.runs) == 4, "only what ended by an error is computed again, and only once"
    fake.behaviour = lambda run_dir: None
    assert [each.state for each in compute().averages] == ["completed"] * 3
    assert len(fake.runs) == 5


def test_a_result_that_cannot_be_stored_takes_none_of_the_others_along(
    store: SpectraStore,
    compute: Compute,
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
        compute()
    assert len(refused) == 2, "with the others, and by itself"
    assert len(list(in_memory.runs.rglob(RESULT))) == 1, "it waits on the disk"
    assert store.count(CalculationQuery(state=COMPLETED)) == 2
    assert store.count(SpectrumQuery(kind="average")) == 2


@pytest.mark.parametrize("error", [ResourceError("The disk is full."), KeyboardInterrupt()])
def test_what_is_done_is_stored_when_the_machine_or_a_person_ends_a_pack(
    store: SpectraStore, compute: Compute, fake: Any, error: BaseException
) -> None:
    def stop(run_dir: Path) -> None:
        if len(fake.runs) == 3:
            raise error

    fake.behaviour = stop
    with pytest.raises(type(error)):
        compute()
    assert store.count(CalculationQuery(state=COMPLETED)) == 2
    assert store.database["claims"].count_documents({}) == 0
    fake.behaviour = lambda run_dir: None
    assert [each.state for each in compute().sites] == [COMPLETED] * 3
    assert len(fake.runs) == 4, "only what was interrupted is computed again"
    assert store.count(SpectrumQuery()) == 6


def test_a_pack_that_was_given_up_stores_nothing_and_leaves_no_files(
    store: SpectraStore, compute: Compute, in_memory: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(database: object) -> None:
        raise LaunchGivenUp("another has it")

    monkeypatch.setattr(storing, "refuse_given_up", refuse)
    with pytest.raises(LaunchGivenUp):
        compute()
    assert store.count(CalculationQuery()) == store.count(SpectrumQuery()) == 0
    assert store.orphans() == set()
    assert not list(in_memory.runs.glob("*/*"))


def test_a_site_that_another_computes_is_waited_for_and_not_computed_twice(
    store: SpectraStore, compute: Compute, fake: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = compute(["CO"]).sites[0]
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
        outcome = compute()
    assert outcome.sites[0] == first
    assert len(fake.runs) == 3


def test_what_is_stored_is_claimed_no_longer_while_the_pack_goes_on(
    store: SpectraStore, compute: Compute, fake: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packed_sites, "STORE_RECORDS", 1)
    claimed: list[int] = []
    fake.behaviour = lambda run_dir: claimed.append(len(Claims(store.database).live()))
    assert [each.state for each in compute().sites] == [COMPLETED] * 3
    assert claimed == [3, 2, 1]


def test_the_claim_of_a_result_that_was_lost_keeps_it_out(
    store: SpectraStore, compute: Compute, fake: Any
) -> None:
    """As a suspended pack finds it: one site is another's by now, and has its result."""

    def lose(run_dir: Path) -> None:
        if len(fake.runs) == 2:
            store.database["claims"].delete_one({"_id": run_dir.parent.name})

    fake.behaviour = lose
    outcome = compute()
    assert [each.state for each in outcome.sites] == [COMPLETED] * 3
    assert len(fake.runs) == 4, "the one that was lost is computed under a claim of its own"
    assert store.count(CalculationQuery()) == 3


def test_what_repeats_a_failed_calculation_with_other_parameters_names_it(
    store: SpectraStore, compute: Compute
) -> None:
    first = compute(["CO"]).sites[0].calculation_id
    store.database["calculations"].delete_many({})
    compute(["CO", "CCO"], instead_of={first: "the-failed-one"})
    parents = {c.calculation_id: c.parents for c in store.calculations(CalculationQuery())}
    assert parents.pop(first) == ["the-failed-one"]
    assert list(parents.values()) == [[]]


def test_failures_that_are_computed_again_are_stored_together_and_one_that_comes_late_is_not(
    store: SpectraStore, compute: Compute, fake: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(run_dir: Path) -> None:
        raise CodeError("scf_not_converged", "It did not converge.")

    fake.behaviour = fail
    ids = [each.calculation_id for each in compute().sites]
    together: list[int] = []
    conclude = SpectraStore.conclude

    def count(self: SpectraStore, records: Sequence[Record], *more: Any) -> set[str]:
        together.append(len(records))
        return conclude(self, records, *more)

    def overtaken(run_dir: Path) -> None:
        if len(fake.runs) == 5:
            faster = {"$set": {"state": "stage_timeout", "created_at": utc_now()}}
            store.database["calculations"].update_one({"_id": ids[0]}, faster)

    monkeypatch.setattr(SpectraStore, "conclude", count)
    fake.behaviour = overtaken
    outcome = compute(rerun_failed=True, failures=told(store))
    assert [each.state for each in outcome.sites] == ["stage_timeout", COMPLETED, COMPLETED]
    assert together == [3]
    assert outcome.averages[0].state == "no_site_completed"


def test_a_pack_of_averages_alone_and_one_of_nothing_new_claim_nothing(
    store: SpectraStore, compute: Compute, molecule: Molecule, monkeypatch: pytest.MonkeyPatch
) -> None:
    compute()
    spectra = store.database["spectra"]
    spectra.delete_many({"kind": "average"})
    maker = PackMaker(site_maker=SimulationMaker(code="fake", project="p"))
    loaded = molecule("OCO")
    document = StructureDoc.from_structure(loaded.structure, loaded.source)
    sites = plan_sites(maker.site_maker, document, "O", "K")
    make: Any = PackMaker.make
    outcome = make.original(maker, [loaded.structure], [loaded.source], [[]], [shares(sites)])
    assert outcome.sites == []
    assert spectra.count_documents({"kind": "average"}) == 1


@pytest.mark.parametrize("keep", [0.0, 1e6], ids=["kept as they are made", "in memory"])
def test_what_an_outage_keeps_from_being_stored_waits_on_the_disk(
    store: SpectraStore,
    compute: Compute,
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
        compute()
    assert len(fake.runs) == len(list(in_memory.runs.rglob(RESULT))) == 2
    monkeypatch.setattr(SpectraStore, "conclude", conclude)
    assert [each.state for each in compute().averages] == ["completed"] * 3
    assert len(fake.runs) == 3
    assert not list(in_memory.runs.iterdir())


def test_a_stop_while_the_disk_is_cleared_leaves_no_file_and_loses_no_result(
    store: SpectraStore, compute: Compute, in_memory: Settings, monkeypatch: pytest.MonkeyPatch
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
        compute()
    assert store.count(CalculationQuery(state=COMPLETED)) == 3
    assert not list(in_memory.runs.iterdir())
    assert store.database["claims"].count_documents({}) == 0


def test_a_crystal_that_is_refused_where_it_is_computed_takes_none_of_the_others_along(
    store: SpectraStore, compute: Compute, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(structure: Any, label: str) -> None:
        if label == "CCO":
            raise StructureError("By this version it is none.")

    monkeypatch.setattr(pack, "check_structure", refuse)
    with pytest.raises(StructureError) as raised:
        compute()
    assert "CCO" in raised.value.__notes__[0]
    assert store.count(CalculationQuery(state=COMPLETED)) == 2
    assert store.count(SpectrumQuery(kind="average")) == 2


def test_of_several_errors_the_machines_ends_the_job_so_that_it_is_put_back(
    compute: Compute, fake: Any
) -> None:
    errors = [ValueError("a parser's"), ResourceError("No room."), KeyError("another")]

    def fail(run_dir: Path) -> None:
        raise errors[len(fake.runs) - 1]

    fake.behaviour = fail
    with pytest.raises(ResourceError) as raised:
        compute()
    assert raised.value.__notes__[0].startswith("Of this pack 3 ended by such errors: ")


def test_an_average_that_cannot_be_stored_takes_none_of_the_others_along(
    store: SpectraStore, compute: Compute, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = SpectraStore._put_averages

    def refuse(self: SpectraStore, averages: Sequence[SpectrumDoc]) -> None:
        if any(each.formula == averages_of and each.absorber == "O" for each in averages):
            raise DatabaseError("A document is too large.")
        put(self, averages)

    averages_of = "CO2"
    monkeypatch.setattr(SpectraStore, "_put_averages", refuse)
    with pytest.raises(DatabaseError, match="too large"):
        compute()
    assert store.count(CalculationQuery(state=COMPLETED)) == 3
    assert store.count(SpectrumQuery(kind="average")) == 2


def test_a_pack_that_was_queued_before_it_stated_failures_is_read() -> None:
    maker = PackMaker(site_maker=SimulationMaker(code="fake", rerun_failed=True))
    stored = {**maker.as_dict(), "submitted": 1.8e9}
    assert MontyDecoder().process_decoded(json.loads(json.dumps(jsanitize(stored)))) == maker


def test_a_launch_says_that_it_has_stored_something_where_others_can_read_it(
    store: SpectraStore, compute: Compute, in_memory: Settings
) -> None:
    queue = store.database.client[in_memory.launchpad_database]
    queue["fireworks"].insert_one({"fw_id": 1, "launches": [7]})
    queue["launches"].insert_one({"launch_id": 7})
    try:
        for new in (True, False):
            token.hold(token.CurrentLaunch(1, 7))
            compute()
            (launch,) = queue["launches"].find({})
            assert ("progressed" in launch) == new
            queue["launches"].update_one({}, {"$unset": {"progressed": True}})
    finally:
        token.let_go()


def test_what_was_stored_and_not_cleared_away_is_cleared_and_a_failure_computed_again(
    store: SpectraStore, compute: Compute, fake: Any, in_memory: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def fail(run_dir: Path) -> None:
        if len(fake.runs) == 2:
            raise CodeError("scf_not_converged", "It did not converge.")

    fake.behaviour = fail
    monkeypatch.setattr(packed_sites, "KEEP_SECONDS", 0.0)
    with monkeypatch.context() as killed:
        killed.setattr(storing, "_clear_away", lambda *_: None)
        compute()
    assert len(list(in_memory.runs.rglob(RESULT))) == 3
    outcome = compute(rerun_failed=True, failures=told(store))
    assert [each.state for each in outcome.sites] == [COMPLETED] * 3
    assert not list(in_memory.runs.iterdir())
