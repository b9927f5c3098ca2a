"""The command run in-process, with a store in memory where no server is needed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mongomock_ng
import numpy as np
import pytest
from typer.testing import CliRunner

from nearedge.cli import app
from nearedge.schemas import CalculationDoc, Failure, Parameter, SpectrumDoc, SpectrumKind
from nearedge.schemas.calculation import calculation_id, parameters_id
from nearedge.schemas.spectrum import (
    Contribution,
    EnergyReference,
    average_spectrum_id,
    site_spectrum_id,
)
from nearedge.schemas.structure import StructureDoc
from nearedge.settings import Settings, get_settings
from nearedge.spectra.spectrum import AbsorptionUnit
from nearedge.store.spectra_store import SpectraStore
from nearedge.structures.builtin import builtin_structure

PARAMETERS = {"scf_radius": Parameter(value=3.2, unit="Å")}


@dataclass(frozen=True)
class Said:
    """What a command said and how it ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output, which must be JSON and nothing else."""
        return json.loads(self.out)


Command = Callable[..., Said]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return a home of its own, so that no test sees the user's database or settings."""
    monkeypatch.setenv("NEAREDGE_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("NEAREDGE_MONGO_URI", raising=False)
    monkeypatch.delenv("NEAREDGE_CONFIG_FILE", raising=False)
    monkeypatch.setattr("nearedge.settings.DEFAULT_CONFIG_FILE", tmp_path / "no-settings.yaml")
    get_settings.cache_clear()
    yield tmp_path / "home"
    get_settings.cache_clear()


@pytest.fixture
def nearedge(home: Path) -> Command:
    """Return the command, as a function of its arguments."""

    def run(*arguments: object) -> Said:
        get_settings.cache_clear()
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Said(result.exit_code, result.stdout, result.stderr)

    return run


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch, home: Path) -> SpectraStore:
    """Return an empty store in memory that the command uses too."""
    memory = SpectraStore(mongomock_ng.MongoClient(tz_aware=True)["nearedge"])
    monkeypatch.setattr(SpectraStore, "from_settings", lambda settings=None: memory)
    return memory


@pytest.fixture
def ready(
    embedded_settings: Settings, home: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """Let the command use a database of this test's own on the real embedded server."""
    monkeypatch.setenv("NEAREDGE_HOME", str(embedded_settings.home))
    monkeypatch.setenv("NEAREDGE_DATABASE", embedded_settings.database)
    get_settings.cache_clear()
    yield
    get_settings.cache_clear()


def fill(store: SpectraStore, names: Sequence[str] = ("rutile", "anatase")) -> None:
    """Put a site and an average of each structure, and a failed site of CuO."""
    for number, name in enumerate(names):
        _completed(store, name, 0.4 * number)
    structure, calculation = _calculation("CuO", "Cu", "scf_not_converged")
    calculation.failure = Failure(
        name="scf_not_converged", message="100 iterations were not enough."
    )
    store.record(calculation, None, structure)


def _calculation(name: str, absorber: str, state: str) -> tuple[StructureDoc, CalculationDoc]:
    loaded = builtin_structure(name)
    structure = StructureDoc.from_structure(loaded.structure, loaded.source)
    index = next(i for i, site in enumerate(loaded.structure) if site.specie.symbol == absorber)
    same = parameters_id("feff", "10.0", PARAMETERS)
    return structure, CalculationDoc(
        calculation_id=calculation_id(structure.structure_key, absorber, index, "K", same),
        structure_key=structure.structure_key,
        structure_id=structure.structure_id,
        formula=structure.formula,
        elements=structure.elements,
        absorber=absorber,
        absorbing_index=index,
        edge="K",
        code="feff",
        code_version="10.0",
        protocol="fast@1",
        parameters_id=same,
        parameters=PARAMETERS,
        state=state,
        cpu_seconds=12.5,
        projects=["oxides"],
    )


def _completed(store: SpectraStore, name: str, shift: float) -> None:
    structure, calculation = _calculation(name, "Ti", "completed")
    energy = 4960.0 + np.arange(200) * 0.25
    absorption = 0.5 + np.arctan(energy - 4968 - shift) / np.pi
    absorption += 0.4 * np.exp(-(((energy - 4980 - shift) / 3) ** 2))
    site = SpectrumDoc(
        **calculation.model_dump(
            include={
                "structure_key", "structure_id", "formula", "elements", "absorber", "edge", "code",
                "code_version", "protocol", "parameters_id", "absorbing_index", "projects",
            }
        ),
        spectrum_id=site_spectrum_id(calculation.calculation_id),
        kind=SpectrumKind.SITE,
        multiplicity=2,
        calculation_ids=[calculation.calculation_id],
        energy=energy.tolist(),
        absorption=absorption.tolist(),
        unit=AbsorptionUnit.NORMALIZED,
        normalization=0.1,
        energy_reference=EnergyReference(kind="absolute", edge_energy=4968.0 + shift),
    )  # fmt: skip
    store.record(calculation, site, structure)
    contribution = Contribution(
        calculation_id=calculation.calculation_id,
        absorbing_index=calculation.absorbing_index,
        multiplicity=2,
        weight=1.0,
        state="completed",
    )
    identifier = average_spectrum_id(structure.structure_key, "Ti", "K", site.parameters_id)
    store.put_average(
        site.model_copy(
            update={
                "spectrum_id": identifier,
                "kind": SpectrumKind.AVERAGE,
                "absorbing_index": None,
                "multiplicity": None,
                "contributions": [contribution],
            }
        )
    )
