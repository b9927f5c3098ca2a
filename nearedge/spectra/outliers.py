"""Spectra that lie far from all others."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nearedge.errors import SpectrumError
from nearedge.spectra.spectrum import FloatArray


def outliers(values: FloatArray, reference: Sequence[int], sigma: float) -> NDArray[np.bool_]:
    """Mark the spectra that leave the band ``mean ± sigma * standard deviation`` at any energy.

    Parameters
    ----------
    values
        Absorption on one grid, shape ``(n, points)``.
    reference
        Numbers of the rows that mean and standard deviation are taken of: those that are learned
        from, so that a mark tells nothing of the others.
    sigma
        Half the width of the band; OmniXAS (arXiv:2409.19552) has 2.5 for FEFF and 5 for VASP.

    Returns
    -------
    NDArray
        Shape ``(n,)``.

    Raises
    ------
    SpectrumError
        If there is no reference, or sigma is not positive.
    """
    if len(reference) == 0:
        raise SpectrumError("Outliers are marked by the spectra that are learned from: none is.")
    if not sigma > 0:
        raise SpectrumError(f"The band of spectra that are no outliers has a width, not {sigma}.")
    usual = values[list(reference)]
    distance = np.abs(values - usual.mean(axis=0))
    marked: NDArray[np.bool_] = np.any(distance > sigma * usual.std(axis=0), axis=1)
    return marked
