"""A model and what it says of spectra that it has not learned, for pages about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nearedge.schemas.evaluation import DistanceBin, LearningPoint
from nearedge.schemas.model import Metric
from nearedge.spectra.spectrum import AbsorptionUnit, FloatArray

LEFT_OUT = "cv"
"""Name of the part that is the training rows, each predicted with its material left out."""


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
