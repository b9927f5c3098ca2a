"""A convergence is submitted once, goes on after a stop, and runs nothing that is known."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from fireworks.core.launchpad import LaunchPad
from jobflow import JobStore, run_locally
from maggma.stores import MemoryStore

from nearedge.codes.base import CodeResult
from nearedge.errors import CodeError, InputRefused, StructureError
from nearedge.launch.fireworks import launchpad
from nearedge.launch.pool import run_workers
from nearedge.makers.convergence import so_far
from nearedge.makers.documents import completed_record, failed_record
from nearedge.schemas.convergence import ConvergenceDoc
from nearedge.schemas.spectrum import EnergyReference
from nearedge.settings import Settings
from nearedge.spectra.spectrum import Spectrum
from nearedge.store.connection import client, connect, initialize
from nearedge.store.convergences import ConvergenceStore
from nearedge.store.queries import CalculationQuery
from nearedge.store.spectra_store import SpectraStore
from nearedge.structures.source import LoadedStructure
from nearedge.workflows import converge, once, relaxed
from nearedge.workflows.campaign import submit
from nearedge.workflows.converge import ConvergeFlowMaker, choose_site, submit_convergence
from nearedge.workflows.relaxed import ConvergenceOfRelaxed

Molecule = Callable[[str], LoadedStructure]


def small(project: str | None = "p") -> ConvergeFlowMaker:
    """Two parameters with two values each: the molecule ends within the smallest radius."""
    return ConvergeFlowMaker.for_code(
        "feff",
        protocol="fast",
        names=["scf_radius", "fms_radius"],
        values={"scf_radius": [3.2, 4.0], "fms_radius": [4.0, 5.0]},
        project=project,
    )


# ---- in memory


@pytest.fixture
def in_memory(pad: LaunchPad, store: SpectraStore, monkeypatch: pytest.MonkeyPatch) -> SpectraStore:
    monkeypatch.setattr(once, "launchpad", lambda settings: pad)
    monkeypatch.setattr(converge, "connect", lambda settings: store.database)
    return store


def compute(store: SpectraStore, loaded: LoadedStructure, *, fail: bool = False) -> None:
    """Record the step that is next, as its job would."""
    question = small().converge_maker.question(loaded.structure, 0, loaded.source)
    pending = so_far(store, question).pending
    assert pending is not None
    if fail:
        store.record(*failed_record(pending.site, CodeError("stage_failed", "It stopped.")))
        return
    energy = [100.0 + n for n in range(60)]
    line = Spectrum(energy, [min(n, 20.0) for n in range(60)])  # type: ignore[arg-type]
    result = CodeResult(line, EnergyReference(kind="absolute"), [])
    store.record(*completed_record(pending.site, result))


def test_what_is_queued_is_not_queued_again(
    in_memory: SpectraStore, pad: LaunchPad, molecule: Molecule
) -> None:
    first = submit_convergence(small(), molecule("CO"), 0)
    assert (first.state, first.document.state) == ("new", "running")
    assert submit_convergence(small(), molecule("CO"), 0).state == "queued"
    assert pad.fireworks.count_documents({}) == 1
    pad.fireworks.update_one({}, {"$set": {"state": "FIZZLED"}})
    assert submit_convergence(small(), molecule("CO"), 0).state == "put_back"
    assert pad.fireworks.find_one({})["state"] == "READY"
    (listed,) = ConvergenceStore(in_memory.database).listing(project="p")
    assert listed.convergence_id == first.document.convergence_id


def test_what_is_known_queues_nothing_and_is_filed_under_the_project(
    in_memory: SpectraStore, pad: LaunchPad, molecule: Molecule
) -> None:
    for _ in range(3):
        compute(in_memory, molecule("CO"))
    known = submit_convergence(small("later"), molecule("CO"), 0)
    assert (known.state, known.document.converged) == ("known", True)
    assert pad.fireworks.count_documents({}) == 0
    assert in_memory.count(CalculationQuery(project="later")) == 3
    submit_convergence(small("other"), molecule("CO"), 0)
    (listed,) = ConvergenceStore(in_memory.database).listing()
    assert sorted(listed.projects) == ["later", "other"]


def test_failed_steps_are_known_until_they_are_wanted_again(
    in_memory: SpectraStore, pad: LaunchPad, molecule: Molecule
) -> None:
    for fail in (False, True, False):
        compute(in_memory, molecule("CO"), fail=fail)
    known = submit_convergence(small(), molecule("CO"), 0)
    assert known.state == "known"
    again = submit_convergence(small(), molecule("CO"), 0, rerun_failed=True)
    assert (again.state, again.document.state) == ("new", "running")
    assert pad.fireworks.count_documents({}) == 1


def test_failed_steps_of_a_relaxed_structure_are_looked_for_once_it_is_relaxed(
    in_memory: SpectraStore, molecule: Molecule, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relaxed, "connect", lambda: in_memory.database)
    for fail in (False, True, False):
        compute(in_memory, molecule("CO"), fail=fail)
    wanted = []
    for rerun_failed in (False, True):
        then = ConvergenceOfRelaxed(converge_flow_maker=small(), rerun_failed=rerun_failed)
        (flow,) = then.make({"origin": molecule("CO")}).jobs
        wanted.append(flow.jobs[0].function_args[3])
    failed = in_memory.calculations(CalculationQuery(failed=True))
    assert wanted == [[], [each.calculation_id for each in failed]]


def test_the_site_is_the_first_kind_of_absorber_or_the_one_that_is_given(
    molecule: Molecule,
) -> None:
    assert choose_site(molecule("CCO"), "C") == 0
    assert choose_site(molecule("CCO"), "C", 1) == 1
    with pytest.raises(StructureError, match="no site 7"):
        choose_site(molecule("CCO"), "C", 7)
    with pytest.raises(StructureError, match="is O, not C"):
        choose_site(molecule("CCO"), "C", 2)
    with pytest.raises(StructureError, match="Ti"):
        choose_site(molecule("CCO"), "Ti")


def test_what_no_code_has_is_refused_before_a_job_exists() -> None:
    with pytest.raises(InputRefused, match="known"):
        ConvergeFlowMaker.for_code("feef")
    with pytest.raises(InputRefused, match="no parameter"):
        ConvergeFlowMaker.for_code("feff", names=["cutoff"])


# ---- on the real server, with real FEFF


def the_document(settings: Settings) -> ConvergenceDoc:
    (found,) = ConvergenceStore(connect(settings)).listing()
    return found


def alike(found: ConvergenceDoc) -> dict[str, object]:
    """Return what does not hang on when and how fast it was computed."""
    document = found.model_dump(exclude={"created_at", "cpu_seconds"})
    for parameter in document["parameters"]:
        for step in parameter["steps"]:
            assert step.pop("cpu_seconds") > 0
    return document


@pytest.mark.integration
def test_locally_and_under_fireworks_the_same_document_comes_out(
    live_settings: Settings, molecule: Molecule
) -> None:
    loaded = molecule("CO")
    maker = ConvergeFlowMaker.for_code(
        "feff", protocol="fast", names=["fms_radius"], values={"fms_radius": [4.0, 5.0]}
    )
    flow = maker.make(loaded, 0)
    run_locally(flow, log=False, store=JobStore(MemoryStore()), ensure_success=True)
    expected = the_document(live_settings)
    assert (expected.state, expected.converged) == ("finished", True)
    (fms,) = expected.parameters
    assert (len(fms.steps), fms.chosen) == (2, 4.0)
    other = live_settings.model_copy(update={"database": f"{live_settings.database}_f"})
    initialize(other)
    try:
        submitted = submit_convergence(maker, loaded, 0, settings=other)
        assert submitted.state == "new"
        submit([molecule("CN")], absorber="C", settings=other)
        about = {"convergence_id": submitted.document.convergence_id}
        summary = run_workers(1, other, about=about)
        assert (summary.completed, summary.failed, summary.killed) == (5, 0, 0), summary.messages
        assert alike(the_document(other)) == alike(expected)
        assert submit_convergence(maker, loaded, 0, settings=other).state == "known"
        left = launchpad(other).fireworks.count_documents({"state": {"$in": ["READY", "WAITING"]}})
        assert left == 2, "what is not about the convergence is left to others"
    finally:
        client(other).drop_database(other.database)
        client(other).drop_database(other.launchpad_database)
