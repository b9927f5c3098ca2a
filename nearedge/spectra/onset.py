"""Where a spectrum begins, and where it rises most steeply."""

from __future__ import annotations

import numpy as np

from nearedge.errors import SpectrumError
from nearedge.spectra.spectrum import Spectrum

ONSET_FRACTION = 0.02
"""Share of the maximum at which a spectrum begins (arXiv:2303.17089)."""


def onset(spectrum: Spectrum, fraction: float = ONSET_FRACTION) -> float:
    """Return the first energy in eV, of those the spectrum has, where it exceeds the fraction.

    Parameters
    ----------
    spectrum
        With a positive maximum.
    fraction
        Of the maximum, from 0 to below 1.

    Raises
    ------
    SpectrumError
        If the spectrum is nowhere positive, or the fraction is out of range.
    """
    return float(spectrum.energy[onset_index(spectrum, fraction)])


def onset_index(spectrum: Spectrum, fraction: float = ONSET_FRACTION) -> int:
    """Return the index of the point that `onset` gives the energy of."""
    if not 0 <= fraction < 1:
        raise SpectrumError(
            f"An onset is a fraction of the maximum from 0 to below 1, not {fraction}."
        )
    maximum = spectrum.absorption.max()
    if maximum <= 0:
        raise SpectrumError("The spectrum is nowhere positive, so it has no onset.")
    return int(np.argmax(spectrum.absorption > fraction * maximum))


def steepest(spectrum: Spectrum, low: float = -np.inf, high: float = np.inf) -> float:
    """Return the energy in eV at which the spectrum rises most steeply: the edge by its derivative.

    Parameters
    ----------
    spectrum
        Any.
    low, high
        Bounds in eV of the energies that count.

    Raises
    ------
    SpectrumError
        If fewer than two points lie between the bounds.
    """
    inside = (spectrum.energy >= low) & (spectrum.energy <= high)
    if np.count_nonzero(inside) < 2:
        raise SpectrumError(f"There are no two points between {low} and {high} eV.")
    energy = spectrum.energy[inside]
    slope = np.gradient(spectrum.absorption[inside], energy)
    return float(energy[np.argmax(slope)])
