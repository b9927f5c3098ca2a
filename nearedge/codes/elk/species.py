"""Species files of Elk: read from its installation, and changed so that a 1s level can be excited.

The changes, found by experiment with Elk 8.4.30 (anatase, Ti 1s):

- The 1s state is valence (``spcore F``) and gets a local orbital with a search for its energy.
- The sphere is small. A radial function is integrated outwards, and beyond the reach of the 1s
  function an error of 1e-14 in its energy grows as exp(2 kappa r), kappa = sqrt(-2 E): with the
  2.4 bohr of Ti's own file nothing is left but this error.
- No other energy is searched for: in a small sphere the search for 3s and 3p goes astray and the
  self-consistent field never settles. The file's own energies are kept.
- The same holds for the other atoms of that element, which keep their 1s in the core: with spheres
  of two sizes the self-consistent field does not converge.
- A third p function at high energy gives the final states the freedom that a small sphere takes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from pymatgen.core import Element
from xraydb import xray_edge

from nearedge.errors import InputRefused, ResourceError
from nearedge.spectra.spectrum import HARTREE

REMEDY = "apt install elk-lapw, or name the folder in NEAREDGE_ELK_SPECIES_PATH"
CORE_REACH = 22.7
"""kappa times radius of a sphere, at most: what 1.2 bohr is for Ti, which works."""
BASE_ENERGY = 0.15
"""Ha. Where Elk's species files have their linearisation energies."""
HIGH_ENERGY = 3.0
"""Ha. Of the added p function."""


def absorber_file(symbol: str) -> str:
    """Return the name of the absorber's species file; in ``core`` its 1s is in the valence."""
    return f"{symbol}_1s.in"


@dataclass(frozen=True)
class State:
    """A state of the free atom: quantum numbers n, l, kappa, its electrons, whether it is core."""

    n: int
    l: int  # noqa: E741 - its name in physics
    k: int
    occupation: float
    core: bool


@dataclass(frozen=True)
class LocalOrbital:
    """A local orbital; `terms` are energy in Ha, order of its derivative, and whether it is sought.

    The search for an energy starts at the one given.
    """

    l: int  # noqa: E741
    terms: tuple[tuple[float, int, bool], ...]


@dataclass(frozen=True)
class Species:
    """What an Elk species file says; lengths in bohr, energies in Ha, `mass` in electron masses.

    `mesh` is the least and largest radius and the number of points within the sphere's.
    """

    symbol: str
    name: str
    charge: float
    mass: float
    radius: float
    mesh: tuple[float, float, int]
    states: tuple[State, ...]
    plane_wave_energies: tuple[tuple[float, int, bool], ...]
    orbitals: tuple[LocalOrbital, ...]


def load_species(folder: Path, symbol: str) -> Species:
    """Read an element's file from Elk's folder of species.

    Raises
    ------
    ResourceError
        If it is missing. It is the machine's fault, not the calculation's.
    InputRefused
        ``species_unreadable``.
    """
    path = folder / f"{symbol}.in"
    try:
        text = path.read_text(encoding="utf-8")
    except OSError:
        raise ResourceError(f"{folder} has no species file {symbol}.in: {REMEDY}.") from None
    return parse_species(text, str(path))


def parse_species(text: str, name: str) -> Species:
    """Read a species file (Elk's manual, section "species files").

    Raises
    ------
    InputRefused
        ``species_unreadable``.
    """
    lines = (line.partition(":")[0].split() for line in text.splitlines() if line.strip())
    try:
        return _parse(lines)
    except (ValueError, IndexError, StopIteration):
        raise InputRefused(
            "species_unreadable", f"{name} is no species file that NearEdge understands."
        ) from None


def _parse(lines: Iterator[list[str]]) -> Species:
    symbol, name = (" ".join(next(lines)).strip("' ") for _ in range(2))
    charge, mass = (float(next(lines)[0]) for _ in range(2))
    least, radius, largest, points = next(lines)
    states = tuple(
        State(int(w[0]), int(w[1]), int(w[2]), float(w[3]), _flag(w[4]))
        for w in (next(lines) for _ in range(int(next(lines)[0])))
    )
    waves = _terms(lines, int(next(lines)[0]))
    if next(lines)[0] != "0":
        raise ValueError("augmented waves that differ by l")
    orbitals = []
    for _ in range(int(next(lines)[0])):
        words = next(lines)
        orbitals.append(LocalOrbital(int(words[0]), _terms(lines, int(words[1]))))
    mesh = (float(least), float(largest), int(points))
    return Species(symbol, name, charge, mass, float(radius), mesh, states, waves, tuple(orbitals))


def _terms(lines: Iterator[list[str]], count: int) -> tuple[tuple[float, int, bool], ...]:
    rows = [next(lines) for _ in range(count)]
    return tuple((float(row[0]), int(row[1]), _flag(row[2])) for row in rows)


def _flag(word: str) -> bool:
    if word.strip(".").upper()[:1] not in ("T", "F"):
        raise ValueError(f"{word!r} is neither T nor F")
    return word.strip(".").upper().startswith("T")


def write_species(species: Species) -> str:
    """Return the text of a species file."""
    least, largest, points = species.mesh
    lines = [
        f" '{species.symbol}'",
        f" '{species.name}'",
        f" {species.charge:.4f}",
        f" {species.mass:.10g}",
        f" {least:.6E} {species.radius:.4f} {largest:.4f} {points}  : rminsp, rmt, rmaxsp, nrmt",
        f" {len(species.states)}  : nstsp; nsp, lsp, ksp, occsp, spcore",
    ]
    lines += [f" {s.n} {s.l} {s.k} {s.occupation:.5f} {_letter(s.core)}" for s in species.states]
    lines.append(f" {len(species.plane_wave_energies)}  : apword; apwe0, apwdm, apwve")
    lines += _written(species.plane_wave_energies)
    lines += [" 0  : nlx", f" {len(species.orbitals)}  : nlorb; lorbl, lorbord; lorbe0, dm, ve"]
    for orbital in species.orbitals:
        lines.append(f" {orbital.l} {len(orbital.terms)}")
        lines += _written(orbital.terms)
    return "\n".join(lines) + "\n"


def _written(terms: tuple[tuple[float, int, bool], ...]) -> list[str]:
    return [f"  {energy:.4f} {order} {_letter(sought)}" for energy, order, sought in terms]


def _letter(flag: bool) -> str:
    return "T" if flag else "F"


def core_level_estimate(symbol: str) -> float:
    """Return about where Elk has an element's 1s level, in Ha.

    The binding energy (xraydb, after Elam, Ravel and Sieber, Radiat. Phys. Chem. 63, 121 (2002))
    less 0.2 Z Ha of relaxation that a Kohn-Sham level lacks. Seen in Elk, LDA: -178.06 for Ti in
    anatase (estimate -178.10), -18.25 for O in it (-18.36).
    """
    edge = xray_edge(symbol, "K")
    if edge is None:
        raise InputRefused("edge_not_in_element", f"The tables have no K edge of {symbol}.")
    level: float = -float(edge.energy) / HARTREE + 0.2 * Element(symbol).Z
    return level


def search_start(level: float) -> float:
    """Return where the search for a 1s level starts: below it for sure, in Ha."""
    return level - search_margin(level)


def search_margin(level: float) -> float:
    """Return how far below its estimate the search for a level starts, in Ha.

    The same above it is searched, so this is how wrong the estimate may be.
    """
    return 2.0 + 0.01 * abs(level)


def core_radius(level: float, usual: float) -> float:
    """Return the radius in bohr of a sphere in which a level (Ha) can be found."""
    return min(usual, CORE_REACH / math.sqrt(2 * abs(level)))


def spectator(species: Species, radius: float) -> Species:
    """Return the species of the absorber's element where its 1s stays in the core."""
    kept = tuple(
        LocalOrbital(each.l, tuple((energy, order, False) for energy, order, _ in each.terms))
        for each in species.orbitals
    )
    flexible = LocalOrbital(
        1, ((BASE_ENERGY, 0, False), (BASE_ENERGY, 1, False), (HIGH_ENERGY, 0, False))
    )
    return replace(species, radius=radius, orbitals=(*kept, flexible))


def absorber(species: Species, radius: float, start: float) -> Species:
    """Return the species of the absorber: 1s in the valence, with a local orbital of its own.

    Parameters
    ----------
    start
        Ha. Where the search for its energy starts; see `search_start`.
    """
    base = spectator(species, radius)
    states = tuple(replace(s, core=s.core and (s.n, s.l) != (1, 0)) for s in base.states)
    core = LocalOrbital(0, ((BASE_ENERGY, 0, False), (start, 0, True)))
    return replace(
        base, symbol=f"{species.symbol}1s", states=states, orbitals=(*base.orbitals, core)
    )
