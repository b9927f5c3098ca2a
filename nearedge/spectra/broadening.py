"""Broadening on any energy axis, uniform or not.

The spectrum is taken as linear between its points and constant beyond its ends. Such a function is
a constant plus a sum of ramps, one for each change of slope, so its convolution with a line shape
is the same sum over the line shape's second antiderivative: exact, without resampling.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from scipy.special import ndtr

from nearedge.errors import SpectrumError
from nearedge.spectra.spectrum import FloatArray, Spectrum

_BLOCK = 4_000_000
"""Numbers held at a time: 32 MB."""


def lorentzian(spectrum: Spectrum, fwhm: float) -> Spectrum:
    """Broaden by a Lorentzian of full width `fwhm` (eV) at half maximum, as a lifetime does.

    Raises
    ------
    SpectrumError
        If the width is negative or not finite.
    """
    half = 0.5 * _checked(fwhm)

    def ramp(offset: FloatArray) -> FloatArray:
        scaled = offset / half
        arc = offset * np.arctan(scaled) - 0.5 * half * np.log1p(scaled**2)
        result: FloatArray = 0.5 * offset + arc / np.pi
        return result

    return spectrum if half == 0 else _convolved(spectrum, ramp)


def gaussian(spectrum: Spectrum, fwhm: float) -> Spectrum:
    """Broaden by a Gaussian of full width `fwhm` (eV) at half maximum, as an instrument does.

    Raises
    ------
    SpectrumError
        If the width is negative or not finite.
    """
    sigma = _checked(fwhm) / (2 * np.sqrt(2 * np.log(2)))

    def ramp(offset: FloatArray) -> FloatArray:
        scaled = offset / sigma
        density = np.exp(-0.5 * scaled**2) / np.sqrt(2 * np.pi)
        result: FloatArray = offset * ndtr(scaled) + sigma * density
        return result

    return spectrum if sigma == 0 else _convolved(spectrum, ramp)


def _convolved(spectrum: Spectrum, ramp: Callable[[FloatArray], FloatArray]) -> Spectrum:
    slopes = np.diff(spectrum.absorption) / np.diff(spectrum.energy)
    changes = np.diff(slopes, prepend=0.0, append=0.0)
    broadened = np.empty_like(spectrum.absorption)
    rows = max(1, _BLOCK // len(spectrum))
    for start in range(0, len(spectrum), rows):
        block = slice(start, start + rows)
        offsets = spectrum.energy[block, None] - spectrum.energy[None, :]
        broadened[block] = spectrum.absorption[0] + ramp(offsets) @ changes
    return replace(spectrum, absorption=broadened)


def _checked(fwhm: float) -> float:
    if not np.isfinite(fwhm) or fwhm < 0:
        raise SpectrumError(f"A width must be finite and not negative, not {fwhm} eV.")
    return fwhm
