"""Covariances of a Gaussian process, and the distances that they are functions of."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from nearedge.spectra.spectrum import FloatArray

KernelName = Literal["laplacian", "matern32"]
Float32Array = NDArray[np.float32]
Points = FloatArray | Float32Array


def distances(kernel: KernelName, one: Points, other: Points) -> FloatArray:
    """Return the distances that `kernel` is a function of, shape ``(n_one, n_other)``.

    Sums of absolute differences for the Laplacian, Euclidean ones for the Matérn kernel.
    """
    if kernel == "laplacian":
        sums: FloatArray = cdist(one, other, "cityblock")
        return sums
    return np.sqrt(squared_distances(one, other)).astype(np.float64)


def squared_distances(one: Points, other: Points) -> Float32Array:
    """Return squared Euclidean distances by one matrix product, shape ``(n_one, n_other)``.

    In single precision, which is twice as fast: the Matérn kernel is flat at zero, so that the
    rounding of small distances does not show.
    """
    a, b = one.astype(np.float32, copy=False), other.astype(np.float32, copy=False)
    product: Float32Array = a @ b.T
    product *= -2
    product += np.einsum("ij,ij->i", a, a)[:, None]
    product += np.einsum("ij,ij->i", b, b)
    return np.maximum(product, 0, out=product)


def covariance(kernel: KernelName, distance: FloatArray) -> FloatArray:
    """Return the covariance at distances counted in length scales; one at zero.

    ``exp(-d)``, or the Matérn kernel of smoothness 3/2, ``(1 + sqrt(3) d) exp(-sqrt(3) d)``
    (Rasmussen and Williams, Gaussian Processes for Machine Learning, 2006, equation 4.17).
    """
    if kernel == "laplacian":
        decayed: FloatArray = np.exp(-distance)
        return decayed
    scaled = np.sqrt(3.0) * distance
    smooth: FloatArray = (1.0 + scaled) * np.exp(-scaled)
    return smooth
