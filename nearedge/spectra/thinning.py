"""Spectra with fewer points and digits, to be kept beside a text that quotes them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from nearedge.errors import SpectrumError
from nearedge.spectra.onset import onset
from nearedge.spectra.spectrum import FloatArray, Spectrum

BELOW, ABOVE = 10.0, 15.0
"""eV that are kept below the onset and beyond the window."""

MOST = 800
"""Points up to which a spectrum keeps its own axis: another one moves what is compared a little."""

DIGITS = 6
"""Significant digits of the absorption that are kept."""


def thinned(spectrum: Spectrum, window: float, step: float = 0.1) -> Spectrum:
    """Return what a comparison needs of `spectrum`: its own points, or fewer on a uniform axis.

    Parameters
    ----------
    spectrum
        Any.
    window
        Width in eV, from the onset, of the range that is compared.
    step
        Distance in eV of the energies of a spectrum with more than `MOST` points.

    Returns
    -------
    Spectrum
        From `BELOW` the onset to `ABOVE` the window, as far as the spectrum reaches; energies to
        0.1 meV, absorption to `DIGITS` digits. Linear between the points of the spectrum, of which
        the onset is kept.

    Raises
    ------
    SpectrumError
        If the spectrum has no onset, or the step is not positive.
    """
    if not (np.isfinite(step) and step > 0):
        raise SpectrumError(f"A step must be a positive number of eV, not {step}.")
    start = onset(spectrum)
    low = max(spectrum.energy[0], start - BELOW)
    high = min(spectrum.energy[-1], start + window + ABOVE)
    own = spectrum.energy[(spectrum.energy >= low) & (spectrum.energy <= high)]
    # Counted from the onset, so that it stays where it is: the compared range begins there.
    grid = start + np.arange(np.ceil((low - start) / step), (high - start) / step) * step
    energy = np.unique(np.round(own if own.size <= max(MOST, grid.size) else grid, 4))
    absorption = np.interp(energy, spectrum.energy, spectrum.absorption)
    return replace(spectrum, energy=energy, absorption=_rounded(absorption))


def _rounded(values: FloatArray) -> FloatArray:
    return np.array([float(f"{value:.{DIGITS - 1}e}") for value in values])
