"""The kernel head's arrays in a weights file.

Files of the first version hold a Laplacian without alignment and are read as such: what they lack
has that meaning.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearedge.models.heads.kernels import KernelName
from nearedge.models.heads.process import Process
from nearedge.models.uncertainty.variance_bars import ErrorModel
from nearedge.spectra.spectrum import FloatArray

Arrays = dict[str, NDArray[Any]]

_KERNELS: tuple[KernelName, ...] = ("laplacian", "matern32")


def process_arrays(process: Process, usual_mean: FloatArray | None) -> Arrays:
    """Return a process as named arrays.

    Parameters
    ----------
    usual_mean
        The array ``mean`` of the same file, which need not be there twice.
    """
    arrays: Arrays = {
        "train": process.train,
        "solution": process.solution,
        "length": np.array([process.length]),
        "ridge": np.array([process.ridge]),
    }
    if process.kernel != "laplacian":
        arrays["kernel"] = np.array([_KERNELS.index(process.kernel)])
        arrays["factors"] = process.factors
    if usual_mean is None or not np.array_equal(process.mean, usual_mean):
        arrays["outputs_mean"] = process.mean
    if process.noise_factor is not None:
        arrays["noise_factor"] = process.noise_factor
    return arrays


def read_process(arrays: Mapping[str, NDArray[Any]]) -> Process:
    """Read what `process_arrays` named; KeyError, IndexError or ValueError where it cannot be."""
    number = int(arrays["kernel"][0]) if "kernel" in arrays else 0
    if number < 0:
        raise IndexError("a kernel of negative number")
    size = arrays["train"].shape[-1]
    return Process(
        kernel=_KERNELS[number],
        train=arrays["train"],
        factors=arrays["factors"] if "factors" in arrays else np.ones(size),
        length=float(arrays["length"][0]),
        ridge=float(arrays["ridge"][0]),
        solution=arrays["solution"],
        mean=arrays["outputs_mean"] if "outputs_mean" in arrays else arrays["mean"],
        noise_factor=arrays.get("noise_factor"),
    )


def error_arrays(error: ErrorModel) -> Arrays:
    """Return the error bars as named arrays."""
    return {
        "error_energy_scale": error.energy_scale,
        "error_exponent": np.array([error.exponent]),
        "error_local": error.local,
    }


def read_error(arrays: Mapping[str, NDArray[Any]]) -> ErrorModel:
    """Read what `error_arrays` named; KeyError or IndexError where something lacks."""
    return ErrorModel(
        arrays["error_energy_scale"],
        float(arrays["error_exponent"][0]),
        arrays["error_local"],
    )
