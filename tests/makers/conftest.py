"""A code that takes microseconds, and jobs that find a database in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from pymatgen.core import Structure

from nearedge import codes
from nearedge.codes.base import Availability, CodeResult, InputSet, Progress
from nearedge.makers import attempt, average, pack, packed_sites, simulation, storing
from nearedge.schemas import Parameter
from nearedge.schemas.spectrum import EnergyReference
from nearedge.settings import Settings, get_settings
from nearedge.spectra.spectrum import Spectrum
from nearedge.store.operations import MongoDatabase


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
