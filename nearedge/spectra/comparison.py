"""Spectra of one material by several codes, each against each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from nearedge.errors import SpectrumError
from nearedge.spectra.alignment import align, overlap
from nearedge.spectra.spectrum import FloatArray, Spectrum

Measure = Literal["spearman", "pearson", "cosine"]
"""Spearman judges; the cosine, which the alignment maximises, hardly tells spectra apart."""

MEASURES: tuple[Measure, ...] = ("spearman", "pearson", "cosine")

METHOD = "arXiv:2303.17089 as in Lightshow: 2 % onset, +-12 eV in 0.01 eV, cosine, 300 points"
"""How two spectra are brought together; see `nearedge.spectra.alignment.align`."""


@dataclass(frozen=True)
class Pair:
    """Two spectra, one shifted onto the other.

    Parameters
    ----------
    first, second
        Their names.
    shift
        eV, to be added to the energies of the second to lie on the first.
    spearman, pearson, cosine
        At this shift, over the compared range.
    low, high
        eV on the axis of the first: the compared range, which both have.
    edge_difference
        eV. Steepest point of the shifted second minus that of the first.
    warning
        Why the alignment is doubtful, or None.
    """

    first: str
    second: str
    shift: float
    spearman: float
    pearson: float
    cosine: float
    low: float
    high: float
    edge_difference: float
    warning: str | None = None


@dataclass(frozen=True)
class Unpaired:
    """Two spectra that could not be compared, and why."""

    first: str
    second: str
    reason: str


def compare(
    first: Spectrum, second: Spectrum, names: tuple[str, str], *, window: float = 35.0
) -> Pair:
    """Compare two spectra after shifting the second onto the first.

    Parameters
    ----------
    first, second
        Absorption spectra; energies in eV, units and origins of energy may differ.
    names
        What they are called.
    window
        Width in eV of the compared range, counted from the onset of each.

    Raises
    ------
    SpectrumError
        If the two share less than half of the window at every shift.
    """
    found = align(second, first, window=window)
    energy, _, _ = overlap(second, first, found.shift, window=window)
    return Pair(
        *names,
        shift=found.shift,
        spearman=found.spearman,
        pearson=found.pearson,
        cosine=found.similarity,
        low=float(energy[0]),
        high=float(energy[-1]),
        edge_difference=found.edge_difference,
        warning=found.warning,
    )


def compare_all(spectra: Mapping[str, Spectrum], *, window: float = 35.0) -> list[Pair | Unpaired]:
    """Compare every two of the named spectra, in their order; see `compare`.

    What cannot be compared is listed with its reason, and stops nothing.
    """
    found: list[Pair | Unpaired] = []
    for names in combinations(spectra, 2):
        try:
            found.append(compare(spectra[names[0]], spectra[names[1]], names, window=window))
        except SpectrumError as error:
            found.append(Unpaired(*names, str(error)))
    return found


def matrix(
    labels: Sequence[str], pairs: Iterable[Pair | Unpaired], measure: Measure = "spearman"
) -> FloatArray:
    """Return a measure of every two labels, shape ``(n, n)``: symmetric, NaN where there is none.

    The diagonal is one for a label that was compared with any other, else NaN.
    """
    place = {label: number for number, label in enumerate(labels)}
    values = np.full((len(labels), len(labels)), np.nan)
    for pair in pairs:
        if isinstance(pair, Unpaired) or pair.first not in place or pair.second not in place:
            continue
        row, column = place[pair.first], place[pair.second]
        values[row, column] = values[column, row] = float(getattr(pair, measure))
        values[row, row] = values[column, column] = 1.0
    return values


def mean_matrix(matrices: Sequence[FloatArray]) -> tuple[FloatArray, NDArray[np.int64]]:
    """Return the mean of each element over the matrices that have it, and over how many.

    Parameters
    ----------
    matrices
        One for each structure, shape ``(n, n)`` each, NaN where a comparison is missing.

    Returns
    -------
    tuple
        Means, NaN where no matrix has the element, and counts; shape ``(n, n)`` each.

    Raises
    ------
    SpectrumError
        If there is no matrix, or their shapes differ.
    """
    if not matrices or len({each.shape for each in matrices}) != 1:
        raise SpectrumError("A mean matrix needs at least one matrix, and all of one shape.")
    stack = np.stack(matrices)
    counts: NDArray[np.int64] = np.count_nonzero(np.isfinite(stack), axis=0).astype(np.int64)
    means = np.full(stack.shape[1:], np.nan)
    there = counts > 0
    means[there] = np.nansum(stack, axis=0)[there] / counts[there]
    return means, counts
