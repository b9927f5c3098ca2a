"""A Gaussian process given its training rows, exactly or through some of them.

Exact: algorithm 2.1 of Rasmussen and Williams, Gaussian Processes for Machine Learning (2006).
Beyond what a matrix of all pairs allows: the deterministic training conditional (Quiñonero-Candela
and Rasmussen, J. Mach. Learn. Res. 6, 1939, 2005), in which all rows speak through a few of them,
the inducing rows; its cost grows with the number of rows instead of its cube.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.linalg import solve_triangular

from nearedge.models.heads.calibration import IntArray, Residuals, leave_group_out
from nearedge.models.heads.cholesky import ridged_inverse
from nearedge.models.heads.kernels import Float32Array
from nearedge.spectra.spectrum import FloatArray

JITTER = 1e-5
"""Added to the inducing rows' own kernel matrix, whose single-precision distances round."""
_CHUNK = 2000
_TINY = 1e-12

CrossKernel = Callable[[slice], FloatArray]
"""Gives the kernel between some of the training rows and the inducing rows."""


@dataclass(frozen=True, eq=False)
class Posterior:
    """What is left of the training rows.

    Parameters
    ----------
    solution
        What kernels to the inducing rows are multiplied with, shape ``(m, outputs)``.
    residuals
        Of all training rows, each with its material left out.
    noise_factor
        Lower Cholesky factor that brings back the variance that inducing rows alone would not
        have, shape ``(m, m)``; None where all rows are inducing ones.
    """

    solution: FloatArray
    residuals: Residuals
    noise_factor: FloatArray | None = None


def exact(
    kernel: FloatArray, targets: FloatArray, ridge: float, groups: list[IntArray]
) -> Posterior:
    """Return the posterior of rows with all pairs of which the kernel is known, ``(n, n)``."""
    inverse = ridged_inverse(kernel, ridge)
    solution: FloatArray = inverse @ (targets - targets.mean(axis=0))
    return Posterior(solution, leave_group_out(inverse, targets, groups))


def low_rank(
    inducing_kernel: FloatArray,
    cross: CrossKernel,
    targets: FloatArray,
    ridge: float,
    groups: list[IntArray],
) -> Posterior:
    """Return the posterior through inducing rows.

    Parameters
    ----------
    inducing_kernel
        Among the inducing rows, shape ``(m, m)``.
    cross
        The kernel between a slice of the rows and the inducing rows, shape ``(size, m)``.
    targets
        Shape ``(n, outputs)``.

    Notes
    -----
    With ``F = K_nm L^-T``, L the factor of K_mm, it is ridge regression on the m columns of F:
    ``A = F^T F + ridge``, and leaving rows g out divides by ``1 - F_g A^-1 F_g^T``.
    """
    rows, size = len(targets), len(inducing_kernel)
    factor = inducing_factor(inducing_kernel)
    centred = targets - targets.mean(axis=0)
    # Single precision: for 50,000 rows it is the largest array by far.
    columns = np.empty((rows, size), dtype=np.float32)
    gram = np.diag(np.full(size, ridge))
    for start in range(0, rows, _CHUNK):
        part = slice(start, min(start + _CHUNK, rows))
        found = solve_triangular(factor, cross(part).T, lower=True, check_finite=False).T
        columns[part] = found
        gram += found.T @ found
    right = sum(
        columns[start : start + _CHUNK].T.astype(np.float64) @ centred[start : start + _CHUNK]
        for start in range(0, rows, _CHUNK)
    )
    noise_factor = np.asarray(np.linalg.cholesky(gram), dtype=np.float64)
    half = solve_triangular(noise_factor, right, lower=True, check_finite=False)
    weights = solve_triangular(noise_factor, half, lower=True, trans="T", check_finite=False)
    residuals = _leave_out_columns(columns, noise_factor, centred, weights, ridge, groups)
    solution = solve_triangular(factor, weights, lower=True, trans="T", check_finite=False)
    return Posterior(solution, residuals, noise_factor)


def inducing_factor(inducing_kernel: FloatArray) -> FloatArray:
    """Return the lower Cholesky factor of the inducing rows' kernel matrix."""
    matrix = inducing_kernel.copy()
    matrix[np.diag_indices_from(matrix)] += JITTER
    return np.asarray(np.linalg.cholesky(matrix), dtype=np.float64)


def _leave_out_columns(
    columns: Float32Array,
    noise_factor: FloatArray,
    centred: FloatArray,
    weights: FloatArray,
    ridge: float,
    groups: list[IntArray],
) -> Residuals:
    errors = np.empty_like(centred)
    variance = np.empty(len(centred))
    for block in _blocks(groups):
        found = columns[np.concatenate(block)].astype(np.float64)
        half = solve_triangular(noise_factor, found.T, lower=True, check_finite=False).T
        left = centred[np.concatenate(block)] - found @ weights
        unseen = 1.0 - np.einsum("ij,ij->i", found, found)
        start = 0
        for rows in block:
            own = slice(start, start + len(rows))
            start += len(rows)
            kept = np.eye(len(rows)) - half[own] @ half[own].T
            errors[rows] = np.linalg.solve(kept, left[own])
            variance[rows] = ridge * np.diag(np.linalg.inv(kept)) + np.maximum(unseen[own], 0.0)
    return Residuals(errors, np.maximum(variance, _TINY), groups)


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
