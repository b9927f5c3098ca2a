"""The kernel head: a Gaussian process with a Laplacian kernel on standardised features.

Mean and variance are those of kernel ridge regression and its Gaussian process (Rasmussen and
Williams, Gaussian Processes for Machine Learning, 2006, algorithm 2.1), one Cholesky factor for
all energies. Its error bars are scaled as `nearedge.models.heads.calibration` says.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from safetensors import SafetensorError
from safetensors.numpy import load, save
from scipy.linalg import solve_triangular
from scipy.spatial.distance import cdist
from threadpoolctl import threadpool_limits

from nearedge.errors import ModelError
from nearedge.models.heads.base import Fitted, Head, HeadPrediction, TrainingRows
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


class KernelOptions(BaseModel):
    """What a user may choose."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    length: float | None = Field(
        default=None,
        gt=0,
        description="Of the kernel. None finds it by leaving materials out where there are at "
        "least 50, and takes 33/64 of the number of features where there are fewer.",
    )
    ridge: float = Field(
        default=RIDGE,
        gt=0,
        description="Variance of noise, in units of the signal's; between 1e-3 and 2e-2 it hardly "
        "matters.",
    )


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
    options: ClassVar[type[BaseModel]] = KernelOptions

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
        rows: TrainingRows,
        options: KernelOptions | None = None,
        *,
        seed: int = 0,
        parent: Head | None = None,
        checkpoints: Path | None = None,
    ) -> Fitted[Self]:
        """Train on sites and their spectra.

        Parameters
        ----------
        rows
            Length, ridge and error bars are judged on materials left out; where there is one
            material only, on rows left out.
        options
            None takes the defaults.
        seed
            For the choice of materials that the search for the length looks at.
        parent, checkpoints
            Of no use to this kind: it is solved at once. A parent is refused.

        Raises
        ------
        ModelError
            If a parent is given, or the kernel matrix cannot be solved.
        """
        if parent is not None:
            raise ModelError("A kernel model is solved at once and cannot start from another one.")
        options = options or KernelOptions()
        center, scale = rows.features.mean(axis=0), rows.features.std(axis=0)
        scale = np.where(scale > 1e-9 * (1.0 + np.abs(center)), scale, 1.0)
        train = (rows.features - center) / scale
        groups = _left_out_groups(rows.groups)
        targets, ridge = rows.targets, options.ridge
        # One thread: workers share the machine, and on a busy one a second costs as much CPU again
        # in waiting as it saves in time.
        with threadpool_limits(limits=1):
            length = options.length or _best_length(train, targets, groups, ridge, seed)
            distances = cdist(train, train, "cityblock")
            kernel = np.exp(-distances / length)
            solution, residuals = _solve(kernel, targets, ridge, groups)
            error, left_out_std = ErrorModel.fit(residuals, kernel, targets.std(axis=0, ddof=1))
        head = cls(
            center=center,
            scale=scale,
            train=train,
            solution=solution,
            mean=targets.mean(axis=0),
            length=length,
            ridge=ridge,
            error=error,
        )
        left_out = HeadPrediction(
            np.maximum(targets - residuals.errors, 0.0),
            left_out_std,
            _nearest_of_others(distances, groups) / train.shape[1],
        )
        return Fitted(head, left_out)

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


def _nearest_of_others(distances: FloatArray, groups: list[IntArray]) -> FloatArray:
    """Return the distance of each row to the nearest row of another group, shape ``(n,)``."""
    nearest = np.empty(len(distances))
    for rows in groups:
        own = distances[rows]
        own[:, rows] = np.inf
        nearest[rows] = own.min(axis=1)
    return nearest


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
