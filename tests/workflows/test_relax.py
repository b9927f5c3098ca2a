"""Relaxed first: a job before the others, and what is known takes none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import jobflow
import pytest
from fireworks.core.launchpad import LaunchPad
from jobflow.core.flow import Flow
from jobflow.managers.fireworks import flow_to_workflow

from nearedge.cli.failure_groups import gather
from nearedge.launch.failures import fizzled_jobs
from nearedge.launch.fireworks import SPEC_KEY, launchpad
from nearedge.launch.worker import Worker
from nearedge.makers.relax import RelaxMaker
from nearedge.models.featurizers.reference import M3GNET_MP_2021_2_8
from nearedge.schemas import StructureDoc
from nearedge.schemas.relaxation import RelaxationDoc
from nearedge.settings import Settings, get_settings
from nearedge.store.connection import connect
from nearedge.store.operations import MongoDatabase
from nearedge.store.queries import SpectrumQuery
from nearedge.store.relaxations import RelaxationStore
from nearedge.store.spectra_store import SpectraStore
from nearedge.structures.identity import structure_key
from nearedge.structures.source import LoadedStructure, Refusal, SourceRef
from nearedge.structures.stored import stored_structure
from nearedge.workflows import relax
from nearedge.workflows.relax import (
    RelaxFlowMaker,
    Unrelaxed,
    enqueue_relaxations,
    look_up,
    relax_again,
    submit_relaxed,
)
from nearedge.workflows.relaxed import BenchmarkOfRelaxed, ConvergenceOfRelaxed, SpectraOfRelaxed
from nearedge.workflows.spectrum import SpectrumFlowMaker

WEIGHTS = "models/M3GNet-MP-2021.2.8-PES"


@pytest.fixture
def settings(
    live_settings: Settings, shared: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> Settings:
    monkeypatch.setenv("NEAREDGE_MODEL_PATH", str(shared(WEIGHTS)))
    get_settings.cache_clear()
    return live_settings.model_copy(update={"model_path": shared(WEIGHTS)})


@pytest.fixture
def oxide() -> LoadedStructure:
    """Return MgO near its relaxed cell: a few steps, and FEFF takes seconds on it."""
    return LoadedStructure(
        M3GNET_MP_2021_2_8[2].structure(), SourceRef(kind="file", label="oxide", path="oxide.cif")
    )


@pytest.fixture
def worked(settings: Settings) -> Callable[[], None]:
    """Return what works the queue here, and gives the job store back."""

    def work() -> None:
        before = jobflow.SETTINGS.JOB_STORE
        try:
            summary = Worker(settings).work()
        finally:
            jobflow.SETTINGS.JOB_STORE = before
        assert summary.failed == 0, [each.error for each in fizzled_jobs(launchpad(settings))]

    return work


def test_the_potentials_weights_are_read_once_and_only_for_what_can_be_relaxed(
    oxide: LoadedStructure, memory_database: MongoDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[object] = []

    class Weights:
        weights_sha256 = "a" * 64

        def __init__(self, model_path: object) -> None:
            read.append(model_path)

    monkeypatch.setattr(relax, "M3GNetCalculator", Weights)
    monkeypatch.setattr(relax, "connect", lambda _: memory_database)
    monkeypatch.setattr(relax, "_enqueue", lambda pad, flows, priority: len(flows))
    relax._weights_sha256.cache_clear()
    maker, settings = RelaxMaker(), Settings(mongo_uri="mongodb://127.0.0.1:1")  # type: ignore[arg-type]
    try:
        assert len(look_up([Refusal("bad.cif", "no")], maker, settings)) == 1
        assert enqueue_relaxations([], maker, None, settings=settings) == (0, 0)
        assert read == []
        for _ in range(2):
            (found,) = look_up([oxide], maker, settings)
            assert isinstance(found, Unrelaxed)
            assert enqueue_relaxations([[oxide]], maker, None, settings=settings) == (1, 0)
        assert read == [settings.model_path]
    finally:
        relax._weights_sha256.cache_clear()


def test_a_relaxation_that_failed_by_name_is_queued_again_as_it_was(
    oxide: LoadedStructure, memory_database: MongoDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Weights:
        weights_sha256 = "a" * 64

        def __init__(self, model_path: object) -> None:
            pass

    queued: list[Flow] = []
    monkeypatch.setattr(relax, "M3GNetCalculator", Weights)
    monkeypatch.setattr(relax, "connect", lambda _: memory_database)
    monkeypatch.setattr(
        relax, "_enqueue", lambda pad, flows, _: len(flows) + (queued.extend(flows.values()) or 0)
    )
    relax._weights_sha256.cache_clear()
    origin = StructureDoc.from_structure(oxide.structure, oxide.source)
    maker = RelaxMaker(mode="fixed-volume", steps=2)
    ours, others = maker.settings_for("a" * 64), maker.settings_for("b" * 64)
    SpectraStore(memory_database).put_structure(origin)
    failed = [
        RelaxationDoc(
            relaxation_id=how.relaxation_id(key), origin=key, formula="MgO", label=label,
            settings=how, state="relaxation_not_converged", projects=["demo"],
        )
        for how, key, label in (
            (ours, origin.structure_key, "oxide"),
            (others, origin.structure_key, "of other weights"),
            (ours, "gone", "without structure"),
        )
    ]  # fmt: skip
    settings = Settings(mongo_uri="mongodb://127.0.0.1:1")  # type: ignore[arg-type]
    try:
        report = relax_again(failed, project=None, settings=settings)
    finally:
        relax._weights_sha256.cache_clear()
    assert (report.new, report.queued, report.relaxing) == (1, 0, 0)
    assert [each.label for each in report.refused] == ["of other weights", "without structure"]
    ((job,),) = (flow.jobs for flow in queued)
    assert job.metadata[SPEC_KEY]["relaxation_id"] == failed[0].relaxation_id
    assert job.metadata[SPEC_KEY]["project"] == "demo"
    again = replace(maker, name="relax oxide", project="demo", rerun_failed=True)
    assert job.maker == again


@pytest.mark.slow
@pytest.mark.integration
def test_absorbers_are_listed_of_the_relaxed_structure_in_one_workflow(
    settings: Settings, oxide: LoadedStructure, worked: Callable[[], None]
) -> None:
    maker = RelaxMaker(project="demo")
    options = {"absorber": "Mg", "protocol": "fast+fms_radius=2.5+scf_radius=2.5"}
    report = submit_relaxed([oxide, Refusal("bad.cif", "no")], maker, settings=settings, **options)
    assert (report.new, report.relaxing, len(report.refused)) == (0, 1, 1)
    again = submit_relaxed([oxide], maker, settings=settings, **options)
    assert (again.relaxing, again.queued) == (0, 1), "it is in the queue already"
    worked()
    database = connect(settings)
    (relaxation,) = (
        RelaxationStore(database)
        .get_many([str(each["_id"]) for each in database["relaxations"].find()])
        .values()
    )
    store = SpectraStore(database)
    rows = store.listing(SpectrumQuery(absorber="Mg", project="demo"))
    assert {row.kind for row in rows} == {"site", "average"}
    assert {row.structure_key for row in rows} == {relaxation.structure_key}
    assert relaxation.structure_key != relaxation.origin
    assert store.structure(relaxation.origin) is not None
    known = submit_relaxed([oxide], maker, settings=settings, **options)
    assert (known.known, known.new, known.relaxing) == (1, 0, 0)


def test_the_spectra_of_what_is_relaxed_first_have_the_priority_that_was_asked_for(
    oxide: LoadedStructure, monkeypatch: pytest.MonkeyPatch
) -> None:
    makers = [SpectrumFlowMaker.for_code("feff")]
    then = SpectraOfRelaxed(absorber="Mg", spectrum_makers=makers)
    flow_makers = [RelaxFlowMaker(then=then, priority=priority) for priority in (0, 3)]
    assert len({each.continuation_id([oxide]) for each in flow_makers}) == 1, "queued once"
    monkeypatch.setattr("nearedge.makers.relax.connect", lambda _: None)
    monkeypatch.setattr("nearedge.makers.relax.relaxed_structures", lambda *_: {"key": oxide})
    for flow_maker in flow_makers:
        (after,) = [each for each in flow_maker.make([oxide]).jobs if "continue" in each.name]
        detour = after.maker.make.original(after.maker, []).detour
        found = [each.spec["_priority"] for each in flow_to_workflow(detour).fws]
        asked = flow_maker.priority
        assert sorted(found) == [asked, asked + 1], "the site, and its average before the next"


@pytest.mark.integration
def test_what_is_known_to_fail_is_refused_until_it_is_asked_for_again(
    settings: Settings, oxide: LoadedStructure, worked: Callable[[], None]
) -> None:
    maker = RelaxMaker(steps=2, project="demo")
    oxide.structure.apply_strain(0.03)
    assert enqueue_relaxations([[oxide]], maker, None, settings=settings) == (1, 0)
    assert enqueue_relaxations([[oxide]], maker, None, settings=settings) == (0, 1)
    worked()
    (found,) = look_up([oxide], maker, settings)
    assert isinstance(found, Refusal)
    assert found.reason.startswith("relaxation_not_converged: ")
    (group,) = gather(settings, project="demo", code=None, since=None)
    assert (group.of, group.code, group.name, group.count) == (
        "relaxations", "relax", "relaxation_not_converged", 1)  # fmt: skip
    assert gather(settings, project="demo", code="feff", since=None) == []
    (found,) = look_up([oxide], replace(maker, rerun_failed=True), settings)
    assert isinstance(found, Unrelaxed)
    report = submit_relaxed([oxide], maker, absorber="Mg", settings=settings)
    assert (report.relaxing, len(report.refused)) == (0, 1)


@pytest.mark.integration
def test_a_structure_is_queued_once_to_be_relaxed_for_the_same_spectra(
    settings: Settings, oxide: LoadedStructure
) -> None:
    maker = RelaxMaker(project="demo")
    again = [submit_relaxed([oxide, Refusal("bad.cif", "no")], maker, absorber="Mg",
                            settings=settings, priority=3) for _ in range(2)]  # fmt: skip
    assert [(each.new, each.relaxing, each.queued) for each in again] == [(0, 1, 0), (0, 0, 1)]
    assert [len(each.refused) for each in again] == [1, 1]
    pad = launchpad(settings)
    assert [each["spec"]["_priority"] for each in pad.fireworks.find()] == [3, 3]
    other = submit_relaxed([oxide], maker, absorber="O", settings=settings)
    assert (other.relaxing, other.queued) == (1, 0)
    absent = submit_relaxed([oxide], maker, absorber="Ti", settings=settings)
    assert (absent.relaxing, len(absent.refused)) == (0, 1)


@pytest.mark.integration
def test_convergence_and_benchmark_go_on_with_the_relaxed_structure(
    settings: Settings, oxide: LoadedStructure
) -> None:
    # In one process, up to where codes would run.
    pad: LaunchPad = launchpad(settings)
    maker = RelaxMaker(project="demo")
    (unrelaxed,) = look_up([oxide], maker, settings)
    assert isinstance(unrelaxed, Unrelaxed)
    benchmark = BenchmarkOfRelaxed(
        labels={unrelaxed.origin: "oxide"}, codes=[["feff", "fast"]], absorber="Mg", project="demo"
    )
    for then in (ConvergenceOfRelaxed(absorbing_index=0), benchmark):
        assert enqueue_relaxations([[oxide]], maker, then, settings=settings) == (1, 0)
    before = jobflow.SETTINGS.JOB_STORE
    try:
        for kind in ("relax", "continue"):
            assert Worker(settings, about={"kind": kind}).work().completed == 2
    finally:
        jobflow.SETTINGS.JOB_STORE = before
    (found,) = look_up([oxide], maker, settings)
    assert isinstance(found, LoadedStructure)
    waiting = pad.fireworks.find({"state": {"$in": ["READY", "WAITING"]}}, {"spec": 1})
    jobs = {each["spec"][SPEC_KEY]["kind"]: each["spec"] for each in waiting}
    assert sorted(jobs) == ["average", "benchmark", "converge", "site"]
    for kind in ("site", "converge"):
        assert jobs[kind][SPEC_KEY]["label"].startswith("oxide relaxed")
        given = jobs[kind]["_tasks"][0]["job"]["function_args"][0]
        assert structure_key(stored_structure(given)) == structure_key(found.structure)
    report = submit_relaxed([oxide], maker, absorber="Mg", settings=settings)
    assert (report.queued, report.new, report.relaxing) == (1, 0, 0), "the benchmark's is the same"


def test_what_is_done_after_is_part_of_the_workflows_name(oxide: LoadedStructure) -> None:
    ids = {
        RelaxFlowMaker(relax_maker=maker, then=then).continuation_id([oxide])
        for maker in (RelaxMaker(), RelaxMaker(pressure=1.0), RelaxMaker(project="other"))
        for then in (None, ConvergenceOfRelaxed(), ConvergenceOfRelaxed(absorbing_index=1))
    }
    assert len(ids) == 9
