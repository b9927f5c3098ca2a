"""How alike two spectra on one grid are."""

from __future__ import annotations

import numpy as np
from scipy.stats import rankdata

from nearedge.errors import SpectrumError
from nearedge.spectra.spectrum import FloatArray


def cosine(first: FloatArray, second: FloatArray) -> float:
    """Return the cosine of the angle between two spectra, shape ``(n,)`` each.

    It hardly tells spectra apart (rutile against anatase: 0.995); use it to align, not to judge.

    Raises
    ------
    SpectrumError
        If the shapes differ or one is zero throughout.
    """
    _check(first, second)
    norm = float(np.linalg.norm(first) * np.linalg.norm(second))
    if norm == 0:
        raise SpectrumError("A spectrum that is zero throughout has no similarity to any.")
    return float(np.clip(np.dot(first, second) / norm, -1, 1))


def pearson(first: FloatArray, second: FloatArray) -> float:
    """Return Pearson's correlation of two spectra, shape ``(n,)`` each.

    Raises
    ------
    SpectrumError
        If the shapes differ or one is constant.
    """
    _check(first, second)
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        raise SpectrumError("A constant spectrum has no correlation with any.")
    return cosine(first - first.mean(), second - second.mean())


def spearman(first: FloatArray, second: FloatArray) -> float:
    """Return Spearman's rank correlation of two spectra, shape ``(n,)`` each; ties share a rank.

    Raises
    ------
    SpectrumError
        If the shapes differ or one is constant.
    """
    _check(first, second)
    return pearson(rankdata(first), rankdata(second))


def mse(first: FloatArray, second: FloatArray) -> float:
    """Return the mean squared difference, in the square of the spectra's unit.

    Raises
    ------
    SpectrumError
        If the shapes differ.
    """
    _check(first, second)
    return float(np.mean((first - second) ** 2))


def _check(first: FloatArray, second: FloatArray) -> None:
    if first.shape != second.shape or first.ndim != 1 or first.size < 2:
        raise SpectrumError(
            f"Spectra of shapes {first.shape} and {second.shape} cannot be compared: put both on "
            "one grid."
        )
