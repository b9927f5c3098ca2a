"""What stated errors are worth, as shares and correlations."""

from __future__ import annotations

import numpy as np
from scipy.stats import norm, spearmanr

from nearedge.schemas.judged import JudgedModel
from nearedge.spectra.spectrum import FloatArray


def share_inside(model: JudgedModel, half_width: FloatArray) -> float:
    """Return the share of points within `half_width`, shape ``(n, points)``, of the prediction."""
    return float(np.mean(np.abs(model.targets - model.mean) <= half_width))


def gaussian_half_width(model: JudgedModel, level: float) -> FloatArray:
    """Return half widths of the intervals that the standard deviation alone promises."""
    width: FloatArray = float(norm.ppf(0.5 + level / 2)) * model.std
    return width


def rank_correlation(model: JudgedModel) -> float | None:
    """Return Spearman's correlation of predicted with true error; None where all are alike."""
    stated = np.mean(model.std**2, axis=1) if model.bound is None else model.bound
    if np.ptp(stated) == 0 or np.ptp(model.errors) == 0:
        return None
    return float(spearmanr(stated, model.errors)[0])
