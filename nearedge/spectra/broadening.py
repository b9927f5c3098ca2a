"""Broadening on any energy axis, uniform or not.

The spectrum is taken as linear between its points and constant beyond its ends. Such a function is
a constant plus a sum of ramps, one for each change of slope, so its convolution with a line shape
is the same sum over the line shape's second antiderivative: exact, without resampling.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy.interpolate import CubicHermiteSpline
from scipy.special import ndtr, voigt_profile

from nearedge.errors import SpectrumError
from nearedge.spectra.spectrum import FloatArray, Spectrum

_BLOCK = 4_000_000
"""Numbers held at a time: 32 MB."""

_SIGMA_PER_FWHM = 1 / (2 * np.sqrt(2 * np.log(2)))

Ramp = Callable[[FloatArray, FloatArray], FloatArray]
"""The second antiderivative of a line shape at offsets, shape ``(rows, n)``, for results at
energies, shape ``(rows, 1)``; both in eV. A constant added to it changes nothing, because the
changes of slope of a spectrum sum to zero."""


@dataclass(frozen=True)
class Arctangent:
    """A Lorentzian width that grows above the edge, as the photoelectron's lifetime shrinks.

    Parameters
    ----------
    hole
        Width in eV (FWHM) at and below the edge: the core hole's.
    maximum
        What far above the edge is added to it, in eV.
    center
        eV above the edge at which half of `maximum` is reached.
    spread
        eV over which it grows, about `center`.

    Raises
    ------
    SpectrumError
        If a width is negative, or `center` or `spread` is not positive.

    Notes
    -----
    ``hole + maximum (1/2 + arctan(pi/3 maximum/spread (e - 1/e^2)) / pi)`` with
    ``e = (E - edge) / center``: Bunau and Joly, J. Phys.: Condens. Matter 21, 345501 (2009), where
    the names are Gamma_hole, Gamma_m, E_cent and E_larg; FDMNES offers 15, 30 and 30 eV for the
    last three. Lightshow's `energy_dependent_voigt_broaden` lets the width grow linearly instead,
    without an end; FEFF computes it from its self-energy, so a spectrum of FEFF's has it already.
    """

    hole: float
    maximum: float
    center: float
    spread: float

    def __post_init__(self) -> None:
        _checked(self.hole)
        _checked(self.maximum)
        for name, value in (("center", self.center), ("spread", self.spread)):
            if not (np.isfinite(value) and value > 0):
                raise SpectrumError(
                    f"The {name} of an arctangent must be a positive number of eV, not {value}."
                )

    def width(self, energy: FloatArray, edge: float) -> FloatArray:
        """Return the width in eV (FWHM) at `energy`; energies and `edge` in eV on one axis."""
        scaled = np.maximum((energy - edge) / self.center, np.finfo(float).tiny ** 0.25)
        slope = np.pi / 3 * self.maximum / self.spread
        growth = 0.5 + np.arctan(slope * (scaled - scaled**-2.0)) / np.pi
        width: FloatArray = self.hole + self.maximum * np.where(energy > edge, growth, 0.0)
        return width


def lorentzian(spectrum: Spectrum, fwhm: float) -> Spectrum:
    """Broaden by a Lorentzian of full width `fwhm` (eV) at half maximum, as a lifetime does.

    Raises
    ------
    SpectrumError
        If the width is negative or not finite.
    """
    half = 0.5 * _checked(fwhm)
    if half == 0:
        return spectrum
    return _convolved(spectrum, lambda offset, _: _lorentzian_ramp(offset, half))


def gaussian(spectrum: Spectrum, fwhm: float) -> Spectrum:
    """Broaden by a Gaussian of full width `fwhm` (eV) at half maximum, as an instrument does.

    Raises
    ------
    SpectrumError
        If the width is negative or not finite.
    """
    sigma = _checked(fwhm) * _SIGMA_PER_FWHM

    def ramp(offset: FloatArray, _: FloatArray) -> FloatArray:
        scaled = offset / sigma
        density = np.exp(-0.5 * scaled**2) / np.sqrt(2 * np.pi)
        result: FloatArray = offset * ndtr(scaled) + sigma * density
        return result

    return spectrum if sigma == 0 else _convolved(spectrum, ramp)


def voigt(spectrum: Spectrum, lorentzian_fwhm: float, gaussian_fwhm: float) -> Spectrum:
    """Broaden by a Lorentzian and a Gaussian (FWHM in eV) at once.

    Exact to about 1e-9 of the spectrum's changes, where one after the other would take the first
    result as linear between its points.

    Raises
    ------
    SpectrumError
        If a width is negative or not finite.
    """
    half, sigma = 0.5 * _checked(lorentzian_fwhm), _checked(gaussian_fwhm) * _SIGMA_PER_FWHM
    # Narrower than this, one of the two is lost in rounding beside the other.
    if sigma <= 1e-6 * half:
        return lorentzian(spectrum, lorentzian_fwhm)
    if half <= 1e-9 * sigma:
        return gaussian(spectrum, gaussian_fwhm)
    return _convolved(spectrum, _voigt_ramp(half, sigma))


def arctangent(spectrum: Spectrum, width: Arctangent, edge: float) -> Spectrum:
    """Broaden by a Lorentzian whose width grows with energy above `edge` (eV).

    The width is that of the energy at which the result stands, so a constant stays constant; an
    area is kept only where the width does not change over it. States below the edge are not cut
    off: a spectrum of unoccupied states has none.

    Raises
    ------
    SpectrumError
        If the edge is not finite.
    """
    if not np.isfinite(edge):
        raise SpectrumError(f"An edge must be a finite energy in eV, not {edge}.")
    if width.maximum == 0:
        return lorentzian(spectrum, width.hole)
    # A width of zero, at the edge without a core hole, is the limit of narrow ones.
    least = 1e-9 * width.maximum

    def ramp(offset: FloatArray, energy: FloatArray) -> FloatArray:
        return _lorentzian_ramp(offset, np.maximum(0.5 * width.width(energy, edge), least))

    return _convolved(spectrum, ramp)


def _lorentzian_ramp(offset: FloatArray, half: float | FloatArray) -> FloatArray:
    scaled = offset / half
    arc = offset * np.arctan(scaled) - 0.5 * half * np.log1p(scaled**2)
    result: FloatArray = 0.5 * offset + arc / np.pi
    return result


def _voigt_ramp(half: float, sigma: float) -> Ramp:
    """Return the Voigt profile's second antiderivative.

    It has no closed form. Within 20 standard deviations it is a table, integrated by Gauss's rule
    and interpolated with its exact slopes; beyond, the Lorentzian's with the first two terms that
    a narrow Gaussian adds to it.
    """
    reach = 20 * sigma
    step = max(sigma, half) / 50
    knots = np.linspace(0, reach, max(16, int(np.ceil(reach / step))) + 1)
    step = float(knots[1])
    nodes, weights = np.polynomial.legendre.leggauss(8)
    inner = knots[:-1, None] + 0.5 * step * (1 + nodes)
    profile = 0.5 * step * weights * voigt_profile(inner, sigma, half)
    first = np.concatenate([[0.0], np.cumsum(profile.sum(axis=1))])
    rises = step * first[:-1] + (profile * (knots[1:, None] - inner)).sum(axis=1)
    even = np.concatenate([[0.0], np.cumsum(rises)])

    def far(distance: FloatArray) -> FloatArray:
        square = distance**2 + half**2
        density = half / np.pi / square
        curvature = density * (6 * distance**2 - 2 * half**2) / square**2
        result: FloatArray = (
            _lorentzian_ramp(distance, half)
            - 0.5 * distance
            + 0.5 * sigma**2 * density
            + 0.125 * sigma**4 * curvature
        )
        return result

    table = CubicHermiteSpline(knots, even + far(knots[-1:]) - even[-1], first)

    def ramp(offset: FloatArray, _: FloatArray) -> FloatArray:
        distance = np.abs(offset)
        near = table(np.minimum(distance, reach))
        result: FloatArray = 0.5 * offset + np.where(distance < reach, near, far(distance))
        return result

    return ramp


def _convolved(spectrum: Spectrum, ramp: Ramp) -> Spectrum:
    slopes = np.diff(spectrum.absorption) / np.diff(spectrum.energy)
    changes = np.diff(slopes, prepend=0.0, append=0.0)
    broadened = np.empty_like(spectrum.absorption)
    rows = max(1, _BLOCK // len(spectrum))
    for start in range(0, len(spectrum), rows):
        energies = spectrum.energy[start : start + rows, None]
        offsets = energies - spectrum.energy[None, :]
        broadened[start : start + rows] = spectrum.absorption[0] + ramp(offsets, energies) @ changes
    return replace(spectrum, absorption=broadened)


def _checked(fwhm: float) -> float:
    if not np.isfinite(fwhm) or fwhm < 0:
        raise SpectrumError(f"A width must be finite and not negative, not {fwhm} eV.")
    return fwhm
