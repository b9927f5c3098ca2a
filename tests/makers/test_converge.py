"""A convergence follows from the calculations in the store: resumable, and no step runs twice."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jobflow import Job, JobStore, run_locally
from maggma.stores import MemoryStore
from monty.json import MontyDecoder, jsanitize

from nearedge.codes import get_code
from nearedge.codes.base import CodeResult, InputSet
from nearedge.errors import CodeError, ResourceError
from nearedge.launch.fireworks import SPEC_KEY
from nearedge.makers import converge
from nearedge.makers.converge import ConvergeMaker
from nearedge.makers.convergence import so_far
from nearedge.makers.feff import FeffMaker
from nearedge.schemas.convergence import ConvergenceDoc, RaisedParameter, Thresholds
from nearedge.schemas.spectrum import EnergyReference
from nearedge.settings import Settings
from nearedge.spectra.spectrum import Spectrum
from nearedge.store.convergences import ConvergenceStore
from nearedge.store.operations import MongoDatabase
from nearedge.store.spectra_store import SpectraStore
from nearedge.structures.source import LoadedStructure

Molecule = Callable[[str], LoadedStructure]

SCF = RaisedParameter(name="scf_radius", unit="angstrom", values=[3.2, 4.0, 5.0])
FMS = RaisedParameter(name="fms_radius", unit="angstrom", values=[4.0, 5.0, 6.0, 7.0])


@dataclass
class QuickFeff:
    """FEFF's own inputs, and a spectrum in closed form in place of the run.

    A white line moves with the SCF radius, and a peak grows with the FMS radius as `peak` says.
    """

    peak: dict[float, float] = field(
        default_factory=lambda: {4.0: 0.2, 5.0: 0.6, 6.0: 0.62, 7.0: 0.62}
    )
    failures: dict[float, Exception] = field(default_factory=dict)
    runs: list[str] = field(default_factory=list)

    def __call__(self, inputs: InputSet, run_dir: Path, **_options: object) -> CodeResult:
        self.runs.append(inputs.protocol)
        fms = float(inputs.parameters["fms_radius"].value)  # type: ignore[arg-type]
        scf = float(inputs.parameters["scf_radius"].value)  # type: ignore[arg-type]
        if fms in self.failures:
            raise self.failures[fms]
        fermi = -10.0 + 0.5 / scf
        above = np.linspace(-10.0, 50.0, 301)
        height = self.peak[fms] + 0.001 / scf
        line = 0.5 + np.arctan(above) / np.pi + height * np.exp(-0.5 * ((above - 9) / 2) ** 2)
        return CodeResult(
            spectrum=Spectrum(4980.0 + fermi + above, line),
            energy_reference=EnergyReference(
                kind="absolute", edge_energy=4980.0, fermi_energy=fermi
            ),
            broadening=[],
            cpu_seconds=fms,
        )


@pytest.fixture
def feff(monkeypatch: pytest.MonkeyPatch) -> QuickFeff:
    quick = QuickFeff()
    monkeypatch.setattr(get_code("feff"), "run", quick, raising=True)
    return quick


@pytest.fixture
def maker(
    feff: QuickFeff,
    in_memory: Settings,
    memory_database: MongoDatabase,
    monkeypatch: pytest.MonkeyPatch,
) -> ConvergeMaker:
    monkeypatch.setattr(converge, "connect", lambda: memory_database)
    return ConvergeMaker(
        site_maker=FeffMaker(protocol="balanced", project="p"),
        parameters=[SCF, FMS],
        thresholds=Thresholds(spearman=0.99, mse=3e-3),
    )


@pytest.fixture
def converged(
    maker: ConvergeMaker, molecule: Molecule, memory_database: MongoDatabase
) -> Callable[..., ConvergenceDoc]:
    """Return a function that runs the flow in this process and gives the document."""

    def run(retry: list[str] | None = None, *, ensure: bool = True) -> ConvergenceDoc:
        loaded = molecule("CO")
        job = maker.make(loaded.structure, 0, loaded.source, retry)
        run_locally(job, log=False, store=JobStore(MemoryStore()), ensure_success=ensure)
        (found,) = ConvergenceStore(memory_database).listing()
        return found

    return run


def test_parameters_are_raised_one_after_the_other_until_spectra_agree(
    converged: Callable[..., ConvergenceDoc], feff: QuickFeff
) -> None:
    found = converged()
    assert (found.state, found.converged) == ("finished", True)
    assert found.chosen == {"scf_radius": 3.2, "fms_radius": 5.0}
    assert feff.runs == [
        "balanced@1+scf_radius=3.2",
        "balanced@1",  # the protocol's own SCF radius is 4.0
        "balanced@1+fms_radius=4.0+scf_radius=3.2",
        "balanced@1+fms_radius=5.0+scf_radius=3.2",
    ], "FMS 6 at SCF 3.2 is known from the first parameter"
    scf, fms = found.parameters
    assert [step.value for step in scf.steps] == [3.2, 4.0]
    assert [step.value for step in fms.steps] == [4.0, 5.0, 6.0]
    assert found.cpu_seconds == 6.0 + 6.0 + 4.0 + 5.0, "no calculation counts twice"


def test_the_shift_is_told_apart_from_the_shape(
    converged: Callable[..., ConvergenceDoc],
) -> None:
    first, second = converged().parameters[0].steps
    assert first.comparison is None
    compared = second.comparison
    assert compared is not None
    assert compared.with_value == 3.2
    moved = 0.5 / 4.0 - 0.5 / 3.2
    assert compared.fermi_change == pytest.approx(moved)
    assert compared.edge_change == 0.0
    assert compared.shift == pytest.approx(-moved, abs=0.02), "onto the earlier one"
    assert compared.agrees
    assert compared.spearman > 0.999
    assert compared.mse < 1e-4
    large = converged().parameters[1].steps[1].comparison
    assert large is not None
    assert not large.agrees


def test_the_second_time_nothing_runs(
    converged: Callable[..., ConvergenceDoc], feff: QuickFeff
) -> None:
    first = converged()
    feff.runs.clear()
    second = converged()
    assert feff.runs == []
    assert second == first


def test_a_failed_step_is_recorded_and_passed_by(
    converged: Callable[..., ConvergenceDoc], feff: QuickFeff
) -> None:
    feff.failures[5.0] = CodeError("scf_not_converged", "It oscillates.")
    found = converged()
    fms = found.parameters[1]
    assert [step.state for step in fms.steps] == [
        "completed",
        "scf_not_converged",
        "completed",
        "completed",
    ]
    assert fms.failures[0].message == "It oscillates."
    assert fms.steps[2].comparison is not None
    assert fms.steps[2].comparison.with_value == 4.0
    assert (fms.verdict, fms.chosen) == ("converged", 6.0)
    feff.failures.clear()
    feff.runs.clear()
    again = converged([fms.steps[1].calculation_id])
    assert feff.runs == ["balanced@1+fms_radius=5.0+scf_radius=3.2"], "only what had failed"
    assert again.parameters[1].chosen == 5.0


def test_a_step_that_fails_again_is_not_retried_for_ever(
    converged: Callable[..., ConvergenceDoc], feff: QuickFeff
) -> None:
    feff.failures[5.0] = CodeError("scf_not_converged", "It oscillates.")
    failed = converged().parameters[1].failures[0].calculation_id
    feff.runs.clear()
    assert converged([failed]).state == "finished"
    assert feff.runs == ["balanced@1+fms_radius=5.0+scf_radius=3.2"]


def test_stopped_in_the_middle_it_goes_on_where_it_was(
    converged: Callable[..., ConvergenceDoc], feff: QuickFeff
) -> None:
    feff.failures[4.0] = ResourceError("The disk is full.")
    stopped = converged(ensure=False)
    assert stopped.state == "running"
    assert [each.verdict for each in stopped.parameters] == ["converged", "open"]
    feff.failures.clear()
    feff.runs.clear()
    assert converged().state == "finished"
    assert feff.runs == [
        "balanced@1+fms_radius=4.0+scf_radius=3.2",
        "balanced@1+fms_radius=5.0+scf_radius=3.2",
    ]


def test_what_never_agrees_is_said_to_be_unconverged(
    converged: Callable[..., ConvergenceDoc], feff: QuickFeff
) -> None:
    feff.peak = {4.0: 0.2, 5.0: 0.5, 6.0: 0.9, 7.0: 1.4}
    fms = converged().parameters[1]
    assert (fms.verdict, fms.chosen) == ("not_converged", 7.0)
    assert len(fms.steps) == len(FMS.values)


def test_spectra_that_cannot_be_compared_do_not_agree(
    converged: Callable[..., ConvergenceDoc], feff: QuickFeff, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flat(*arguments: Any, **options: Any) -> CodeResult:
        result = QuickFeff.__call__(feff, *arguments, **options)
        if result.cpu_seconds == 5.0:
            zero = np.zeros_like(result.spectrum.energy)
            object.__setattr__(result, "spectrum", Spectrum(result.spectrum.energy, zero))
        return result

    monkeypatch.setattr(get_code("feff"), "run", flat)
    fms = converged().parameters[1]
    assert "nowhere positive" in fms.steps[1].message
    assert fms.steps[1].comparison is None
    assert "nowhere positive" in fms.steps[2].message, "nor the next one with it"
    assert fms.chosen == 6.0


def test_the_question_decides_the_id(maker: ConvergeMaker, molecule: Molecule) -> None:
    loaded = molecule("CO")
    known = maker.question(loaded.structure, 0, loaded.source).convergence_id
    other = ConvergeMaker(
        site_maker=maker.site_maker, parameters=[SCF], thresholds=maker.thresholds
    )
    assert other.question(loaded.structure, 0, loaded.source).convergence_id != known
    stricter = ConvergeMaker(
        site_maker=maker.site_maker,
        parameters=[SCF, FMS],
        thresholds=Thresholds(spearman=0.995, mse=3e-3),
    )
    assert stricter.question(loaded.structure, 0, loaded.source).convergence_id != known
    elsewhere = FeffMaker(protocol="balanced@1", project="another")
    same = ConvergeMaker(site_maker=elsewhere, parameters=[SCF, FMS], thresholds=maker.thresholds)
    assert same.question(loaded.structure, 0).convergence_id == known


def test_a_decision_survives_the_way_through_the_database(
    maker: ConvergeMaker, molecule: Molecule
) -> None:
    loaded = molecule("CO")
    job = maker.make(loaded.structure, 0, loaded.source)
    stored = json.loads(json.dumps(jsanitize(job.as_dict())))  # as FireWorks stores it
    back = MontyDecoder().process_decoded(stored)
    assert isinstance(back, Job)
    assert back.maker == maker
    assert back.maker.parameters[1] == FMS
    assert isinstance(back.maker.site_maker, FeffMaker)


def test_the_jobs_of_a_step_say_what_they_are_about(
    maker: ConvergeMaker, molecule: Molecule, memory_database: MongoDatabase
) -> None:
    loaded = molecule("CO")
    make: Any = type(maker).make
    response = make.original(maker, loaded.structure, 0, loaded.source)
    step, decision = response.detour.jobs
    question = maker.question(loaded.structure, 0, loaded.source)
    pending = so_far(SpectraStore(memory_database), question).pending
    assert pending is not None
    about = step.metadata[SPEC_KEY]
    assert about["calculation_id"] == pending.site.calculation_id
    assert (about["kind"], about["project"]) == ("site", "p")
    assert "scf_radius=3.2" in about["label"]
    assert step.uuid in decision.input_uuids, "a decision waits for its step"
    assert decision.metadata[SPEC_KEY]["kind"] == "converge"
    assert decision.metadata[SPEC_KEY]["convergence_id"] == about["convergence_id"]
