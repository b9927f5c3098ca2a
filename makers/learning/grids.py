"""Which energies a data set's spectra are read at, and the reading."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from nearedge.errors import DatasetError
from nearedge.schemas import GridDoc
from nearedge.spectra.grid import OMNIXAS_ONSETS, Grid, omnixas_grid, to_grid
from nearedge.spectra.onset import onset
from nearedge.spectra.spectrum import FloatArray, Spectrum

STEP = 0.25
WIDTH = 35.0
"""eV: step and width of OmniXAS's grids (arXiv:2409.19552), kept for elements it does not have."""
BEFORE_RISE = 16.0
"""eV from the start of a grid to where spectra pass half of their maximum: the median of OmniXAS's
validation spectra is 16.75 for Ti, 16 for V and Cr, 16.5 for Co, 14.75 for Ni and 12 for Cu."""
_RISE = 0.5


def choose_grid(absorber: str, edge: str, spectra: Sequence[Spectrum]) -> GridDoc:
    """Return OmniXAS's grid of the element where most spectra cover 80 % of it, else a like one.

    The like one begins `BEFORE_RISE` eV before most spectra pass half of their maximum, or where
    most spectra begin, if that is later.

    Raises
    ------
    DatasetError
        If there is no spectrum to derive a grid from.
    """
    if not spectra:
        raise DatasetError("There is no usable spectrum to choose an energy grid for.")
    first = float(np.median([s.energy[0] for s in spectra]))
    last = float(np.median([s.energy[-1] for s in spectra]))
    if edge == "K" and absorber in OMNIXAS_ONSETS:
        grid = omnixas_grid(absorber)
        shared = min(last, grid.stop) - max(first, grid.start)
        if shared >= 0.8 * (grid.stop - grid.start):
            return GridDoc(start=grid.start, step=grid.step, points=grid.points)
    first = max(first, float(np.median([onset(s, _RISE) for s in spectra])) - BEFORE_RISE)
    points = int(min(WIDTH, last - first) / STEP) + 1
    return GridDoc(start=round(first, 3), step=STEP, points=max(points, 2))


def aligned_grid(
    grid: GridDoc, reference: Mapping[str, Spectrum], spectra: Mapping[str, Spectrum]
) -> GridDoc:
    """Return `grid` moved so that spectra of another code rise at the same point of it.

    Codes count energies from zeros of their own. One shift for all spectra of an element keeps
    what distinguishes its sites.

    Parameters
    ----------
    grid
        Of the reference.
    reference, spectra
        By site, the reference's and those to be read at the grid that is returned. The shift is the
        median difference, over sites that both have, of the energies where they pass half of their
        maximum; where they share none, the difference of the medians.

    Raises
    ------
    DatasetError
        If one of them has no spectrum.
    """
    if not reference or not spectra:
        raise DatasetError("Grids are aligned by spectra, and there is none.")
    there = {site: onset(each, _RISE) for site, each in reference.items()}
    here = {site: onset(each, _RISE) for site, each in spectra.items()}
    shared = sorted(there.keys() & here.keys())
    if shared:
        shift = float(np.median([here[site] - there[site] for site in shared]))
    else:
        shift = float(np.median(list(here.values()))) - float(np.median(list(there.values())))
    return GridDoc(start=round(grid.start + shift, 3), step=grid.step, points=grid.points)


def on_grid(spectrum: Spectrum, grid: GridDoc, absorber: str) -> FloatArray:
    """Return the absorption on a data set's grid, shape ``(grid.points,)``.

    On OmniXAS's grid of an element the authors' own reading of the last points is kept (see
    `nearedge.spectra.grid.to_grid`), so that our rows and theirs are the same numbers.
    """
    energies = Grid(grid.start, grid.step, grid.points)
    published = absorber in OMNIXAS_ONSETS and energies == omnixas_grid(absorber)
    return to_grid(spectrum, energies, own_points_only=published)
