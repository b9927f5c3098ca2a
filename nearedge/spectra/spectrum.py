"""A spectrum: energies in eV, absorption in a stated unit."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nearedge.errors import SpectrumError

FloatArray = NDArray[np.float64]

BOHR = 0.529177210903
"""The Bohr radius in Å (CODATA 2018)."""
HARTREE = 27.211386245988
"""eV (CODATA 2018)."""
FINE_STRUCTURE = 7.2973525693e-3
"""The fine-structure constant (CODATA 2018)."""


class AbsorptionUnit(StrEnum):
    """Units that absorption is stored in."""

    NORMALIZED = "normalized"
    """Edge step of one, as FEFF's ``xmu.dat`` has it."""
    ANGSTROM2 = "angstrom^2"
    """Cross section in Å² per absorber."""
    MILLIBOHR2 = "1e-3 bohr^2"
    """Cross section in a thousandth of a0² per absorber: the unit of OmniXAS (arXiv:2409.19552)."""
    ARBITRARY = "arbitrary"
    """A scale that nobody stated; converts to nothing."""


_ANGSTROM2_PER_UNIT = {AbsorptionUnit.ANGSTROM2: 1.0, AbsorptionUnit.MILLIBOHR2: 1e-3 * BOHR**2}


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Absorption against energy.

    Parameters
    ----------
    energy
        Energies in eV, strictly increasing, shape ``(n,)``.
    absorption
        Absorption, shape ``(n,)``.
    unit
        The unit of `absorption`.
    normalization
        The cross section in Å² that a normalised absorption of one stands for, or None where it is
        not known; FEFF prints it as ``xsedge+50``.

    Raises
    ------
    SpectrumError
        If the shapes differ, fewer than two points are given, a number is not finite, or energies
        do not increase.
    """

    energy: FloatArray
    absorption: FloatArray
    unit: AbsorptionUnit = AbsorptionUnit.NORMALIZED
    normalization: float | None = None

    def __post_init__(self) -> None:
        energy = _checked(self.energy, "energy")
        absorption = _checked(self.absorption, "absorption")
        if energy.shape != absorption.shape:
            raise SpectrumError(
                f"A spectrum needs as many energies as absorptions, not {energy.size} and "
                f"{absorption.size}."
            )
        if not np.all(np.diff(energy) > 0):
            where = int(np.argmin(np.diff(energy)))
            raise SpectrumError(
                f"Energies must increase: {energy[where + 1]} eV follows {energy[where]} eV."
            )
        object.__setattr__(self, "energy", energy)
        object.__setattr__(self, "absorption", absorption)
        object.__setattr__(self, "unit", AbsorptionUnit(self.unit))

    def __len__(self) -> int:
        return int(self.energy.size)

    def to_unit(self, unit: AbsorptionUnit) -> Spectrum:
        """Return the same spectrum in another unit.

        Raises
        ------
        SpectrumError
            If the conversion needs the normalisation and it is not known, or a unit is arbitrary.
        """
        if unit == self.unit:
            return self
        if AbsorptionUnit.ARBITRARY in (unit, self.unit):
            raise SpectrumError(f"Absorption in {self.unit} cannot be converted to {unit}.")
        factor = self._angstrom2(self.unit) / self._angstrom2(unit)
        return replace(self, absorption=self.absorption * factor, unit=unit)

    def _angstrom2(self, unit: AbsorptionUnit) -> float:
        if unit is not AbsorptionUnit.NORMALIZED:
            return _ANGSTROM2_PER_UNIT[unit]
        if self.normalization is None:
            raise SpectrumError(
                "The spectrum carries no normalisation in Å², so normalised absorption and cross "
                "sections do not convert into each other."
            )
        return self.normalization


def _checked(values: ArrayLike, name: str) -> FloatArray:
    array = np.array(values, dtype=np.float64)
    if array.ndim != 1 or array.size < 2:
        raise SpectrumError(f"A spectrum's {name} must be a list of at least two numbers.")
    if not np.all(np.isfinite(array)):
        bad = int(np.argmin(np.isfinite(array)))
        raise SpectrumError(f"A spectrum's {name} must be finite: point {bad} is {array[bad]}.")
    array.flags.writeable = False
    return array
