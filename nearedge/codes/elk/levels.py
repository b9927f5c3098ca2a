"""What Elk says of levels and energies: whether the lowest band is the absorber's 1s at all."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from nearedge.errors import CodeError
from nearedge.spectra.spectrum import FloatArray

_CORE_LEVEL = re.compile(r"n =\s+1, l =\s+0, k =\s+1 :\s+(\S+)")
_STATE = re.compile(r"^\s*(\d+)\s+(\S+)\s+(\S+)\s*$", re.MULTILINE)
SPREAD = 0.1
"""Ha. A 1s level is the same at all k-points to far less than this."""
TOLERANCE = 0.02
"""The level in the valence may differ from that in the core by this share of it, and by 2 Ha or 0.3
of it, whichever is less.

Seen: 0.66 Ha of 178 (the zero of the potential moves with the spheres)."""
LOST_ENERGY = 0.5
"""A 1s that is not found costs its level or more in total energy (750 Ha for Ti, 5.7 Ha for B), one
that is found 0.01 of it (1.9 Ha for Ti); from this share on the run is refused."""


@dataclass(frozen=True)
class Bands:
    """Eigenvalues in Ha, shape ``(n_kpoints, n_states)``, each row increasing."""

    energies: FloatArray
    fermi: float

    @property
    def core_level(self) -> float:
        """Return the lowest band, in Ha."""
        return float(self.energies[:, 0].mean())

    @property
    def gap_top(self) -> float:
        """Return the lowest empty level, in Ha."""
        return float(self.energies[self.energies > self.fermi].min())

    def complete_to(self, conduction: int) -> float:
        """Return up to which energy in Ha all bands are among the first `conduction` empty ones."""
        tops = []
        for row in self.energies:
            empty = row[row > self.fermi]
            tops.append(empty[min(conduction, len(empty)) - 1])
        return float(min(tops))


def parse_bands(text: str, fermi: str) -> Bands:
    """Read ``EIGVAL.OUT`` and ``EFERMI.OUT``.

    Raises
    ------
    CodeError
        ``output_truncated``, ``output_foreign`` or ``output_not_finite``.
    """
    try:
        kpoints = int(text.split(maxsplit=1)[0])
        states = int(text.split("\n", 2)[1].split(maxsplit=1)[0])
        rows = [
            [float(match.group(2)) for match in _STATE.finditer(part)]
            for part in text.split(": k-point, vkl")[1:]
        ]
        level = float(fermi.split(maxsplit=1)[0])
    except (ValueError, IndexError):
        raise CodeError("output_foreign", "EIGVAL.OUT or EFERMI.OUT is not Elk's.") from None
    if len(rows) != kpoints or any(len(row) != states for row in rows):
        raise CodeError("output_truncated", f"EIGVAL.OUT lacks some of {states} states.")
    energies: FloatArray = np.sort(np.array(rows, dtype=np.float64), axis=1)
    if not (np.all(np.isfinite(energies)) and np.isfinite(level)):
        raise CodeError("output_not_finite", "EIGVAL.OUT or EFERMI.OUT holds what is no number.")
    return Bands(energies, level)


def parse_core_level(text: str) -> float | None:
    """Return the 1s level in Ha of the first species in ``EVALCORE.OUT``, or None."""
    match = _CORE_LEVEL.search(text.partition("Species :    2")[0])
    return None if match is None else float(match.group(1))


def last_energy(text: str) -> float | None:
    """Return the last of ``TOTENERGY.OUT``, in Ha."""
    words = text.split()
    try:
        return float(words[-1])
    except (IndexError, ValueError):
        return None


def check_core_level(
    bands: Bands,
    expected: float,
    *,
    energies: tuple[float | None, float | None] = (None, None),
    not_found: int = 0,
) -> None:
    """Refuse a run whose lowest band is not the 1s level: Elk goes on with another state.

    Parameters
    ----------
    expected
        Ha. The level as the ground state with all cores has it, or an estimate.
    energies
        Total energies in Ha of the ground state and of this run.
    not_found
        Linearisation energies that the last loop did not find.

    Raises
    ------
    CodeError
        ``core_level_not_found``.
    """
    reasons = []
    allowed = TOLERANCE * abs(expected) + min(2.0, 0.3 * abs(expected))
    if abs(bands.core_level - expected) > allowed:
        reasons.append(f"the lowest band is at {bands.core_level:.2f} Ha, not near {expected:.2f}")
    elif np.ptp(bands.energies[:, 0]) > SPREAD:
        reasons.append("the lowest band is no level: it differs between k-points")
    before, after = energies
    lost = 0.0 if before is None or after is None else after - before
    if lost > LOST_ENERGY * abs(expected):
        reasons.append(f"the total energy is {lost:.0f} Ha above the ground state's")
    if not_found:
        reasons.append(f"{not_found} linearisation energies were not found")
    if reasons:
        raise CodeError(
            "core_level_not_found",
            f"Elk did not find the absorber's 1s level: {'; '.join(reasons)}.",
        )
