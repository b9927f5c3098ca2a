"""Spectra moved along energy, so that what is learned is their shape and not where they begin.

A code states where its own zero of energy lies for each spectrum, and features of the spectra
follow it in part: for Cu by FEFF their shifts between alike sites follow it with a slope of 0.65.
"""

from __future__ import annotations

import numpy as np

from nearedge.spectra.spectrum import FloatArray


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
