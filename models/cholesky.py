"""Inverse of a kernel matrix through its Cholesky factor."""

from __future__ import annotations

import numpy as np
from scipy.linalg.lapack import dpotrf, dpotri

from nearedge.errors import ModelError
from nearedge.spectra.spectrum import FloatArray


def ridged_inverse(kernel: FloatArray, ridge: float) -> FloatArray:
    """Return the inverse of ``kernel + ridge * identity``, shape ``(n, n)``.

    LAPACK's own inverse of a factor needs a third of the work of solving for the identity.

    Raises
    ------
    ModelError
        If the matrix is not positive definite.
    """
    matrix = np.array(kernel, order="F")
    matrix[np.diag_indices_from(matrix)] += ridge
    factor, failed = dpotrf(matrix, lower=1, overwrite_a=1)
    if failed:
        raise ModelError(
            f"The kernel matrix is not positive definite at a ridge of {ridge:g}: choose a larger "
            "ridge."
        )
    inverse, _ = dpotri(factor, lower=1, overwrite_c=1)
    lower = np.tril(inverse)
    symmetric: FloatArray = lower + np.tril(lower, -1).T
    return symmetric
