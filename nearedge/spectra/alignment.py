"""Two spectra with different energy zeros, one shifted onto the other."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.interpolate import CubicSpline

from nearedge.errors import SpectrumError
from nearedge.spectra.onset import onset_index, steepest
from nearedge.spectra.similarity import cosine, pearson, spearman
from nearedge.spectra.spectrum import FloatArray, Spectrum

POINTS = 300
"""Energies at which two spectra are compared."""

SCAN = 12.0
"""eV. Shifts are tried from this much below to this much above matching onsets."""

STEP = 0.01
"""eV. Distance between the shifts that are tried."""

STEEPEST_LIMIT = 2.0
"""eV. From here on, two edges that do not coincide after alignment make it doubtful."""

_SHIFTS_AT_A_TIME = 400


@dataclass(frozen=True)
class Alignment:
    """How one spectrum was shifted onto another, and how alike they then are.

    Parameters
    ----------
    shift
        eV, to be added to the energies of the spectrum.
    similarity
        Cosine similarity, which the shift maximises.
    pearson, spearman
        Correlations at this shift, over the same energies.
    edge_difference
        eV. Steepest point of the shifted spectrum minus that of the reference.
    """

    shift: float
    similarity: float
    pearson: float
    spearman: float
    edge_difference: float

    @property
    def warning(self) -> str | None:
        """Why the alignment is doubtful, or None where it is not."""
        if abs(self.edge_difference) < STEEPEST_LIMIT:
            return None
        return (
            f"After a shift of {self.shift:.2f} eV the steepest points are "
            f"{abs(self.edge_difference):.1f} eV apart: the spectra may be aligned wrongly."
        )


@dataclass(frozen=True)
class _Window:
    """The compared part of a spectrum, energies counted from its onset."""

    onset: float
    energy: FloatArray
    curve: CubicSpline


def align(spectrum: Spectrum, reference: Spectrum, *, window: float = 35.0) -> Alignment:
    """Shift `spectrum` along energy until it is most similar to `reference`.

    Parameters
    ----------
    spectrum, reference
        Absorption spectra; energies in eV. Their units may differ: similarity knows no scale.
    window
        Width in eV of the compared range, counted from the onset of each.

    Returns
    -------
    Alignment
        The shift in eV to add to `spectrum`, and how similar the two then are.

    Raises
    ------
    SpectrumError
        If the two spectra share less than half of the window at every shift.

    Notes
    -----
    Follows arXiv:2303.17089 as Lightshow has it: each spectrum from where it passes 2 % of its
    maximum, over 35 eV; shifts of ±12 eV about matching onsets in steps of 0.01 eV; the highest
    cosine similarity on 300 points of the range both have, cubic in between.
    """
    moving, fixed = _window(spectrum, window), _window(reference, window)
    steps = round(SCAN / STEP)
    # From the middle outwards, so that of equally good shifts the smallest wins.
    shifts = STEP * np.array(sorted(range(-steps, steps + 1), key=abs))
    shared = _shared(moving, fixed, shifts)
    shifts = shifts[shared >= 0.5 * window]
    if not shifts.size:
        raise SpectrumError(
            f"The spectra share at most {shared.max():.1f} eV, less than half of the {window:g} eV "
            "to compare: choose a smaller window."
        )
    scores = np.concatenate(
        [
            _cosines(moving, fixed, shifts[start : start + _SHIFTS_AT_A_TIME])
            for start in range(0, shifts.size, _SHIFTS_AT_A_TIME)
        ]
    )
    best = float(shifts[np.argmax(scores >= scores.max() - 1e-12)])
    first, second = (values[0] for values in _curves(moving, fixed, np.array([best])))
    shift = fixed.onset - moving.onset + best
    return Alignment(
        shift=shift,
        similarity=cosine(first, second),
        pearson=pearson(first, second),
        spearman=spearman(first, second),
        edge_difference=_edge(spectrum, moving) + shift - _edge(reference, fixed),
    )


def shifted(spectrum: Spectrum, shift: float) -> Spectrum:
    """Return `spectrum` with `shift` (eV) added to its energies."""
    return replace(spectrum, energy=spectrum.energy + shift)


def overlap(
    spectrum: Spectrum, reference: Spectrum, shift: float, *, window: float = 35.0
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return what `align` compares, once `spectrum` is shifted by `shift` eV.

    Returns
    -------
    tuple
        Energies in eV on the axis of `reference`, `spectrum` there, `reference` there; shape
        ``(POINTS,)`` each.

    Raises
    ------
    SpectrumError
        If the two share nothing of the window at this shift.
    """
    moving, fixed = _window(spectrum, window), _window(reference, window)
    steps = np.array([shift + moving.onset - fixed.onset])
    shared = float(_shared(moving, fixed, steps)[0])
    if shared <= 0:
        raise SpectrumError(f"The spectra share no energies after a shift of {shift:.2f} eV.")
    first, second = (values[0] for values in _curves(moving, fixed, steps))
    low = max(fixed.energy[0], moving.energy[0] + steps[0])
    energy: FloatArray = fixed.onset + low + shared * np.linspace(0, 1, POINTS)
    return energy, first, second


def _window(spectrum: Spectrum, width: float) -> _Window:
    if not (np.isfinite(width) and width > 0):
        raise SpectrumError(f"The window must be a positive number of eV, not {width}.")
    start = onset_index(spectrum)
    energy = spectrum.energy[start:] - spectrum.energy[start]
    # Lightshow leaves out the last point below the width; with it, shifts change by some 0.05 eV.
    inside = np.flatnonzero(energy < width)[:-1]
    if inside.size < 4:
        raise SpectrumError(
            f"The spectrum has fewer than four points in the {width:g} eV from its onset at "
            f"{spectrum.energy[start]:.2f} eV: a curve needs more."
        )
    energy = energy[inside]
    curve = CubicSpline(energy, spectrum.absorption[start:][inside])
    return _Window(float(spectrum.energy[start]), energy, curve)


def _shared(moving: _Window, fixed: _Window, shifts: FloatArray) -> FloatArray:
    """Return the length in eV of the range that both have at each shift."""
    low = np.maximum(fixed.energy[0], moving.energy[0] + shifts)
    high = np.minimum(fixed.energy[-1], moving.energy[-1] + shifts)
    shared: FloatArray = high - low
    return shared


def _curves(moving: _Window, fixed: _Window, shifts: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return both curves on the shared range at each shift, shape ``(n_shifts, POINTS)``."""
    low = np.maximum(fixed.energy[0], moving.energy[0] + shifts)
    grid = low[:, None] + _shared(moving, fixed, shifts)[:, None] * np.linspace(0, 1, POINTS)
    first = np.asarray(moving.curve(grid - shifts[:, None]), dtype=np.float64)
    return first, np.asarray(fixed.curve(grid), dtype=np.float64)


def _cosines(moving: _Window, fixed: _Window, shifts: FloatArray) -> FloatArray:
    first, second = _curves(moving, fixed, shifts)
    products = np.einsum("ij,ij->i", first, second)
    norms = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    cosines: FloatArray = products / np.maximum(norms, np.finfo(float).tiny)
    return cosines


def _edge(spectrum: Spectrum, window: _Window) -> float:
    return steepest(spectrum, window.onset, window.onset + float(window.energy[-1]))
