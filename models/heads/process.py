"""A trained Gaussian process on standardised features: one metric, one kernel, some outputs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.linalg import solve_triangular

from nearedge.models.heads.kernels import (
    KernelName,
    Points,
    covariance,
    distances,
)
from nearedge.models.heads.posterior import inducing_factor
from nearedge.spectra.spectrum import FloatArray


@dataclass(frozen=True, eq=False)
class Process:
    """A Gaussian process.

    Parameters
    ----------
    kernel
        Its name.
    train
        Standardised features of the inducing rows, which are all training rows unless they are too
        many, shape ``(m, size)``.
    factors
        What standardised features are multiplied with before distances are taken, shape
        ``(size,)``.
    length
        Distances are counted in it.
    ridge
        Variance of noise, in units of the signal's.
    solution
        What kernels to the inducing rows are multiplied with, shape ``(m, outputs)``.
    mean
        Of the outputs over the training rows, shape ``(outputs,)``.
    noise_factor
        See `nearedge.models.heads.posterior.Posterior`.
    """

    kernel: KernelName
    train: Points
    factors: FloatArray
    length: float
    ridge: float
    solution: FloatArray
    mean: FloatArray
    noise_factor: FloatArray | None = None

    def distances(self, points: FloatArray) -> FloatArray:
        """Return distances of standardised points to the inducing rows, shape ``(n, m)``."""
        return distances(self.kernel, self._scaled(points), self._inducing)

    def covariance(self, distance: FloatArray) -> FloatArray:
        """Return the covariance at distances."""
        return covariance(self.kernel, distance / self.length)

    def nearest(self, distance: FloatArray) -> FloatArray:
        """Return how far each point is from the nearest inducing row, shape ``(n,)``.

        The mean over features of their difference in standard deviations; for the Matérn kernel the
        root of the mean square, weighted as it weighs its blocks.
        """
        squares = float(np.sum(self.factors**2))
        unit = squares if self.kernel == "laplacian" else np.sqrt(squares)
        nearest: FloatArray = distance.min(axis=1) / unit
        return nearest

    def fits(self, size: tuple[int, ...], rows: tuple[int, ...], outputs: tuple[int, ...]) -> bool:
        """Tell whether all arrays are of one process with so many features, rows and outputs."""
        noise = self.noise_factor
        return (
            self.train.shape == (*rows, *size)
            and self.factors.shape == size
            and self.solution.shape == (*rows, *outputs)
            and self.mean.shape == outputs
            and (noise is None or noise.shape == (*rows, *rows))
        )

    @property
    def finite(self) -> bool:
        """Whether all numbers are finite, and length and noise positive."""
        arrays = [self.train, self.factors, self.solution, self.mean]
        if self.noise_factor is not None:
            arrays.append(self.noise_factor)
        finite = all(bool(np.all(np.isfinite(array))) for array in arrays)
        return finite and self.length > 0 and self.ridge > 0

    def outputs(self, cross: FloatArray) -> FloatArray:
        """Return the outputs expected, shape ``(n, outputs)``, from kernels ``(n, m)``."""
        outputs: FloatArray = cross @ self.solution + self.mean
        return outputs

    def variance(self, cross: FloatArray) -> FloatArray:
        """Return the variance with noise, in units of the signal's, shape ``(n,)``."""
        half, noise = self._halves(cross)
        variance: FloatArray = 1.0 + self.ridge - np.einsum("ij,ij->j", half, half)
        if noise is not None:
            variance += self.ridge * np.einsum("ij,ij->j", noise, noise)
        return variance

    def errors_covariance(self, points: FloatArray) -> FloatArray:
        """Return the covariance of the errors at standardised points, shape ``(n, n)``."""
        half, noise = self._halves(self.covariance(self.distances(points)))
        scaled = self._scaled(points)
        among = self.covariance(distances(self.kernel, scaled, scaled)) - half.T @ half
        if noise is not None:
            among += self.ridge * (noise.T @ noise)
        # The ridge keeps a training site from having no variance at all.
        among += self.ridge
        return among

    def _scaled(self, points: Points) -> Points:
        if self.kernel == "laplacian":
            return points * self.factors
        return (points * self.factors).astype(np.float32)

    @cached_property
    def _inducing(self) -> Points:
        return self._scaled(self.train)

    def _halves(self, cross: FloatArray) -> tuple[FloatArray, FloatArray | None]:
        half: FloatArray = solve_triangular(self._factor, cross.T, lower=True, check_finite=False)
        if self.noise_factor is None:
            return half, None
        return half, solve_triangular(self.noise_factor, half, lower=True, check_finite=False)

    @cached_property
    def _factor(self) -> FloatArray:
        """The Cholesky factor; made when first needed, since it is too large to keep in a file."""
        kernel = self.covariance(distances(self.kernel, self._inducing, self._inducing))
        if self.noise_factor is not None:
            return inducing_factor(kernel)
        kernel[np.diag_indices_from(kernel)] += self.ridge
        return np.asarray(np.linalg.cholesky(kernel), dtype=np.float64)
