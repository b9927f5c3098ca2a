"""A site is computed once, its failures have names, and no finished result is ever lost."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import jobflow
import pytest
from jobflow import CURRENT_JOB, Job, JobStore
from maggma.stores import MemoryStore
from monty.json import MontyDecoder, jsanitize

from nearedge.codes.execution.stage import run_stage
from nearedge.codes.finished.sidecar import SIDECAR, parse_sidecar
from nearedge.errors import (
    CodeError,
    DatabaseUnavailable,
    InputRefused,
    LaunchError,
    ResourceError,
    StructureError,
)
from nearedge.makers import simulation, storing
from nearedge.makers.feff import FeffMaker
from nearedge.makers.simulation import SimulationMaker, SiteOutcome
from nearedge.settings import Settings
from nearedge.store.operations import MongoDatabase
from nearedge.store.queries import CalculationQuery, SpectrumQuery
from nearedge.store.spectra_store import SpectraStore
from nearedge.structures.identity import structure_key
from nearedge.structures.source import LoadedStructure

Molecule = Callable[[str], LoadedStructure]


def compute(
    maker: SimulationMaker,
    loaded: LoadedStructure,
    index: int = 0,
    instead_of: str | None = None,
) -> SiteOutcome:
    """Do what the job does, without jobflow."""
    make: Any = type(maker).make
    outcome = make.original(maker, loaded.structure, index, loaded.source, instead_of)
    assert isinstance(outcome, SiteOutcome)
    return outcome


@pytest.fixture
def maker(fake: object, in_memory: Settings) -> SimulationMaker:
    return SimulationMaker(code="fake", project="first", patience=0.0)


@pytest.fixture
def store(memory_database: MongoDatabase) -> SpectraStore:
    return SpectraStore(memory_database)


def test_a_site_is_computed_recorded_and_cleared_away(
    maker: SimulationMaker, molecule: Molecule, store: SpectraStore, in_memory: Settings
) -> None:
    outcome = compute(maker, molecule("OCO"), 1)
    assert outcome.completed
    assert outcome.multiplicity == 2, "the two oxygens are mirror images"
    calculation = store.calculation(outcome.calculation_id)
    spectrum = store.site_spectrum(outcome.calculation_id)
    assert calculation is not None
    assert spectrum is not None
    assert calculation.completed
    assert calculation.projects == spectrum.projects == ["first"]
    assert spectrum.spectrum_id == outcome.spectrum_id
    assert spectrum.multiplicity == 2
    assert store.structure(calculation.structure_key) is not None
    assert not list(in_memory.runs.iterdir()), "nothing is left of a run that succeeded"


def test_what_is_known_is_not_computed_again_but_filed_under_the_second_project_too(
    maker: SimulationMaker, molecule: Molecule, store: SpectraStore, fake: Any
) -> None:
    first = compute(maker, molecule("CO"))
    maker.project = "second"
    assert compute(maker, molecule("CO")) == first
    assert len(fake.runs) == 1
    calculation = store.calculation(first.calculation_id)
    assert calculation is not None
    assert sorted(calculation.projects) == ["first", "second"]


def test_a_failure_is_recorded_by_its_name_and_the_job_goes_on(
    maker: SimulationMaker, molecule: Molecule, store: SpectraStore, fake: Any
) -> None:
    def fail(run_dir: Path) -> None:
        raise CodeError("scf_not_converged", "It did not converge.", "the last line")

    fake.behaviour = fail
    outcome = compute(maker, molecule("CO"))
    assert (outcome.state, outcome.spectrum_id) == ("scf_not_converged", None)
    calculation = store.calculation(outcome.calculation_id)
    assert calculation is not None
    assert calculation.failure is not None
    assert calculation.failure.log_tail == "the last line"
    assert calculation.run_dir is not None
    assert (Path(calculation.run_dir) / "out").is_file(), "the folder of a failed run is kept"
    assert store.count(SpectrumQuery()) == 0
    assert compute(maker, molecule("CO")) == outcome
    assert len(fake.runs) == 1, "a failure that has a name is known, too"


def test_a_failure_states_what_it_cost_and_what_it_repeats(
    maker: SimulationMaker, molecule: Molecule, store: SpectraStore, fake: Any
) -> None:
    def fail(run_dir: Path) -> None:
        burn = [sys.executable, "-c", "sum(range(3 * 10**6))"]
        run_stage(burn, run_dir, stage="burn", log="log", stage_timeout=60)
        raise CodeError("scf_not_converged", "It did not converge.")

    fake.behaviour = fail
    outcome = compute(maker, molecule("CO"), instead_of="the-failed-one")
    calculation = store.calculation(outcome.calculation_id)
    assert calculation is not None
    assert calculation.parents == ["the-failed-one"]
    assert 0.01 < (calculation.cpu_seconds or 0.0) < 30.0
    assert (calculation.wall_seconds or 0.0) > 0.0


def test_a_known_failure_is_computed_again_on_demand_and_its_folder_goes(
    maker: SimulationMaker, molecule: Molecule, store: SpectraStore, fake: Any, in_memory: Settings
) -> None:
    def fail(run_dir: Path) -> None:
        raise CodeError("stage_timeout", "Too slow.")

    fake.behaviour = fail
    failed = compute(maker, molecule("CO"))
    fake.behaviour = lambda run_dir: None
    maker.rerun_failed = True
    assert compute(maker, molecule("CO")).completed
    calculation = store.calculation(failed.calculation_id)
    assert calculation is not None
    assert calculation.completed
    assert calculation.failure is None
    assert not list(in_memory.runs.iterdir())


def test_a_refused_input_is_recorded_without_starting_the_code(
    maker: SimulationMaker, molecule: Molecule, store: SpectraStore, fake: Any
) -> None:
    def refuse(index: int) -> None:
        raise InputRefused("isolated_absorber", "It has no neighbour.")

    fake.refuses = refuse
    outcome = compute(maker, molecule("CO"))
    assert outcome.state == "isolated_absorber"
    assert not fake.runs
    assert store.count(CalculationQuery(state="isolated_absorber")) == 1


@pytest.mark.parametrize(
    "fault", [ResourceError("The disk is full."), OSError(28, "No space left on device")]
)
def test_the_machines_fault_is_nobodys_result(
    maker: SimulationMaker,
    molecule: Molecule,
    store: SpectraStore,
    fake: Any,
    in_memory: Settings,
    fault: Exception,
) -> None:
    def break_down(run_dir: Path) -> None:
        raise fault

    fake.behaviour = break_down
    with pytest.raises(ResourceError):
        compute(maker, molecule("CO"))
    assert store.count(CalculationQuery()) == 0
    assert not [path for path in in_memory.runs.rglob("*") if path.is_file()]
    fake.behaviour = lambda run_dir: None
    assert compute(maker, molecule("CO")).completed


def test_a_structure_that_no_code_can_use_is_refused_before_anything_is_asked(
    maker: SimulationMaker, molecule: Molecule, fake: Any
) -> None:
    loaded = molecule("CO")
    crowded = LoadedStructure(loaded.structure.copy(), loaded.source)
    crowded.structure.append("O", [12.5, 12.5, 10.1], coords_are_cartesian=True)
    with pytest.raises(StructureError):
        compute(maker, crowded)
    with pytest.raises(StructureError, match="no site 9"):
        compute(maker, loaded, 9)
    assert not fake.runs


def away(times: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the database be away for the next `times` attempts to store."""
    conclude = SpectraStore.conclude
    left = iter(range(times))

    def flaky(self: SpectraStore, *arguments: Any) -> set[str]:
        if next(left, None) is not None:
            raise DatabaseUnavailable("No database answers.")
        return conclude(self, *arguments)

    monkeypatch.setattr(SpectraStore, "conclude", flaky)


def test_a_finished_result_waits_for_the_database(
    maker: SimulationMaker, molecule: Molecule, fake: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(storing.time, "sleep", pauses.append)
    maker.patience = 60.0
    away(4, monkeypatch)
    assert compute(maker, molecule("CO")).completed
    assert pauses == [0.5, 1.0, 2.0, 4.0]
    assert len(fake.runs) == 1


def test_a_result_that_could_not_be_stored_is_not_computed_again(
    maker: SimulationMaker,
    molecule: Molecule,
    store: SpectraStore,
    fake: Any,
    in_memory: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    away(1, monkeypatch)
    with pytest.raises(DatabaseUnavailable, match="waits in"):
        compute(maker, molecule("CO"))
    (left,) = in_memory.runs.rglob("result.json")
    maker.project = "second"
    outcome = compute(maker, molecule("CO"))
    assert outcome.completed
    assert len(fake.runs) == 1
    assert not left.exists()
    spectrum = store.site_spectrum(outcome.calculation_id)
    assert spectrum is not None
    assert sorted(spectrum.projects) == ["first", "second"]
    assert spectrum.absorption == [1.0] * 31, "stored as it was computed"


@pytest.mark.parametrize("damage", ["", "{", '{"calculation": null}', "another"])
def test_a_leftover_that_is_damaged_or_of_another_calculation_is_ignored(
    maker: SimulationMaker,
    molecule: Molecule,
    fake: Any,
    in_memory: Settings,
    monkeypatch: pytest.MonkeyPatch,
    damage: str,
) -> None:
    away(1, monkeypatch)
    with pytest.raises(DatabaseUnavailable):
        compute(maker, molecule("CO"))
    (left,) = in_memory.runs.rglob("result.json")
    if damage == "another":
        content = json.loads(left.read_text())
        content["calculation"]["calculation_id"] = "of another"
        damage = json.dumps(content)
    left.write_text(damage)
    assert compute(maker, molecule("CO")).completed
    assert len(fake.runs) == 2


def test_a_disk_too_full_for_the_safety_net_does_not_lose_the_result(
    maker: SimulationMaker, molecule: Molecule, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("nearedge.makers.leftover.os.fsync", full)
    assert compute(maker, molecule("CO")).completed


def test_somebody_who_finished_it_while_we_waited_for_the_claim_is_believed(
    maker: SimulationMaker, molecule: Molecule, fake: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold = simulation.Claims.hold

    def overtaken(self: simulation.Claims, calculation_id: str) -> Any:
        monkeypatch.setattr(simulation.Claims, "hold", hold)
        compute(maker, molecule("CO"))
        return hold(self, calculation_id)

    monkeypatch.setattr(simulation.Claims, "hold", overtaken)
    assert compute(maker, molecule("CO")).completed
    assert len(fake.runs) == 1


def test_what_an_earlier_calculation_left_is_used_and_named_as_parent(
    maker: SimulationMaker, molecule: Molecule, store: SpectraStore, fake: Any
) -> None:
    fake.restart_key = "all but the broadening"
    first = compute(maker, molecule("CO"))
    fake.radius = 5.0
    second = compute(maker, molecule("CO"))
    compute(maker, molecule("CO"), 1)
    compute(maker, molecule("CN"))
    fake.restart_key = "another"
    fake.radius = 6.0
    compute(maker, molecule("CO"))
    left = {"x.sav": b"\x00lanczos", "y.sav": b"y"}
    assert fake.restarts == [None, left, None, None, None], "of this very site and key only"
    calculation = store.calculation(second.calculation_id)
    assert calculation is not None
    assert calculation.parents == [first.calculation_id]
    assert calculation.restart_key == "all but the broadening"
    assert all(held.startswith("blob:") for held in calculation.restart.values())
    assert not store.orphans(older_than=timedelta(0))


def test_what_an_earlier_calculation_left_damaged_costs_time_only(
    maker: SimulationMaker, molecule: Molecule, store: SpectraStore, fake: Any
) -> None:
    fake.restart_key = "all but the broadening"
    compute(maker, molecule("CO"))
    store.database["blobs"].delete_many({})
    fake.radius = 5.0
    again = compute(maker, molecule("CO"))
    assert fake.restarts == [None, None]
    calculation = store.calculation(again.calculation_id)
    assert calculation is not None
    assert calculation.completed
    assert calculation.warnings[0].startswith("Computed in full, since what an earlier calculation")


@pytest.mark.parametrize(
    "name", ["output_truncated", "output_foreign", "missing_polarisation", "restart_damaged"]
)
def test_what_the_code_finds_damaged_costs_time_only(
    maker: SimulationMaker, molecule: Molecule, store: SpectraStore, fake: Any, name: str
) -> None:
    fake.restart_key = "all but the broadening"
    first = compute(maker, molecule("CO"))

    def damaged(run_dir: Path) -> None:
        if fake.restarts[-1] is not None:
            raise CodeError(name, "x.sav is cut short.")

    fake.behaviour, fake.radius = damaged, 5.0
    again = compute(maker, molecule("CO"))
    assert [restart is None for restart in fake.restarts] == [True, False, True]
    calculation = store.calculation(again.calculation_id)
    assert calculation is not None
    assert calculation.completed
    assert calculation.parents == []
    (warning,) = calculation.warnings
    assert warning == (
        "Computed in full, since what an earlier calculation left cannot be used (that of "
        f"{first.calculation_id}: x.sav is cut short)."
    )


def test_a_failure_that_a_full_run_would_repeat_is_one_with_a_restart_too(
    maker: SimulationMaker, molecule: Molecule, fake: Any
) -> None:
    fake.restart_key = "all but the broadening"
    compute(maker, molecule("CO"))

    def hopeless(run_dir: Path) -> None:
        raise CodeError("too_few_bands", "There are too few bands.")

    fake.behaviour, fake.radius = hopeless, 5.0
    assert compute(maker, molecule("CO")).state == "too_few_bands"
    assert len(fake.restarts) == 2


def test_a_result_for_others_survives_a_database_that_is_away(
    maker: SimulationMaker, molecule: Molecule, fake: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.restart_key = "all but the broadening"
    away(1, monkeypatch)
    with pytest.raises(DatabaseUnavailable):
        compute(maker, molecule("CO"))
    compute(maker, molecule("CO"))
    fake.radius = 5.0
    compute(maker, molecule("CO"))
    assert fake.restarts == [None, {"x.sav": b"\x00lanczos", "y.sav": b"y"}]


def test_a_worker_without_the_program_says_what_is_missing(
    maker: SimulationMaker, molecule: Molecule, store: SpectraStore, fake: Any, in_memory: Settings
) -> None:
    fake.found = False
    with pytest.raises(ResourceError, match=r"A fake cannot run on .*: x; get it"):
        compute(maker, molecule("CO"))
    assert store.count(CalculationQuery()) == 0
    assert not fake.runs
    fake.found = True
    known = compute(maker, molecule("CO"))
    fake.found = False
    assert compute(maker, molecule("CO")) == known, "what is known needs no program"


def test_a_folder_that_is_kept_says_what_it_is_of(
    maker: SimulationMaker, molecule: Molecule, store: SpectraStore, fake: Any
) -> None:
    def fail(run_dir: Path) -> None:
        raise CodeError("scf_not_converged", "It did not converge.")

    fake.behaviour = fail
    calculation = store.calculation(compute(maker, molecule("OCO"), 1).calculation_id)
    assert calculation is not None
    assert calculation.run_dir is not None
    told = parse_sidecar((Path(calculation.run_dir) / SIDECAR).read_text())
    assert (told.label, told.code, told.absorbing_index, told.edge) == ("OCO", "fake", 1, "K")
    assert structure_key(told.structure) == calculation.structure_key
    assert told.parameters == calculation.parameters
    assert told.code_version == "1"


def test_under_fireworks_a_memory_store_is_refused_before_the_run(
    maker: SimulationMaker, molecule: Molecule, fake: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As rlaunch would start it without JOBFLOW_CONFIG_FILE: jobflow's default store.
    current = Job(print, metadata={"fw_id": 7})
    monkeypatch.setattr(CURRENT_JOB, "job", current)
    monkeypatch.setattr(jobflow.SETTINGS, "JOB_STORE", JobStore(MemoryStore()))
    with pytest.raises(LaunchError, match="MemoryStore"):
        compute(maker, molecule("CO"))
    assert not fake.runs


def test_the_job_survives_the_way_through_the_database(molecule: Molecule) -> None:
    loaded = molecule("CO")
    job = FeffMaker(edge="K", project="p").make(loaded.structure, 0, loaded.source)
    read = MontyDecoder().process_decoded(json.loads(json.dumps(jsanitize(job.as_dict()))))
    assert read.maker == job.maker
    assert read.function_args[0] == loaded.structure
    assert read.function_args[2] == loaded.source
    assert read.output_schema is SiteOutcome


def test_the_outcome_can_be_stored_whatever_the_code_gave() -> None:
    outcome = SiteOutcome(
        calculation_id="c", spectrum_id=None, absorbing_index=0, multiplicity=2, state="failed"
    )
    stored = jsanitize(outcome, strict=True, enum_values=True, allow_bson=True)
    assert MontyDecoder().process_decoded(stored) == outcome


def test_what_was_stored_and_not_cleared_away_is_no_new_result(
    maker: SimulationMaker, molecule: Molecule, fake: Any, in_memory: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """As of a worker that was killed at that moment."""

    def fail(run_dir: Path) -> None:
        raise CodeError("scf_not_converged", "It did not converge.")

    fake.behaviour = fail
    with monkeypatch.context() as killed:
        killed.setattr(storing, "_clear_away", lambda *_: None)
        compute(maker, molecule("CO"))
    fake.behaviour = lambda run_dir: None
    maker.rerun_failed = True
    assert compute(maker, molecule("CO")).completed, "it was computed again"
    with monkeypatch.context() as killed:
        killed.setattr(storing, "_clear_away", lambda *_: None)
        compute(maker, molecule("CO"), 1)
    assert list(in_memory.runs.rglob("result.json"))
    compute(maker, molecule("CO"), 1)
    assert not list(in_memory.runs.rglob("result.json"))
