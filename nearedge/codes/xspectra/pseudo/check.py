"""Judge a potential of ld1.x: ghost states, logarithmic derivatives, other configurations.

A ghost state is a level that the separable form of a potential has and the atom has not (Gonze,
Käckell and Scheffler, Phys. Rev. B 41, 12264 (1990); Gonze, Stumpf and Scheffler, Phys. Rev. B 44,
8503 (1991)). Two measurements find it, each where the other is blind:

- *Levels*: the separable Hamiltonian in the atom's own screened potential is diagonalised; below
  zero it must have the atom's levels and no other, however deep.
- *Logarithmic derivatives* of the all-electron and the separable potential, as ld1.x computes
  them: written as a phase, a further level is a step of one pole, also above zero.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from scipy.linalg import eigvalsh

from nearedge.codes.xspectra.pseudo.recipes import (
    LETTERS,
    POTENTIAL,
    PREFIX,
    SCREENED,
    Recipe,
)
from nearedge.codes.xspectra.pseudo.upf import Array, Upf, read_upf, separable
from nearedge.errors import CodeError

GHOST_LEVEL = 0.30
"""Ry; a level this far from the atom's is another one. The recipes' own are within 0.04 Ry, one
with a deep ghost was 4.5 Ry off (measured, November 2026)."""
GHOST_PHASE = 0.5
"""Poles; from half a pole on the nearest explanation is a level too many."""
PHASE = 0.10
"""Poles, up to `STRICT_HIGHEST`; the recipes reach 0.03 without a hole (s of Cu) and 0.09 with one
(s of Cu), p and d far less (measured)."""
STRICT_HIGHEST = 2.5
"""Ry; above it the s wave of one projector strays, and only ghosts are looked for."""
EIGENVALUE = 0.050
"""Ry; levels in other configurations, less than the 0.9 eV that a Ti 1s hole's width washes out.
One projector for 3s and 4s gives 4s up to 0.02 without a hole and 0.04 with one (Cu, measured)."""
OWN_EIGENVALUE = 0.001
"""Ry; the reference states must come out as they went in."""
_BOUND = -0.05
_BOX, _POINTS, _WAVES = 24.0, 2400, 180
_LEVEL = re.compile(
    r"^\s+\d \d\s+(\d[SPDF])\s+\d?\(\s*(-?[\d.]+)\)\s+(-?[\d.]+)\s+(-?[\d.]+)\s+(-?[\d.]+)",
    re.MULTILINE,
)


@dataclass(frozen=True)
class Judgement:
    """What was measured; energies in Ry, phases in poles.

    Parameters
    ----------
    level
        Largest distance of a bound level of the separable Hamiltonian from the atom's.
    phase, phase_high
        Largest difference of logarithmic derivatives up to `STRICT_HIGHEST`, and beyond.
    own_eigenvalue, eigenvalue
        Largest error of ld1.x's levels: reference states, and all in all tested configurations.
    """

    level: float
    phase: float
    phase_high: float
    own_eigenvalue: float
    eigenvalue: float

    def as_dict(self) -> dict[str, float]:
        """Return the numbers by name."""
        return {name: round(float(value), 5) for name, value in asdict(self).items()}


@dataclass(frozen=True)
class Level:
    """A level in one configuration, in Ry: of the atom, and the pseudopotential's error."""

    label: str
    electrons: float
    atom: float
    error: float


def judge(folder: Path, name: str, recipe: Recipe, log: str) -> Judgement:
    """Judge what ld1.x left in `folder`.

    Parameters
    ----------
    name
        What errors call the potential: ``Ti.fch``.
    log
        Output of the test.

    Raises
    ------
    CodeError
        ``ghost_state``, ``log_derivative``, ``wrong_levels`` or ``ld1_failed``.
    ValueError, OSError
        If ld1.x left something that cannot be read.
    """
    tests = read_levels(log)
    if len(tests) != len(recipe.tests) + 1:
        raise CodeError(
            "ld1_failed",
            f"ld1.x tested {len(tests)} of {len(recipe.tests) + 1} configurations of {name}: "
            "correct its recipe.",
            log[-2000:],
        )
    level = _check_levels(folder, name, tests[0])
    phase, phase_high = _check_phases(folder, name, recipe)
    own, other = _check_eigenvalues(name, recipe, tests)
    return Judgement(level, phase, phase_high, own, other)


def read_levels(log: str) -> list[list[Level]]:
    """Return the levels that ld1.x compared, by configuration."""
    blocks = log.split("Testing the pseudopotential")[1:]
    return [
        [
            Level(found[1], float(found[2]), float(found[3]), float(found[5]))
            for found in _LEVEL.finditer(block.split("End of pseudopotential test")[0])
        ]
        for block in blocks
    ]


def levels(upf: Upf, screened: Array, l: int) -> Array:  # noqa: E741
    """Return the bound levels of a separable potential in Ry, ascending.

    Parameters
    ----------
    upf
        Of version 2 and norm-conserving.
    screened
        Its local potential with that of the electrons, in Ry at `upf.radii`.
    l
        The channel.

    Notes
    -----
    ``-u'' + [l(l+1)/r² + V(r)] u + Σ D_ij b_i <b_j|u> = E u`` in Rydberg units, in sines of a
    sphere of `_BOX` bohr, `_WAVES` of them: up to 550 Ry.
    """
    radii = _BOX / _POINTS * np.arange(1, _POINTS)
    vectors = np.pi / _BOX * np.arange(1, _WAVES + 1)
    waves = np.sqrt(2 / _BOX) * np.sin(np.outer(vectors, radii))
    step = _BOX / _POINTS
    potential = np.interp(radii, upf.radii, screened) + l * (l + 1) / radii**2
    hamiltonian = np.diag(vectors**2) + (waves * potential * step) @ waves.T
    projectors, matrix = separable(upf)
    mine = [index for index, (channel, _) in enumerate(projectors) if channel == l]
    if mine:
        shapes = np.array([np.interp(radii, upf.radii, projectors[i][1]) for i in mine])
        overlaps = shapes @ waves.T * step
        hamiltonian += overlaps.T @ matrix[np.ix_(mine, mine)] @ overlaps
    found: Array = eigvalsh(hamiltonian)
    return found[found < 0]


def phases(logarithmic: Array) -> Array:
    """Return logarithmic derivatives as a phase in poles that rises with energy, shape ``(n,)``."""
    phase = -np.arctan(logarithmic) / np.pi
    turns = np.cumsum(np.diff(phase) < -0.5)
    rising: Array = phase + np.concatenate([[0.0], turns])
    return rising


def _check_levels(folder: Path, name: str, own: Sequence[Level]) -> float:
    upf = read_upf((folder / POTENTIAL).read_text(encoding="utf-8"))
    screened = np.loadtxt(folder / SCREENED, usecols=2)
    worst = 0.0
    for l, letter in enumerate(LETTERS[:3]):  # noqa: E741
        atom = sorted(x.atom for x in own if x.label[1] == letter.upper() and x.atom < _BOUND)
        if not atom:
            continue
        found = levels(upf, screened, l)[: len(atom)]
        for index, energy in enumerate(atom):
            here = found[index] if index < found.size else 0.0
            if abs(here - energy) > GHOST_LEVEL:
                raise CodeError(
                    "ghost_state",
                    f"The potential of {name} has a ghost state: level {index + 1} of its {letter} "
                    f"channel lies at {here:.3f} Ry, the atom's at {energy:.3f} Ry. Choose another "
                    "local channel or other radii in its recipe.",
                )
            worst = max(worst, abs(here - energy))
    return worst


def _check_phases(folder: Path, name: str, recipe: Recipe) -> tuple[float, float]:
    atom = np.loadtxt(folder / f"{PREFIX}1.dlog")
    made = np.loadtxt(folder / f"{PREFIX}1ps.dlog")
    if not (np.all(np.isfinite(atom)) and np.all(np.isfinite(made))):
        raise ValueError("a logarithmic derivative is not finite")
    energies = atom[:, 0]
    worst = {True: 0.0, False: 0.0}
    for l, letter in enumerate(LETTERS[:3]):  # noqa: E741
        apart = phases(made[:, l + 1]) - phases(atom[:, l + 1])
        difference = np.abs(apart - np.round(apart[0]))
        for strict in (True, False):
            inside = (energies <= STRICT_HIGHEST) == strict
            where = int(np.argmax(np.where(inside, difference, -1.0)))
            worst[strict] = max(worst[strict], float(difference[where]))
            limit = PHASE if strict else GHOST_PHASE
            if difference[where] > limit:
                ghost = difference[inside].max() > GHOST_PHASE
                what = "a ghost state" if ghost else "wrong scattering"
                raise CodeError(
                    "ghost_state" if ghost else "log_derivative",
                    f"The potential of {name} has {what} in its {letter} channel: at "
                    f"{energies[where]:.2f} Ry its logarithmic derivative is "
                    f"{difference[where]:.2f} poles from the atom's, more than {limit}. Choose "
                    "another local channel or smaller radii in its recipe.",
                )
    return worst[True], worst[False]


def _check_eigenvalues(
    name: str, recipe: Recipe, tests: Sequence[Sequence[Level]]
) -> tuple[float, float]:
    own = max(tests[0], key=lambda x: abs(x.error) if x.label in recipe.channels else 0.0)
    other = max((x for test in tests for x in test if x.atom < _BOUND), key=lambda x: abs(x.error))
    for level, limit in ((own, OWN_EIGENVALUE), (other, EIGENVALUE)):
        if abs(level.error) > limit:
            raise CodeError(
                "wrong_levels",
                f"The potential of {name} has {level.label} {abs(level.error):.4f} Ry from the "
                f"atom's {level.atom:.4f} Ry, more than {limit} Ry: choose smaller radii in its "
                "recipe.",
            )
    return abs(own.error), abs(other.error)
