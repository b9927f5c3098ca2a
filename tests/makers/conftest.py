"""A code that takes microseconds, and jobs that find a database in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pymatgen.core import Structure

from nearedge import codes
from nearedge.codes.base import Availability, CodeResult, InputSet, Progress
from nearedge.makers import attempt, average, pack, packed_sites, simulation, storing
from nearedge.makers.average import AverageMaker
from nearedge.makers.pack import PackMaker, PackOutcome, failure_told
from nearedge.makers.simulation import SimulationMaker
from nearedge.schemas import Parameter, StructureDoc
from nearedge.schemas.spectrum import EnergyReference
from nearedge.settings import Settings, get_settings
from nearedge.spectra.spectrum import Spectrum
from nearedge.store.operations import MongoDatabase
from nearedge.store.queries import CalculationQuery
from nearedge.store.spectra_store import SpectraStore
from nearedge.structures.source import LoadedStructure
from nearedge.workflows.spectrum import plan_sites, shares

Molecule = Callable[[str], LoadedStructure]
ComputePack = Callable[..., PackOutcome]
FORMULAS = ("CO", "CCO", "OCO")


@dataclass
class FakeCode:
    """Answers with a spectrum that depends on the site, or does what `behaviour` says."""

    name: str = "fake"
    title: str = "A fake"
    edges: tuple[str, ...] = ("K",)
    runs: list[tuple[int, Path]] = field(default_factory=list)
    behaviour: Callable[[Path], None] = lambda run_dir: None
    refuses: Callable[[int], None] = lambda index: None
    restart_key: str | None = None
    radius: float = 4.0
    found: bool = True
    restarts: list[dict[str, bytes] | None] = field(default_factory=list)

    def version(self) -> str:
        return "1"

    def availability(self) -> Availability:
        return Availability(True, "here") if self.found else Availability(False, "x", "get it")

    def inputs(
        self, structure: Structure, absorbing_index: int, edge: str, protocol: str
    ) -> InputSet:
        self.refuses(absorbing_index)
        return InputSet(
            code=self.name,
            code_version=self.version(),
            protocol=f"{protocol}@1",
            files={"in": f"{absorbing_index}"},
            parameters={"radius": Parameter(value=self.radius, unit="angstrom")},
            restart_key=self.restart_key,
        )

    def run(
        self,
        inputs: InputSet,
        run_dir: Path,
        *,
        stage_timeout: float,
        progress: Progress | None = None,
        restart: Mapping[str, bytes] | None = None,
    ) -> CodeResult:
        self.restarts.append(None if restart is None else dict(restart))
        self.runs.append((int(inputs.files["in"]), run_dir))
        run_dir.mkdir(parents=True)
        (run_dir / "out").write_text("a file of the run")
        if progress is not None:
            progress("only")
        self.behaviour(run_dir)
        energy = np.linspace(100.0, 130.0, 31)
        return CodeResult(
            spectrum=Spectrum(energy, 1.0 + int(inputs.files["in"]) + 0 * energy),
            energy_reference=EnergyReference(kind="absolute", edge_energy=101.0),
            broadening=[],
            wall_seconds=0.1,
            cpu_seconds=0.1,
            restart={} if self.restart_key is None else {"x.sav": b"\x00lanczos", "y.sav": b"y"},
        )


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeCode:
    """Return a code named `fake`, known to the makers while the test runs."""
    code = FakeCode()
    monkeypatch.setitem(codes._CODES, "fake", code)
    return code


@pytest.fixture
def in_memory(
    memory_database: MongoDatabase, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Settings]:
    """Let the makers connect to `memory_database`, and run in a folder of the test's own."""
    for room in (simulation, attempt, storing, average, pack, packed_sites):
        monkeypatch.setattr(room, "connect", lambda settings: memory_database)
    monkeypatch.setenv("NEAREDGE_RUN_DIR", str(tmp_path / "runs"))
    get_settings.cache_clear()
    yield get_settings()
    get_settings.cache_clear()


@pytest.fixture
def store(memory_database: MongoDatabase) -> SpectraStore:
    """Return the store in memory."""
    return SpectraStore(memory_database)


@pytest.fixture
def compute_pack(
    store: SpectraStore, in_memory: Settings, fake: object, molecule: Molecule
) -> ComputePack:
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


def told(store: SpectraStore) -> dict[str, str]:
    """Return what the store holds of failures, as a submission finds it."""
    failed = store.calculations(CalculationQuery(failed=True))
    return {each.calculation_id: failure_told(each) for each in failed}
