"""A Gaussian process given its training rows, exactly or through some of them.

Exact: algorithm 2.1 of Rasmussen and Williams, Gaussian Processes for Machine Learning (2006).
Beyond what a matrix of all pairs allows: the deterministic training conditional (Quiñonero-Candela
and Rasmussen, J. Mach. Learn. Res. 6, 1939, 2005), in which all rows speak through a few of them,
the inducing rows; its cost grows with the number of rows instead of its cube.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy.linalg import solve_triangular

from nearedge.models.cholesky import ridged_inverse
from nearedge.models.heads.kernels import Float32Array
from nearedge.models.uncertainty.conformal import IntArray
from nearedge.models.uncertainty.residuals import Residuals, leave_group_out
from nearedge.spectra.spectrum import FloatArray

JITTER = 1e-5
"""Added to the inducing rows' own kernel matrix, whose single-precision distances round."""
_CHUNK = 2000
_TINY = 1e-12

CrossKernel = Callable[[slice], FloatArray]
"""Gives the kernel between some of the training rows and the inducing rows."""


@dataclass(frozen=True, eq=False)
class Exact:
    """All rows, all pairs of which are known.

    Parameters
    ----------
    inverse
        Of the kernel matrix with its ridge, shape ``(n, n)``.
    groups
        Row numbers of each material.
    """

    inverse: FloatArray
    groups: list[IntArray]
    noise_factor: None = None

    @classmethod
    def of(cls, kernel: FloatArray, ridge: float, groups: list[IntArray]) -> Self:
        """Prepare for any targets."""
        return cls(ridged_inverse(kernel, ridge), groups)

    def solution(self, targets: FloatArray) -> FloatArray:
        """Return what kernels to the rows are multiplied with, shape ``(n, outputs)``."""
        solution: FloatArray = self.inverse @ (targets - targets.mean(axis=0))
        return solution

    def left_out(self, targets: FloatArray) -> Residuals:
        """Return the residuals of all rows, each with its material left out."""
        return leave_group_out(self.inverse, targets, self.groups)


@dataclass(frozen=True, eq=False)
class LowRank:
    """All rows through the inducing ones.

    With ``F = K_nm L^-T``, L the factor of K_mm, it is ridge regression on the m columns of F:
    ``A = F^T F + ridge``, and leaving rows g out divides by ``1 - F_g A^-1 F_g^T``.

    Parameters
    ----------
    columns
        F, shape ``(n, m)``; in single precision, since for 50,000 rows it is the largest array.
    factor, noise_factor
        Lower Cholesky factors of K_mm and of A, shape ``(m, m)`` each. The second brings back the
        variance that inducing rows alone would not have.
    ridge
        Variance of noise.
    groups
        Row numbers of each material.
    """

    columns: Float32Array
    factor: FloatArray
    noise_factor: FloatArray
    ridge: float
    groups: list[IntArray]

    @classmethod
    def of(
        cls,
        inducing_kernel: FloatArray,
        cross: CrossKernel,
        rows: int,
        ridge: float,
        groups: list[IntArray],
    ) -> Self:
        """Prepare for any targets.

        Parameters
        ----------
        inducing_kernel
            Among the inducing rows, shape ``(m, m)``.
        cross
            The kernel between a slice of the rows and the inducing rows, shape ``(size, m)``.
        rows
            How many there are.
        """
        factor = inducing_factor(inducing_kernel)
        columns = np.empty((rows, len(factor)), dtype=np.float32)
        gram = np.diag(np.full(len(factor), ridge))
        for start in range(0, rows, _CHUNK):
            part = slice(start, min(start + _CHUNK, rows))
            found = solve_triangular(factor, cross(part).T, lower=True, check_finite=False).T
            columns[part] = found
            gram += found.T @ found
        noise_factor = np.asarray(np.linalg.cholesky(gram), dtype=np.float64)
        return cls(columns, factor, noise_factor, ridge, groups)

    def solution(self, targets: FloatArray) -> FloatArray:
        """Return what kernels to the inducing rows are multiplied with, ``(m, outputs)``."""
        weights = self._weights(targets - targets.mean(axis=0))
        solution: FloatArray = solve_triangular(
            self.factor, weights, lower=True, trans="T", check_finite=False
        )
        return solution

    def left_out(self, targets: FloatArray) -> Residuals:
        """Return the residuals of all rows, each with its material left out.

        A material that has inducing rows is predicted worse without its other rows than a new one
        is: those rows still take part and nothing holds them.
        """
        centred = targets - targets.mean(axis=0)
        weights = self._weights(centred)
        errors = np.empty_like(centred)
        variance = np.empty(len(centred))
        for block in _blocks(self.groups):
            numbers = np.concatenate(block)
            found = self.columns[numbers].astype(np.float64)
            half = solve_triangular(self.noise_factor, found.T, lower=True, check_finite=False).T
            left = centred[numbers] - found @ weights
            unseen = np.maximum(1.0 - np.einsum("ij,ij->i", found, found), 0.0)
            start = 0
            for rows in block:
                own = slice(start, start + len(rows))
                start += len(rows)
                kept = np.eye(len(rows)) - half[own] @ half[own].T
                errors[rows] = np.linalg.solve(kept, left[own])
                variance[rows] = self.ridge * np.diag(np.linalg.inv(kept)) + unseen[own]
        return Residuals(errors, np.maximum(variance, _TINY), self.groups)

    def _weights(self, centred: FloatArray) -> FloatArray:
        right = np.zeros((len(self.factor), centred.shape[1]))
        for start in range(0, len(centred), _CHUNK):
            part = slice(start, start + _CHUNK)
            right += self.columns[part].T.astype(np.float64) @ centred[part]
        half = solve_triangular(self.noise_factor, right, lower=True, check_finite=False)
        weights: FloatArray = solve_triangular(
            self.noise_factor, half, lower=True, trans="T", check_finite=False
        )
        return weights


def inducing_factor(inducing_kernel: FloatArray) -> FloatArray:
    """Return the lower Cholesky factor of the inducing rows' kernel matrix."""
    matrix = inducing_kernel.copy()
    matrix[np.diag_indices_from(matrix)] += JITTER
    return np.asarray(np.linalg.cholesky(matrix), dtype=np.float64)


def _blocks(groups: list[IntArray]) -> list[list[IntArray]]:
    """Gather groups until they hold enough rows for a matrix product."""
    blocks: list[list[IntArray]] = [[]]
    count = 0
    for rows in groups:
        if count >= _CHUNK:
            blocks.append([])
            count = 0
        blocks[-1].append(rows)
        count += len(rows)
    return blocks
