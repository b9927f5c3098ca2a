"""The kernel head: a Gaussian process on standardised features, exact or through some rows.

One block of features is served by a Laplacian kernel, several by one Matérn kernel with a length
scale for each. Where the code states its edge, spectra are moved by shares of it before they are
learned; the edge of a new site is predicted by a process of its own and the spectrum moved back.
Error bars are scaled as `nearedge.models.uncertainty.variance_bars` says.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
from pydantic import BaseModel
from safetensors import SafetensorError
from safetensors.numpy import load, save
from threadpoolctl import threadpool_limits

from nearedge.errors import ModelError
from nearedge.models.heads.base import Fitted, Head, HeadPrediction, TrainingRows
from nearedge.models.heads.kernel_options import KernelOptions
from nearedge.models.heads.kernel_training import put_back, train
from nearedge.models.heads.kernel_weights import (
    error_arrays,
    process_arrays,
    read_error,
    read_process,
)
from nearedge.models.heads.process import Process
from nearedge.models.uncertainty.variance_bars import ErrorModel
from nearedge.spectra.spectrum import FloatArray

__all__ = ["KernelHead", "KernelOptions"]

_CHUNK = 2000


@dataclass(frozen=True, eq=False)
class KernelHead:
    """A trained kernel model. Make it by `KernelHead.fit`.

    Parameters
    ----------
    center, scale
        Mean and standard deviation of the training features, shape ``(size,)`` each.
    mean
        Mean training spectrum, shape ``(points,)``.
    process
        Predicts spectra, one alignment after the other.
    edge
        Predicts how much higher in energy a spectrum lies than a usual one, in eV; None where
        spectra are not moved.
    shares
        Of that, by which spectra were moved, shape ``(alignments,)``.
    step
        Of the grid, in eV.
    error
        The scale of the error bars.
    """

    name: ClassVar[str] = "kernel"
    fine_tunes: ClassVar[bool] = False
    options: ClassVar[type[BaseModel]] = KernelOptions

    center: FloatArray
    scale: FloatArray
    mean: FloatArray
    process: Process
    edge: Process | None
    shares: FloatArray
    step: float
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
            Kernel and error bars are judged on materials left out; where there is one material
            only, on rows left out. Spectra are moved where there are at least 50 materials.
        options
            None takes the defaults.
        seed
            For the choice of rows that searches look at, and of those that speak for all.
        parent, checkpoints
            Of no use to this kind: it is solved at once. A parent is refused.

        Raises
        ------
        ModelError
            If a parent is given, or the kernel matrix cannot be solved.
        """
        if parent is not None:
            raise ModelError("A kernel model is solved at once and cannot start from another one.")
        # One thread: workers share the machine, and on a busy one a second costs as much CPU again
        # in waiting as it saves in time.
        with threadpool_limits(limits=1):
            found = train(rows, options or KernelOptions(), seed)
        head = cls(
            center=found.center,
            scale=found.scale,
            mean=found.mean,
            process=found.process,
            edge=found.edge,
            shares=found.shares,
            step=found.step,
            error=found.error,
        )
        return Fitted(head, found.left_out)

    @classmethod
    def tells_left_out(cls, options: KernelOptions | None = None) -> bool:
        """It does, in closed form."""
        return True

    @property
    def size(self) -> int:
        """Features per site that it takes."""
        return len(self.center)

    @property
    def points(self) -> int:
        """Energies that it predicts."""
        return len(self.mean)

    @property
    def length(self) -> float:
        """Of the kernel."""
        return self.process.length

    @property
    def hyperparameters(self) -> dict[str, bool | int | float | str]:
        """What the model card records."""
        return {
            "kernel": self.process.kernel,
            "length": self.process.length,
            "ridge": self.process.ridge,
            "variance_exponent": self.error.exponent,
            "alignments": "" if self.edge is None else ",".join(f"{s:g}" for s in self.shares),
            "inducing_rows": 0 if self.process.noise_factor is None else len(self.process.train),
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
        distance = self.process.distances(points)
        cross = self.process.covariance(distance)
        mean = self.process.outputs(cross)
        if self.edge is not None:
            at = self.edge.outputs(self.edge.covariance(self.edge.distances(points)))[:, 0]
            mean = put_back(mean, at, self.shares, self.step)
        std = self.error.std(self.process.variance(cross), cross)
        return np.maximum(mean, 0.0), std, self.process.nearest(distance)

    def correlation(self, features: FloatArray) -> FloatArray:
        """Return the correlation of the errors of some sites, shape ``(m, m)``.

        Equivalent sites err together, sites of different surroundings do not: what the error of an
        average over sites needs.
        """
        covariance = self.process.errors_covariance(
            np.concatenate(list(self._standardised(features)))
        )
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

    def to_bytes(self) -> bytes:
        """Return the weights as a safetensors file; the same model gives the same bytes."""
        arrays = {
            "center": self.center,
            "scale": self.scale,
            "mean": self.mean,
            **process_arrays(self.process, self.mean),
            **error_arrays(self.error),
        }
        if self.edge is not None:
            arrays |= {"shares": self.shares, "step": np.array([self.step])}
            arrays |= {f"edge_{k}": v for k, v in process_arrays(self.edge, None).items()}
            del arrays["edge_train"]  # the same rows
        return bytes(save({name: np.ascontiguousarray(array) for name, array in arrays.items()}))

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
            aligned = "shares" in arrays
            edge = {k.removeprefix("edge_"): v for k, v in arrays.items() if k[:5] == "edge_"}
            head = cls(
                center=arrays["center"],
                scale=arrays["scale"],
                mean=arrays["mean"],
                process=read_process(arrays),
                edge=read_process({**edge, "train": arrays["train"]}) if aligned else None,
                shares=arrays["shares"] if aligned else np.zeros(1),
                step=float(arrays["step"][0]) if aligned else 1.0,
                error=read_error(arrays),
            )
        except (SafetensorError, KeyError, IndexError, ValueError, TypeError) as error:
            raise ModelError(
                f"The model's weights cannot be read ({error}): the file is cut short or damaged."
            ) from None
        _check_shapes(head)
        return head


def _check_shapes(head: KernelHead) -> None:
    size, points = head.center.shape, head.mean.shape
    process, edge, error = head.process, head.edge, head.error
    rows, alignments = process.train.shape[:1], head.shares.shape
    fit = {
        "center": len(size) == 1,
        "mean": len(points) == 1,
        "scale": head.scale.shape == size,
        "train": process.train.shape == (*rows, *size) and rows > (0,),
        "shares": len(alignments) == 1 and alignments > (0,),
    }
    if all(fit.values()):
        outputs = (alignments[0] * points[0],)
        fit["spectra"] = process.fits(size, rows, outputs)
        fit["edge"] = edge is None or edge.fits(size, rows, (1,))
        fit["error"] = (error.energy_scale.shape, error.local.shape) == (points, rows)
    arrays = (head.center, head.scale, head.mean, head.shares, error.local, error.energy_scale)
    fit["numbers"] = all(bool(np.all(np.isfinite(array))) for array in arrays)
    fit["numbers"] &= head.step > 0 and process.finite and (edge is None or edge.finite)
    wrong = [name for name, fits in fit.items() if not fits]
    if wrong:
        raise ModelError(
            f"The model's weights do not fit together ({', '.join(wrong)}): the file is damaged or "
            "another program's."
        )
