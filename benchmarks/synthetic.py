"""Crystals and spectra that nobody computed, as large as real ones: for the benchmarks of scale.

The spectrum is that of a recorded FEFF run, with noise of its own for each site; input files are
FEFF's. `SleepingCode` is a simulation code that only sleeps; workers learn of it because the
setting ``trusted_jobs`` names this module, which must be on their ``PYTHONPATH``.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
from pymatgen.core.lattice import Lattice
from pymatgen.core.structure import Structure

from nearedge import codes
from nearedge.codes.base import (
    Availability,
    BadRun,
    CodeResult,
    FinishedRun,
    InputSet,
    KnownRun,
    Progress,
)
from nearedge.codes.feff import FEFF
from nearedge.makers.simulation import SimulationMaker
from nearedge.structures.source import LoadedStructure, SourceRef

SLEEPING = "sleeping"
SLEEP_SECONDS = 0.01
ABSORBERS = ("Ti", "V", "Cr", "Mn", "Fe", "Co", "Ni", "Cu")
_OTHERS = (
    "Li Na K Rb Cs Mg Ca Sr Ba Sc Y La Ce Nd Sm Gd Dy Er Yb Lu Zr Hf Nb Ta Mo "
    "W Re Ru Os Rh Ir Pd Pt Ag Au Zn Cd Hg Al Ga In Tl Si Ge Sn Pb P As Sb Bi"
)
_ANIONS = ("O", "S", "Se", "F")
_NOISE = 0.01
_DISPLACEMENT = 0.02
_RECORDED = Path(__file__).resolve().parent.parent / "tests/recorded/feff/anatase"


def crystal(number: int, *, absorber: str | None = None) -> LoadedStructure:
    """Return a crystal of 12 atoms without symmetry, each number another one.

    Parameters
    ----------
    number
        Which one; formulas repeat after some ten thousand.
    absorber
        Symbol of the element whose sites are computed: all four cations. None: one of eight, with
        none, one or two of the four cations another element.
    """
    random = np.random.default_rng(number)
    anatase = Structure.from_spacegroup(
        "I4_1/amd", Lattice.tetragonal(3.784, 9.515), ["Ti", "O"], [[0, 0, 0], [0, 0, 0.2081]]
    )
    cations = [absorber or ABSORBERS[number % len(ABSORBERS)]] * 4
    anion = "O"
    if absorber is None:
        others = _OTHERS.split()
        other = others[number // len(ABSORBERS) % len(others)]
        cations[: number % 3] = [other] * (number % 3)
        anion = _ANIONS[number // 7 % len(_ANIONS)]
    moved = anatase.frac_coords + random.normal(
        scale=_DISPLACEMENT / np.array(anatase.lattice.abc), size=(len(anatase), 3)
    )
    symbols = [*cations, *[anion] * (len(anatase) - len(cations))]
    structure = Structure(anatase.lattice, symbols, moved)
    return LoadedStructure(structure, SourceRef(kind="object", label=f"synthetic-{number}"))


@cache
def recorded() -> CodeResult:
    """Return what a real FEFF run of anatase gave."""
    return FEFF.read(_RECORDED)


def noisy_result(seed: int, cpu_seconds: float) -> CodeResult:
    """Return the recorded result with a spectrum of its own."""
    found = recorded()
    noise = np.random.default_rng(seed).standard_normal(len(found.spectrum.energy))
    absorption = found.spectrum.absorption * (1 + _NOISE * noise)
    return replace(
        found,
        spectrum=replace(found.spectrum, absorption=absorption),
        wall_seconds=SLEEP_SECONDS,
        cpu_seconds=cpu_seconds,
    )


@dataclass(frozen=True)
class SleepingCode:
    """FEFF's inputs, a sleep, and the recorded spectrum."""

    name: str = SLEEPING
    title: str = "Sleeping"
    edges: tuple[str, ...] = ("K",)

    def version(self) -> str:
        """Return FEFF's, whose inputs these are."""
        return FEFF.version()

    def availability(self) -> Availability:
        """Say that it is there."""
        return Availability(True, "needs nothing")

    def inputs(
        self, structure: Structure, absorbing_index: int, edge: str, protocol: str
    ) -> InputSet:
        """Make FEFF's input set."""
        return replace(FEFF.inputs(structure, absorbing_index, edge, protocol), code=self.name)

    def run(
        self,
        inputs: InputSet,
        run_dir: Path,
        *,
        stage_timeout: float,
        progress: Progress | None = None,
        restart: Mapping[str, bytes] | None = None,
    ) -> CodeResult:
        """Sleep, and return a spectrum that hangs on the inputs."""
        time.sleep(SLEEP_SECONDS)
        return noisy_result(zlib.crc32(inputs.files["feff.inp"].encode()), 0.0)

    def read(self, folder: Path) -> CodeResult:
        """Refuse: it leaves no files."""
        raise NotImplementedError(f"{self.title} leaves nothing in {folder}.")

    def finished(
        self,
        path: Path,
        *,
        known: Callable[[str], bool] | None = None,
        progress: Callable[[float], None] | None = None,
    ) -> Iterator[FinishedRun | KnownRun | BadRun]:
        """Refuse: it leaves no files."""
        raise NotImplementedError(f"{self.title} leaves nothing in {path}.")


codes._CODES[SLEEPING] = SleepingCode()


@dataclass
class SleepingMaker(SimulationMaker):
    """Compute a site with `SleepingCode`, by the way of every other code."""

    name: str = SLEEPING
    code: str = SLEEPING
