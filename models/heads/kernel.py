"""The kernel head: a Gaussian process with a Laplacian kernel on standardised features.

Mean and variance are those of kernel ridge regression and its Gaussian process (Rasmussen and
Williams, Gaussian Processes for Machine Learning, 2006, algorithm 2.1), one Cholesky factor for
all energies. Its error bars are scaled as `nearedge.models.heads.calibration` says.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save
from scipy.linalg import solve_triangular
from scipy.spatial.distance import cdist
from threadpoolctl import threadpool_limits

from nearedge.errors import ModelError
from nearedge.models.heads.base import HeadPrediction
from nearedge.models.heads.calibration import (
    ENOUGH_MATERIALS,
    ErrorModel,
    IntArray,
    Residuals,
    leave_group_out,
)
from nearedge.models.heads.cholesky import ridged_inverse
from nearedge.spectra.spectrum import FloatArray

LENGTH_PER_FEATURE = 33.0 / 64.0
"""Of the Laplacian ``exp(-d/33)``, found best for the 64 M3GNet features of Cu sites."""
RIDGE = 4e-3
LENGTH_FACTORS = (0.5, 1.0, 2.0)
SEARCH_ROWS = 4000
"""The search for the length looks at this many rows at most; with fewer it finds longer ones."""
_CHUNK = 2000


@dataclass(frozen=True, eq=False)
class KernelHead:
    """A trained kernel model. Make it by `KernelHead.fit`.

    Parameters
    ----------
    center, scale
        Mean and standard deviation of the training features, shape ``(size,)`` each.
    train
        Standardised training features, shape ``(n, size)``.
    solution
        Dual coefficients, shape ``(n, points)``.
    mean
        Mean training spectrum, shape ``(points,)``.
    length
        Of the kernel ``exp(-d/length)``, d the sum of absolute differences.
    ridge
        Variance of noise, in units of the signal's.
    error
        The scale of the error bars.
    """

    name: ClassVar[str] = "kernel"

    center: FloatArray
    scale: FloatArray
    train: FloatArray
    solution: FloatArray
    mean: FloatArray
    length: float
    ridge: float
    error: ErrorModel

    @classmethod
    def fit(
        cls,
        features: FloatArray,
        targets: FloatArray,
        groups: Sequence[Hashable],
        *,
        length: float | None = None,
        ridge: float = RIDGE,
        seed: int = 0,
    ) -> Self:
        """Train on sites and their spectra.

        Parameters
        ----------
        features
            Shape ``(n, size)``.
        targets
            Absorption, shape ``(n, points)``.
        groups
            The material of each row. Length, ridge and error bars are judged on materials left
            out; where there is one material only, on rows left out.
        length
            Of the kernel. None finds it by leaving materials out where there are at least 50, and
            takes ``33/64 * size`` where there are fewer.
        ridge
            Variance of noise, in units of the signal's; between 1e-3 and 2e-2 it hardly matters.
        seed
            For the choice of materials that the search looks at.

        Raises
        ------
        ModelError
            If there are fewer than two rows, or numbers that are not finite.
        """
        _check_training(features, targets, groups)
        center, scale = features.mean(axis=0), features.std(axis=0)
        scale = np.where(scale > 1e-9 * (1.0 + np.abs(center)), scale, 1.0)
        train = (features - center) / scale
        rows_of = _left_out_groups(groups)
        # One thread: workers share the machine, and on a busy one a second costs as much CPU again
        # in waiting as it saves in time.
        with threadpool_limits(limits=1):
            if length is None:
                length = _best_length(train, targets, rows_of, ridge, seed)
            kernel = np.exp(-cdist(train, train, "cityblock") / length)
            solution, residuals = _solve(kernel, targets, ridge, rows_of)
            error = ErrorModel.fit(residuals, kernel, targets.std(axis=0, ddof=1))
        return cls(
            center=center,
            scale=scale,
            train=train,
            solution=solution,
            mean=targets.mean(axis=0),
            length=length,
            ridge=ridge,
            error=error,
        )

    def leave_out(self, targets: FloatArray, groups: Sequence[Hashable]) -> FloatArray:
        """Predict each training row with its material left out, shape ``(n, points)``.

        Parameters
        ----------
        targets, groups
            Those that the head was trained with.
        """
        rows_of = _left_out_groups(groups)
        kernel = np.exp(-cdist(self.train, self.train, "cityblock") / self.length)
        _, residuals = _solve(kernel, targets, self.ridge, rows_of)
        left_out: FloatArray = np.maximum(targets - residuals.errors, 0.0)
        return left_out

    @property
    def size(self) -> int:
        """Features per site that it takes."""
        return len(self.center)

    @property
    def points(self) -> int:
        """Energies that it predicts."""
        return len(self.mean)

    @property
    def hyperparameters(self) -> dict[str, bool | int | float | str]:
        """What the model card records."""
        return {
            "kernel": "laplacian",
            "length": self.length,
            "ridge": self.ridge,
            "variance_exponent": self.error.exponent,
        }

    def predict(self, features: FloatArray) -> HeadPrediction:
        """Predict spectra; negative absorption, which has no meaning, is set to zero.

        Parameters
        ----------
        features
            Shape ``(m, size)``, from the featurizer that the training features came from.
        """
        parts = [self._predict(part) for part in self._standardised(features)]
        return HeadPrediction(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))

    def _predict(self, points: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        distances = cdist(points, self.train, "cityblock")
        cross = np.exp(-distances / self.length)
        mean = np.maximum(cross @ self.solution + self.mean, 0.0)
        half = self._half(cross)
        variance = 1.0 + self.ridge - np.einsum("ij,ij->j", half, half)
        return mean, self.error.std(variance, cross), distances.min(axis=1) / points.shape[1]

    def correlation(self, features: FloatArray) -> FloatArray:
        """Return the correlation of the errors of some sites, shape ``(m, m)``.

        Equivalent sites err together, sites of different surroundings do not: what the error of an
        average over sites needs.
        """
        points = np.concatenate(list(self._standardised(features)))
        half = self._half(np.exp(-cdist(points, self.train, "cityblock") / self.length))
        covariance = np.exp(-cdist(points, points, "cityblock") / self.length) - half.T @ half
        # The ridge keeps a training site from having no variance at all.
        covariance += self.ridge
        size = np.sqrt(np.diag(covariance))
        correlation: FloatArray = np.clip(covariance / np.outer(size, size), -1.0, 1.0)
        return correlation

    def _standardised(self, features: FloatArray) -> Iterator[FloatArray]:
        if features.ndim != 2 or features.shape[1] != len(self.center):
            raise ModelError(
                f"The model takes {len(self.center)} features per site, not an array of shape "
                f"{features.shape}: use the featurizer that its card names."
            )
        if not np.all(np.isfinite(features)):
            raise ModelError("A feature is not a finite number: look at the structure.")
        for start in range(0, max(len(features), 1), _CHUNK):
            yield (features[start : start + _CHUNK] - self.center) / self.scale

    def _half(self, cross: FloatArray) -> FloatArray:
        half: FloatArray = solve_triangular(self._factor, cross.T, lower=True, check_finite=False)
        return half

    @cached_property
    def _factor(self) -> FloatArray:
        """The Cholesky factor; made when first needed, since it is too large to keep in a file."""
        kernel = np.exp(-cdist(self.train, self.train, "cityblock") / self.length)
        kernel[np.diag_indices_from(kernel)] += self.ridge
        factor: FloatArray = np.linalg.cholesky(kernel)
        return factor

    def to_bytes(self) -> bytes:
        """Return the weights as a safetensors file; the same model gives the same bytes."""
        return bytes(
            save(
                {
                    "center": self.center,
                    "scale": self.scale,
                    "train": np.ascontiguousarray(self.train),
                    "solution": np.ascontiguousarray(self.solution),
                    "mean": self.mean,
                    "length": np.array([self.length]),
                    "ridge": np.array([self.ridge]),
                    "error_energy_scale": self.error.energy_scale,
                    "error_exponent": np.array([self.error.exponent]),
                    "error_local": self.error.local,
                }
            )
        )

    @classmethod
    def from_bytes(cls, weights: bytes) -> Self:
        """Read what `to_bytes` wrote.

        Raises
        ------
        ModelError
            If it is cut short, lacks an array, or the shapes do not fit.
        """
        try:
            arrays = load(weights)
            head = cls(
                center=arrays["center"],
                scale=arrays["scale"],
                train=arrays["train"],
                solution=arrays["solution"],
                mean=arrays["mean"],
                length=float(arrays["length"][0]),
                ridge=float(arrays["ridge"][0]),
                error=ErrorModel(
                    arrays["error_energy_scale"],
                    float(arrays["error_exponent"][0]),
                    arrays["error_local"],
                ),
            )
        except (SafetensorError, KeyError, IndexError, ValueError, TypeError) as error:
            raise ModelError(
                f"The model's weights cannot be read ({error}): the file is cut short or damaged."
            ) from None
        _check_shapes(head)
        return head


def _check_training(features: FloatArray, targets: FloatArray, groups: Sequence[Hashable]) -> None:
    rows = len(features)
    if rows < 2:
        raise ModelError(
            f"A model needs at least two spectra to learn from, and the training set has {rows}: "
            "compute or ingest more."
        )
    if not rows == len(targets) == len(groups):
        raise ModelError(
            f"{rows} rows of features, {len(targets)} spectra and {len(groups)} materials do not "
            "belong together."
        )
    if not (np.all(np.isfinite(features)) and np.all(np.isfinite(targets))):
        raise ModelError("A training feature or spectrum is not a finite number.")


def _check_shapes(head: KernelHead) -> None:
    rows, size = head.train.shape if head.train.ndim == 2 else (-1, -1)
    points = head.mean.shape
    expected = {
        "center": (size,),
        "scale": (size,),
        "solution": (rows, *points),
    }
    wrong = [
        field.name
        for field in fields(head)
        if field.name in expected and getattr(head, field.name).shape != expected[field.name]
    ]
    if head.error.energy_scale.shape != points or head.error.local.shape != (rows,):
        wrong.append("error")
    arrays = (head.center, head.scale, head.train, head.solution, head.mean, head.error.local)
    finite = all(bool(np.all(np.isfinite(array))) for array in (*arrays, head.error.energy_scale))
    if wrong or rows < 1 or len(points) != 1 or not finite or not head.length > 0:
        raise ModelError(
            f"The model's weights do not fit together ({', '.join(wrong) or 'numbers'}): the file "
            "is damaged or another program's."
        )


def _left_out_groups(groups: Sequence[Hashable]) -> list[IntArray]:
    """Return the rows of each material, or single rows where there is one material only."""
    rows: dict[Hashable, list[int]] = {}
    for row, group in enumerate(groups):
        rows.setdefault(group, []).append(row)
    if len(rows) < 2:
        return [np.array([row]) for row in range(len(groups))]
    return [np.array(numbers) for numbers in rows.values()]


def _solve(
    kernel: FloatArray, targets: FloatArray, ridge: float, groups: list[IntArray]
) -> tuple[FloatArray, Residuals]:
    """Return the dual coefficients and the residuals with each group left out."""
    inverse = ridged_inverse(kernel, ridge)
    solution: FloatArray = inverse @ (targets - targets.mean(axis=0))
    return solution, leave_group_out(inverse, targets, groups)


def _best_length(
    train: FloatArray, targets: FloatArray, groups: list[IntArray], ridge: float, seed: int
) -> float:
    """Return the length that predicts materials left out best, the default where they are few."""
    default = LENGTH_PER_FEATURE * float(train.shape[1])
    if len(groups) < ENOUGH_MATERIALS:
        return default
    chosen, own_groups = _some_groups(groups, seed)
    distances = cdist(train[chosen], train[chosen], "cityblock")
    scores: dict[float, float] = {}
    for factor in LENGTH_FACTORS:
        kernel = np.exp(-distances / (factor * default))
        _, residuals = _solve(kernel, targets[chosen], ridge, own_groups)
        scores[factor * default] = residuals.score()
    best: float = min(scores, key=lambda length: scores[length])
    return best


def _some_groups(groups: list[IntArray], seed: int) -> tuple[NDArray[np.intp], list[IntArray]]:
    """Return rows of whole groups, `SEARCH_ROWS` at most, and the groups counted within them."""
    chosen: list[IntArray] = []
    own: list[IntArray] = []
    count = 0
    for number in np.random.default_rng(seed).permutation(len(groups)):
        rows = groups[number]
        if own and count + len(rows) > SEARCH_ROWS:
            continue
        chosen.append(rows)
        own.append(np.arange(count, count + len(rows)))
        count += len(rows)
    return np.concatenate(chosen), own
