"""What a Gaussian process misses of each material when it has not learned that material."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nearedge.models.uncertainty.conformal import IntArray, row_weights
from nearedge.spectra.spectrum import FloatArray

_TINY = 1e-12


@dataclass(frozen=True, eq=False)
class Residuals:
    """What leave-one-material-out prediction leaves over.

    Parameters
    ----------
    errors
        Target minus prediction, shape ``(n, points)``.
    variance
        The Gaussian process's variance with that material left out, shape ``(n,)``; one is the
        variance where nothing is known.
    groups
        Row numbers of each material.
    """

    errors: FloatArray
    variance: FloatArray
    groups: list[IntArray]

    @property
    def row_weights(self) -> FloatArray:
        """Weights that sum to one and give each material the same share, shape ``(n,)``."""
        return row_weights(self.groups)

    def score(self) -> float:
        """Return the mean squared error, each material counting the same."""
        return float(self.row_weights @ np.mean(self.errors**2, axis=1))


def leave_group_out(inverse: FloatArray, targets: FloatArray, groups: list[IntArray]) -> Residuals:
    """Predict every group from all others in closed form, their mean spectrum included.

    Parameters
    ----------
    inverse
        Inverse of the kernel matrix with its ridge, shape ``(n, n)``.
    targets
        Shape ``(n, points)``.
    groups
        Row numbers of each group; at least two groups.

    Notes
    -----
    With ``C = inverse[G, G]`` and targets counted from any spectrum m, the residuals of group G are
    ``C^-1 (inverse (targets - m))[G]`` and their covariance is ``C^-1``: Rasmussen and Williams,
    Gaussian Processes for Machine Learning (2006), section 5.4.2, for blocks instead of single
    rows. A model trained without G takes for m the mean of the other rows; with the mean of all,
    G would help to predict itself, by half of the error where there are two rows.
    """
    mean = targets.mean(axis=0)
    solution = inverse @ (targets - mean)
    of_constant = inverse.sum(axis=1)
    errors = np.empty_like(targets)
    variance = np.empty(len(targets))
    for rows in groups:
        covariance = np.linalg.inv(inverse[np.ix_(rows, rows)])
        share = len(rows) / (len(targets) - len(rows))
        moved = share * (targets[rows].mean(axis=0) - mean)
        errors[rows] = covariance @ (solution[rows] + of_constant[rows][:, None] * moved)
        variance[rows] = np.diag(covariance)
    return Residuals(errors, np.maximum(variance, _TINY), groups)
