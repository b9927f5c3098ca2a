"""Spectra of other people: XDI, or two columns of text."""

from __future__ import annotations

import numpy as np

from nearedge.errors import SpectrumError
from nearedge.schemas.xdi import from_xdi
from nearedge.spectra.spectrum import AbsorptionUnit, Spectrum

LEAST_POINTS = 10
"""Fewer are no spectrum."""


def read_spectrum_text(text: str) -> Spectrum:
    """Return the spectrum that a text holds.

    Parameters
    ----------
    text
        XDI, or energies in eV and absorption on a scale of its own in two columns, separated by
        blanks, tabs, commas or semicolons; what follows a ``#`` is a comment. Rows may be in any
        order; of rows at one energy the mean is taken, as measured points often are repeated.

    Raises
    ------
    SpectrumError
        If it is neither, or no spectrum.
    """
    if text.removeprefix("\ufeff").lstrip().upper().startswith("# XDI/"):
        return from_xdi(text).to_spectrum()
    rows = []
    for number, line in enumerate(text.removeprefix("\ufeff").splitlines(), start=1):
        words = line.partition("#")[0].replace(",", " ").replace(";", " ").split()
        if words:
            rows.append(_row(words, number))
    if len(rows) < LEAST_POINTS:
        raise SpectrumError(
            f"it holds {len(rows)} rows of two numbers, and a spectrum has {LEAST_POINTS} at least."
        )
    table = np.array(rows)
    energy, inverse = np.unique(table[:, 0], return_inverse=True)
    sums = np.bincount(inverse, weights=table[:, 1])
    return Spectrum(energy, sums / np.bincount(inverse), AbsorptionUnit.ARBITRARY)


def _row(words: list[str], number: int) -> tuple[float, float]:
    if len(words) != 2:
        raise SpectrumError(
            f"line {number} is not two columns but {len(words)}: leave energy (eV) and absorption, "
            "and put # before titles."
        )
    try:
        energy, absorption = float(words[0]), float(words[1])
    except ValueError:
        raise SpectrumError(
            f"line {number} is not two numbers: {' '.join(words)[:60]!r}; put # before titles."
        ) from None
    if not (np.isfinite(energy) and np.isfinite(absorption)):
        raise SpectrumError(f"line {number} is not finite.")
    return energy, absorption
