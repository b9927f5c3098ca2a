"""What every test may ask for: the reference data beside the checkout, or a reason to skip."""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import mongomock_ng
import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from nearedge.codes.execution.executables import Executable
from nearedge.schemas import (
    COMPLETED,
    CalculationDoc,
    Parameter,
    SpectrumDoc,
    SpectrumKind,
    StructureDoc,
)
from nearedge.schemas.calculation import calculation_id, parameters_id
from nearedge.schemas.spectrum import EnergyReference, site_spectrum_id
from nearedge.settings import Settings, get_settings
from nearedge.spectra.spectrum import AbsorptionUnit
from nearedge.store.connection import client, connect, initialize
from nearedge.store.operations import MongoDatabase
from nearedge.store.records import Record
from nearedge.store.service import EmbeddedServer
from nearedge.store.spectra_store import SpectraStore
from nearedge.structures.source import LoadedStructure, SourceRef

CHECKOUT = Path(__file__).resolve().parent.parent


def skip_or_fail(reason: str) -> None:
    """Skip the test, or fail it where NEAREDGE_REQUIRE_ALL says that nothing may be missing."""
    if os.environ.get("NEAREDGE_REQUIRE_ALL") == "1":
        pytest.fail(f"NEAREDGE_REQUIRE_ALL=1, but {reason}")
    pytest.skip(reason)


@pytest.fixture(autouse=True)
def no_launch_outlives_a_test() -> Iterator[None]:
    """Forget a job that a test took in this process and never ended."""
    yield
    token = sys.modules.get("nearedge.launch.token")  # importing FireWorks takes seconds
    if token is not None:
        token.let_go()


@pytest.fixture(scope="session")
def need() -> Callable[[object, str], None]:
    """Return a check that goes on where something is at hand, and else skips or fails."""

    def check(at_hand: object, otherwise: str) -> None:
        if not at_hand:
            skip_or_fail(otherwise)

    return check


# What a setting starts, and the Debian package that has it. GPAW's package is a module of the
# system's Python, which is always there.
_PACKAGES = {
    "pw_command": "quantum-espresso",
    "xspectra_command": "quantum-espresso",
    "ld1_command": "quantum-espresso",
    "elk_command": "elk-lapw",
    "gpaw_python": "gpaw",
}
_GPAW_SETUP = "gpaw-setup"


@pytest.fixture
def binary() -> Callable[[str], str]:
    """Return the program that a setting names, or skip naming the Debian package that has it.

    Called with the setting: ``binary("pw_command")``, ``binary("elk_command")``,
    ``binary("gpaw_python")``.
    """

    def find(setting: str) -> str:
        package = _PACKAGES[setting]
        found = Executable(setting, package).path()
        if setting == "gpaw_python" and shutil.which(_GPAW_SETUP) is None:
            found = None
        if found is None:
            skip_or_fail(f"{getattr(get_settings(), setting)} is not usable: apt install {package}")
        return str(found)

    return find


@pytest.fixture(scope="session")
def shared() -> Callable[[str], Path]:
    """Return the path of a file of reference data, which is not the project's own."""

    def find(relative: str) -> Path:
        path = CHECKOUT.parent / "shared" / relative
        if not path.exists():
            skip_or_fail(
                f"reference data {relative} is not in the folder `shared` beside the checkout"
            )
        return path

    return find


@dataclass(frozen=True)
class Slurm:
    """A Slurm of one node on loopback that a test may break.

    Parameters
    ----------
    tools
        Folder of the scripts that start and end it.
    folder
        Where it lives: ``slurm.conf``, logs, and ``run/<daemon>.pid``.
    ports
        Of slurmctld and slurmd.
    """

    tools: Path
    folder: Path
    ports: tuple[int, int]

    @property
    def conf(self) -> Path:
        """What ``SLURM_CONF`` names."""
        return self.folder / "slurm.conf"

    def up(self) -> str:
        """Start the daemons that do not run, wait until a job could start, and say what is up."""
        controller, node = self.ports
        environment = os.environ | {
            "SLURM_CTLD_PORT": str(controller),
            "SLURM_D_PORT": str(node),
        }
        script = ["bash", str(self.tools / "slurm_up.sh"), str(self.folder)]
        done = subprocess.run(script, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            lines = (done.stderr.strip() or done.stdout.strip()).splitlines()
            skip_or_fail(f"no private Slurm could be started: {lines[-1] if lines else 'unsaid'}")
        return done.stdout

    def down(self) -> None:
        """Cancel every job, end the daemons by their numbers and remove the folder."""
        script = ["bash", str(self.tools / "slurm_down.sh"), str(self.folder), "--purge"]
        subprocess.run(script, capture_output=True, check=False)

    def pid(self, daemon: str) -> int:
        """Return the number of ``munged``, ``slurmctld`` or ``slurmd``."""
        return int((self.folder / "run" / f"{daemon}.pid").read_text())

    def ask(self, *command: str) -> str:
        """Run one of Slurm's commands and return what it prints."""
        environment = os.environ | {"SLURM_CONF": str(self.conf)}
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=True, timeout=60
        )
        return done.stdout.strip()

    def states(self) -> dict[str, str]:
        """Return the state of every job that Slurm still knows, such as ``RUNNING``, by number."""
        listed = self.ask("squeue", "--noheader", "--states=all", "--format=%A %T").splitlines()
        return dict(tuple(line.split()) for line in listed)  # type: ignore[misc]

    def cancel_all(self) -> None:
        """Cancel what is pending or runs, and wait until it has left."""
        while left := self.ask("squeue", "--noheader", "--format=%A").split():
            self.ask("scancel", *left)
            time.sleep(0.2)


_SLURM_PACKAGES = "slurmctld slurmd slurm-client munge"


@pytest.fixture(scope="session")
def private_slurm(
    shared: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Slurm]:
    """Start a Slurm of one node once; its packages are installed only where nothing may lack."""
    if os.geteuid() != 0:
        skip_or_fail("a private Slurm needs root, whose daemons start jobs as their owner")
    there = all(shutil.which(name) for name in ("slurmctld", "slurmd", "sbatch", "munged"))
    if not there and os.environ.get("NEAREDGE_REQUIRE_ALL") != "1":
        skip_or_fail(f"Slurm is not installed: apt install {_SLURM_PACKAGES}")
    folder = tmp_path_factory.mktemp("slurm")
    slurm = Slurm(shared("tools/slurm_up.sh").parent, folder, _two_free_ports())
    try:
        slurm.up()
        yield slurm
    finally:
        slurm.down()


@pytest.fixture
def slurm(private_slurm: Slurm, monkeypatch: pytest.MonkeyPatch) -> Iterator[Slurm]:
    """Return a Slurm that is up, which this process and what it starts submit to; none of its jobs
    is left afterwards.
    """
    monkeypatch.setenv("SLURM_CONF", str(private_slurm.conf))
    yield private_slurm
    private_slurm.up()
    private_slurm.cancel_all()


def _two_free_ports() -> tuple[int, int]:
    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        return one.getsockname()[1], other.getsockname()[1]


@pytest.fixture
def memory_database() -> MongoDatabase:
    """Return an empty database in this process's memory, for tests that take milliseconds."""
    database: MongoDatabase = mongomock_ng.MongoClient(tz_aware=True).nearedge
    admin: object = database.client.admin
    admin.command = lambda _: {"localTime": datetime.now(UTC)}  # type: ignore[attr-defined]
    return database


@pytest.fixture(scope="session")
def embedded_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Start the real embedded server once, and return settings that lead to it."""
    if importlib.util.find_spec("secantus") is None:
        skip_or_fail("the embedded server (extra `embedded`) is not installed")
    settings = Settings(
        home=tmp_path_factory.mktemp("embedded"), mongo_uri=None, embedded_cache="128M"
    )
    server = EmbeddedServer(settings)
    server.up()
    yield settings
    server.down()


@pytest.fixture
def embedded_settings(embedded_server: Settings) -> Iterator[Settings]:
    """Return settings of a database of this test's own on the embedded server, ready for use."""
    settings = embedded_server.model_copy(update={"database": f"test_{uuid.uuid4().hex[:12]}"})
    initialize(settings)
    yield settings
    client(settings).drop_database(settings.database)
    client(settings).drop_database(settings.launchpad_database)


@pytest.fixture
def embedded_database(embedded_settings: Settings) -> MongoDatabase:
    """Return a clean database on the embedded server."""
    return connect(embedded_settings)


@pytest.fixture
def live_settings(
    embedded_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Settings]:
    """Make this process's settings lead to a database of the test's own, and return them."""
    yield from _live(embedded_settings, tmp_path, monkeypatch)


def _live(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Settings]:
    # Jobs of tests are functions of these modules; see nearedge.launch.allowed.
    update = {"run_dir": tmp_path / "runs", "trusted_jobs": "math,time"}
    settings = settings.model_copy(update=update)
    names = ("home", "database", "run_dir", "database_timeout", "embedded_cache", "trusted_jobs")
    for name in names:
        monkeypatch.setenv(f"NEAREDGE_{name.upper()}", str(getattr(settings, name)))
    monkeypatch.delenv("NEAREDGE_MONGO_URI", raising=False)
    get_settings.cache_clear()
    yield settings
    get_settings.cache_clear()


@pytest.fixture(scope="session")
def molecule() -> Callable[..., LoadedStructure]:
    """Return a maker of small molecules in empty boxes: real FEFF runs of about 3 CPU-seconds."""

    def make(name: str) -> LoadedStructure:
        symbols, axis = _MOLECULES[name]
        box = Lattice.orthorhombic(25, 25, 40)
        sites = [[12.5, 12.5, 10.0 + z] for z in axis]
        structure = Structure(box, symbols, sites, coords_are_cartesian=True)
        return LoadedStructure(structure, SourceRef(kind="object", label=name))

    return make


# Symbols, and positions along one axis in Å. FEFF fails by name on the copper of Cu-O alone.
_MOLECULES: dict[str, tuple[list[str], list[float]]] = {
    "CO": (["C", "O"], [0.0, 1.15]),
    "OCO": (["C", "O", "O"], [0.0, 1.16, -1.16]),
    "CN": (["C", "N"], [0.0, 1.17]),
    "CCO": (["C", "C", "O"], [0.0, 1.37, 2.52]),
    "CO and CuO": (["C", "O", "Cu", "O"], [0.0, 1.15, 20.0, 21.8]),
    "OCuO and CuO": (["Cu", "O", "O", "Cu", "O"], [0.0, 1.9, -1.9, 18.0, 19.8]),
}


@pytest.fixture
def copper_oxides() -> Callable[[MongoDatabase, int], None]:
    """Put some rock salts of copper into a database; the wider the lattice, the later the edge."""

    def put(database: MongoDatabase, count: int) -> None:
        SpectraStore(database).record_many(_rock_salt(number) for number in range(count))

    return put


def _rock_salt(number: int) -> Record:
    lattice = 4.0 + 0.02 * number
    face_centred = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
    positions = np.concatenate([face_centred, face_centred + 0.5])
    crystal = Structure(Lattice.cubic(lattice), ["Cu"] * 4 + ["O"] * 4, positions)
    structure = StructureDoc.from_structure(crystal, SourceRef(kind="file", label=f"mp-{number}"))
    parameters = {"scf_radius": Parameter(value=4.0, unit="Å")}
    same = parameters_id("feff", "10", parameters)
    identifier = calculation_id(structure.structure_key, "Cu", 0, "K", same)
    energy = 8983.0 + 0.4 * np.arange(100)
    shared = {
        "structure_key": structure.structure_key,
        "structure_id": structure.structure_id,
        "formula": structure.formula,
        "elements": structure.elements,
        "absorber": "Cu",
        "absorbing_index": 0,
        "edge": "K",
        "code": "feff",
        "code_version": "10",
        "protocol": "fast@1",
        "parameters_id": same,
        "projects": ["copper"],
    }
    calculation = CalculationDoc.model_validate(
        {"calculation_id": identifier, "parameters": parameters, "state": COMPLETED, **shared}
    )
    spectrum = SpectrumDoc.model_validate(
        {
            "spectrum_id": site_spectrum_id(identifier),
            "kind": SpectrumKind.SITE,
            "multiplicity": 4,
            "calculation_ids": [identifier],
            "energy": energy.tolist(),
            "absorption": (1 / (1 + np.exp(8988 + 4 * (lattice - 4) - energy))).tolist(),
            "unit": AbsorptionUnit.NORMALIZED,
            "normalization": 2e-4,
            "energy_reference": EnergyReference(kind="absolute"),
            **shared,
        }
    )
    return Record(calculation, spectrum, structure)
