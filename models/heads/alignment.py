"""Spectra moved along energy, so that what is learned is their shape and not where they begin.

A code states where its own zero of energy lies for each spectrum, and features of the spectra
follow it in part: for Cu by FEFF their shifts between alike sites follow it with a slope of 0.65.
The rest, or all of it where nothing is stated, shows in how a spectrum lies against what other
materials let one expect.
"""

from __future__ import annotations

import numpy as np

from nearedge.spectra.spectrum import FloatArray

FAR = 1.5
"""eV: offsets are looked for as far as this in one round."""
PENALTY = 0.05
"""For an offset of 1 eV, as a share of the variance of the spectra."""
_TRIED = 15


def moved(spectra: FloatArray, shifts: FloatArray) -> FloatArray:
    """Move each spectrum to lower energies by its own shift.

    Parameters
    ----------
    spectra
        Shape ``(n, points)``.
    shifts
        In steps of the grid, shape ``(n,)``; negative ones move to higher energies.

    Returns
    -------
    FloatArray
        Shape ``(n, points)``. Between points a cubic (Catmull and Rom's, which does not wear a
        spectrum down when it is moved there and back); beyond the ends, their values.
    """
    points = spectra.shape[1]
    whole = np.floor(shifts)
    part = (shifts - whole)[:, None]
    first = np.arange(points) + whole.astype(np.intp)[:, None]
    before, here, after, later = (
        np.take_along_axis(spectra, np.clip(first + k, 0, points - 1), axis=1) for k in range(-1, 3)
    )
    slope_here, slope_after = (after - before) / 2, (later - here) / 2
    rise = after - here
    cubic: FloatArray = here + part * (
        slope_here
        + part * (3 * rise - 2 * slope_here - slope_after)
        + part**2 * (slope_here + slope_after - 2 * rise)
    )
    return cubic


def offsets(expected: FloatArray, found: FloatArray, step: float) -> FloatArray:
    """Return how much higher in energy spectra lie than expected, in eV, shape ``(n,)``.

    The offset of least squared difference, with a penalty that grows with its square, since a
    spectrum of another shape can fit best anywhere.

    Parameters
    ----------
    expected, found
        Shape ``(n, points)`` each.
    step
        Of the grid, in eV.
    """
    # Spectra that are all the same have no variance, and stay where they are all the same.
    penalty = PENALTY * float(np.mean(np.var(found, axis=0))) + 1e-9 * float(np.mean(found**2))
    tried = np.arange(-_TRIED, _TRIED + 1) * FAR / _TRIED
    misfits = np.stack(
        [
            np.mean((moved(expected, np.full(len(found), -offset / step)) - found) ** 2, axis=1)
            + penalty * offset**2
            for offset in tried
        ]
    )
    best = np.clip(np.argmin(misfits, axis=0), 1, len(tried) - 2)
    below, at, above = (misfits[best + k, np.arange(len(found))] for k in (-1, 0, 1))
    # The vertex of the parabola through three points; flat ones stay where they are.
    bend = np.maximum(below - 2 * at + above, 1e-12 * (at + 1e-300))
    correction = np.clip((below - above) / (2 * bend), -1.0, 1.0)
    lowest: FloatArray = tried[best] + correction * FAR / _TRIED
    return lowest
