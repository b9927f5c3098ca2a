"""A pack leaves what single jobs leave, and computes nothing twice."""

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
)
from nearedge.launch import token
from nearedge.makers.average import average_sites
from nearedge.makers.pack import PackMaker
from nearedge.makers.simulation import SimulationMaker
from nearedge.schemas import COMPLETED, StructureDoc
from nearedge.schemas.document import utc_now
from nearedge.settings import Settings
from nearedge.store.queries import CalculationQuery, SpectrumQuery
from nearedge.store.records import Record
from nearedge.store.spectra_store import SpectraStore
from nearedge.structures.source import LoadedStructure
from nearedge.workflows.spectrum import plan_sites, shares
from tests.makers.conftest import FORMULAS, ComputePack, told

Molecule = Callable[[str], LoadedStructure]


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
    store: SpectraStore, compute_pack: ComputePack, molecule: Molecule, in_memory: Settings
) -> None:
    outcome = compute_pack()
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
    store: SpectraStore, compute_pack: ComputePack, fake: Any
) -> None:
    def fail(run_dir: Path) -> None:
        raise CodeError("idle_timeout", "Idle.")

    fake.behaviour = fail

    def progresses(**options: Any) -> bool:
        token.let_go()
        compute_pack(**options)
        return token.has_progressed()

    assert progresses()
    assert not progresses(), "all is known"
    assert progresses(rerun_failed=True, failures=told(store))
    assert not progresses(rerun_failed=True), "it says not which, and would repeat them for ever"


def test_what_is_known_is_not_computed_again(compute_pack: ComputePack, fake: Any) -> None:
    first = compute_pack(["CO", "CCO"])
    assert compute_pack().sites[:2] == first.sites
    assert len(fake.runs) == 3


def test_a_site_that_fails_by_name_is_recorded_and_the_others_go_on(
    store: SpectraStore, compute_pack: ComputePack, fake: Any
) -> None:
    def fail(run_dir: Path) -> None:
        if len(fake.runs) == 2:
            raise CodeError("scf_not_converged", "It did not converge.")

    fake.behaviour = fail
    outcome = compute_pack()
    assert [each.state for each in outcome.sites] == [COMPLETED, "scf_not_converged", COMPLETED]
    assert [each.state for each in outcome.averages][1] == "no_site_completed"
    assert [each.state for each in compute_pack().sites][1] == "scf_not_converged"
    assert len(fake.runs) == 3
    fake.behaviour = lambda run_dir: None
    assert [each.state for each in compute_pack(rerun_failed=True).sites] == [COMPLETED] * 3
    assert len(fake.runs) == 4


def test_an_interrupted_repetition_of_failures_repeats_none_of_them_twice(
    store: SpectraStore, compute_pack: ComputePack, fake: Any
) -> None:
    def fail(run_dir: Path) -> None:
        if len(fake.runs) == 6:
            raise KeyboardInterrupt
        raise CodeError("scf_not_converged", "It did not converge.")

    fake.behaviour = fail
    compute_pack()
    # By the clock of who computed them, which is an hour fast.
    later = {"$set": {"created_at": utc_now() + timedelta(hours=1)}}
    store.database["calculations"].update_many({}, later)
    failures = told(store)
    with pytest.raises(KeyboardInterrupt):
        compute_pack(failures=failures, rerun_failed=True)
    assert len(fake.runs) == 3 + 3, "the third is interrupted"
    compute_pack(failures=failures, rerun_failed=True)
    assert len(fake.runs) == 3 + 3 + 1
    compute_pack(failures=told(store), rerun_failed=True)
    assert len(fake.runs) == 3 + 3 + 1 + 3, "another job repeats them all"


def test_what_repeats_a_failed_calculation_with_other_parameters_names_it(
    store: SpectraStore, compute_pack: ComputePack
) -> None:
    first = compute_pack(["CO"]).sites[0].calculation_id
    store.database["calculations"].delete_many({})
    compute_pack(["CO", "CCO"], instead_of={first: "the-failed-one"})
    parents = {c.calculation_id: c.parents for c in store.calculations(CalculationQuery())}
    assert parents.pop(first) == ["the-failed-one"]
    assert list(parents.values()) == [[]]


def test_failures_that_are_computed_again_are_stored_together_and_one_that_comes_late_is_not(
    store: SpectraStore, compute_pack: ComputePack, fake: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(run_dir: Path) -> None:
        raise CodeError("scf_not_converged", "It did not converge.")

    fake.behaviour = fail
    ids = [each.calculation_id for each in compute_pack().sites]
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
    outcome = compute_pack(rerun_failed=True, failures=told(store))
    assert [each.state for each in outcome.sites] == ["stage_timeout", COMPLETED, COMPLETED]
    assert together == [3]
    assert outcome.averages[0].state == "no_site_completed"


def test_a_pack_of_averages_alone_and_one_of_nothing_new_claim_nothing(
    store: SpectraStore,
    compute_pack: ComputePack,
    molecule: Molecule,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compute_pack()
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


def test_a_pack_that_was_queued_before_it_stated_failures_is_read() -> None:
    maker = PackMaker(site_maker=SimulationMaker(code="fake", rerun_failed=True))
    stored = {**maker.as_dict(), "submitted": 1.8e9}
    assert MontyDecoder().process_decoded(json.loads(json.dumps(jsanitize(stored)))) == maker


def test_a_launch_says_that_it_has_stored_something_where_others_can_read_it(
    store: SpectraStore, compute_pack: ComputePack, in_memory: Settings
) -> None:
    queue = store.database.client[in_memory.launchpad_database]
    queue["fireworks"].insert_one({"fw_id": 1, "launches": [7]})
    queue["launches"].insert_one({"launch_id": 7})
    try:
        for new in (True, False):
            token.hold(token.CurrentLaunch(1, 7))
            compute_pack()
            (launch,) = queue["launches"].find({})
            assert ("progressed" in launch) == new
            queue["launches"].update_one({}, {"$unset": {"progressed": True}})
    finally:
        token.let_go()
