"""A model and what it says of spectra that it has not learned, for pages about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, spearmanr

from nearedge.schemas.evaluation import DistanceBin, LearningPoint
from nearedge.schemas.model import Metric
from nearedge.spectra.spectrum import AbsorptionUnit, FloatArray


@dataclass(frozen=True, eq=False)
class JudgedModel:
    """A model, and what it says of spectra that it has not learned.

    Parameters
    ----------
    name, element, code, head
        What it is; `element` absorbs, `code` computed the spectra.
    dataset, part
        What it is judged on.
    unit, energies
        Of the spectra; eV, shape ``(points,)``.
    labels
        Of each spectrum, such as ``mp-1234_003``.
    groups
        The material of each.
    targets, mean, std
        Shape ``(n, points)``.
    half_widths
        Of calibrated 68 and 95 % intervals, shape ``(n, points)`` each; None where not known.
    errors, distance
        Mean squared error of each spectrum and its distance to the training set, shape ``(n,)``.
    bound
        What the root of each error should stay below, shape ``(n,)``; None where not known.
    outside
        Whether the site is unlike all training sites, shape ``(n,)``.
    rows
        It learned so many.
    metrics
        Its figures, those of rows without outliers after ``curated_``.
    apart
        Figures of the spectra that are no near duplicates of training sites.
    bins
        Figures by distance.
    deciles
        Numbers of the spectra whose errors are the nine deciles.
    curve
        Figures of models trained on fewer rows; empty where none were.
    """

    name: str
    element: str
    code: str
    head: str
    dataset: str
    part: str
    unit: AbsorptionUnit
    energies: FloatArray
    labels: Sequence[str]
    groups: Sequence[str]
    targets: FloatArray
    mean: FloatArray
    std: FloatArray
    half_widths: Sequence[FloatArray] | None
    errors: FloatArray
    distance: FloatArray
    bound: FloatArray | None
    outside: NDArray[np.bool_]
    rows: int
    metrics: Mapping[str, Metric]
    apart: Mapping[str, Metric]
    bins: Sequence[DistanceBin]
    deciles: Sequence[int]
    curve: Sequence[LearningPoint] = ()

    @property
    def kind(self) -> str:
        """Element and code, as print has them."""
        return f"{self.element} {self.code.upper()}"

    def inside(self, half_width: FloatArray) -> float:
        """Return the share of points within `half_width` of the prediction."""
        return float(np.mean(np.abs(self.targets - self.mean) <= half_width))

    def gaussian(self, level: float) -> FloatArray:
        """Return half widths of the intervals that the standard deviation alone promises."""
        width: FloatArray = float(norm.ppf(0.5 + level / 2)) * self.std
        return width

    def rank_correlation(self) -> float | None:
        """Return Spearman's correlation of predicted with true error; None where all are alike."""
        stated = np.mean(self.std**2, axis=1) if self.bound is None else self.bound
        if np.ptp(stated) == 0 or np.ptp(self.errors) == 0:
            return None
        return float(spearmanr(stated, self.errors)[0])
