"""Inputs that are run elsewhere come back as the calculations that would have run here."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from nearedge.codes.base import BadRun, CodeResult, FinishedRun, KnownRun
from nearedge.codes.finished.runs import Described, iter_run_folders
from nearedge.codes.finished.sidecar import SIDECAR
from nearedge.errors import IngestError
from nearedge.makers.ingest import ingest_path
from nearedge.makers.simulation import SimulationMaker
from nearedge.schemas.spectrum import EnergyReference
from nearedge.settings import Settings
from nearedge.spectra.spectrum import Spectrum
from nearedge.store.operations import MongoDatabase
from nearedge.store.queries import CalculationQuery, SpectrumQuery
from nearedge.store.spectra_store import SpectraStore
from nearedge.structures.builtin import builtin_structure
from nearedge.structures.source import LoadedStructure, SourceRef
from nearedge.workflows.inputs import write_inputs


def read(folder: Path) -> CodeResult:
    energy = np.linspace(100.0, 130.0, 31)
    return CodeResult(
        spectrum=Spectrum(energy, float((folder / "out").read_text()) + 0 * energy),
        energy_reference=EnergyReference(kind="absolute", edge_energy=101.0),
        broadening=[],
        code_version="1",
    )


def describe(folder: Path) -> Described:
    raise IngestError("a stranger's")


@pytest.fixture
def readable(fake: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return the fake code, which can now read what was run elsewhere."""

    def finished(
        self: object, path: Path, *, known: Any = None, progress: Any = None
    ) -> Iterator[FinishedRun | KnownRun | BadRun]:
        return iter_run_folders(
            path,
            code="fake",
            read=read,
            describe=describe,
            markers=("out",),
            wanted=("in", "out"),
            known=known,
            progress=progress,
        )

    monkeypatch.setattr(type(fake), "finished", finished, raising=False)
    return fake


def test_what_was_run_elsewhere_is_the_calculation_that_would_have_run_here(
    readable: Any,
    in_memory: Settings,
    memory_database: MongoDatabase,
    molecule: Callable[[str], LoadedStructure],
    tmp_path: Path,
) -> None:
    loaded = molecule("OCO")
    report = write_inputs([loaded], tmp_path / "inputs", absorber="O", codes=["fake"])
    (folder,) = report.written
    assert sorted(path.name for path in folder.iterdir()) == ["in", SIDECAR]
    (folder / "out").write_text("5.0")
    store = SpectraStore(memory_database)
    summary = ingest_path(tmp_path / "inputs", "fake", store, "elsewhere")
    assert (summary.new, summary.known, summary.bad) == (1, 0, [])
    make: Any = SimulationMaker.make
    maker = SimulationMaker(code="fake", project="here")
    outcome = make.original(maker, loaded.structure, 1, loaded.source)
    assert outcome.completed
    assert not readable.runs, "it was known"
    (calculation,) = store.calculations(CalculationQuery())
    assert calculation.calculation_id == outcome.calculation_id
    assert calculation.protocol == "fast@1"
    assert calculation.origin.startswith("ingest:")
    assert sorted(calculation.projects) == ["elsewhere", "here"]
    assert store.count(SpectrumQuery(kind="average")) == 1, "the average of both oxygens"
    again = ingest_path(tmp_path / "inputs", "fake", store, "elsewhere")
    assert (again.new, again.known, again.bad) == (0, 1, [])


def test_a_folder_that_nobody_ran_is_told(
    readable: Any,
    in_memory: Settings,
    memory_database: MongoDatabase,
    molecule: Callable[[str], LoadedStructure],
    tmp_path: Path,
) -> None:
    write_inputs([molecule("OCO")], tmp_path / "inputs", absorber="O", codes=["fake"])
    summary = ingest_path(tmp_path / "inputs", "fake", SpectraStore(memory_database))
    assert (summary.new, summary.known) == (0, 0)
    ((label, reason),) = summary.bad
    assert label.endswith("OCO/1_O_K_fake")
    assert reason


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "program"),
    [("feff", None), ("xspectra", "pw_command"), ("gpaw", "gpaw_python"), ("elk", "elk_command")],
)
def test_the_script_beside_the_inputs_runs_them(
    code: str,
    program: str | None,
    binary: Callable[[str], str],
    in_memory: Settings,
    memory_database: MongoDatabase,
    tmp_path: Path,
) -> None:
    if program is not None:
        binary(program)
    crystal, absorber = ("boron nitride", "B") if code == "elk" else ("rutile", "Ti")
    structure = boron_nitride() if code == "elk" else builtin_structure("rutile").structure
    loaded = LoadedStructure(structure, SourceRef(kind="object", label=crystal))
    (folder,) = write_inputs([loaded], tmp_path / "inputs", absorber=absorber, codes=[code]).written
    environment = {**os.environ, "PYTHON": sys.executable, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(["sh", str(folder / "run.sh")], env=environment, check=False)
    assert done.returncode == 0
    store = SpectraStore(memory_database)
    summary = ingest_path(tmp_path / "inputs", code, store)
    assert (summary.new, summary.bad) == (1, [])
    (calculation,) = store.calculations(CalculationQuery())
    assert calculation.protocol == "fast@1", "its inputs are as they were written"


def boron_nitride() -> Structure:
    return Structure(
        Lattice.cubic(3.615), ["B"] * 4 + ["N"] * 4, _ZINCBLENDE
    ).get_primitive_structure()


_FCC = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
_ZINCBLENDE = np.vstack([_FCC, _FCC + 0.25])
