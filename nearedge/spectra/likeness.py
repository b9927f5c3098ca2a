"""How alike the spectra of two successive steps are, their shift apart from their shape."""

from __future__ import annotations

from dataclasses import dataclass

from nearedge.errors import SpectrumError
from nearedge.spectra.alignment import align, overlap
from nearedge.spectra.similarity import mse
from nearedge.spectra.spectrum import FloatArray, Spectrum

SAME_MSE = 1e-12
"""Below it, a millionth of the mean, two spectra are one: codes print about seven digits."""
SAME_SHIFT = 0.005
"""eV. Half of the step that shifts are tried in."""


@dataclass(frozen=True)
class Likeness:
    """A spectrum against the one before it.

    Parameters
    ----------
    shift
        eV, to be added to the energies of the spectrum to lie on the one before.
    spearman, pearson
        Correlations at this shift.
    mse
        Mean squared difference at this shift, of spectra scaled to a mean of one.
    """

    shift: float
    spearman: float
    pearson: float
    mse: float

    @property
    def identical(self) -> bool:
        """Whether the two are the same, so that what was changed had no effect at all."""
        return self.mse < SAME_MSE and abs(self.shift) < SAME_SHIFT

    def within(self, *, spearman: float, mse: float) -> bool:
        """Return whether the two differ by less than these thresholds."""
        return self.spearman >= spearman and self.mse <= mse


def likeness(spectrum: Spectrum, before: Spectrum, *, window: float = 35.0) -> Likeness:
    """Compare a spectrum with the one before it.

    Parameters
    ----------
    spectrum, before
        Energies in eV; units of absorption may differ, both are scaled to a mean of one.
    window
        Width in eV of the compared range, counted from the onset of each; see `align`.

    Raises
    ------
    SpectrumError
        If they share less than half of the window, or one has no positive mean in it.
    """
    found = align(spectrum, before, window=window)
    _, first, second = overlap(spectrum, before, found.shift, window=window)
    return Likeness(
        shift=found.shift,
        spearman=found.spearman,
        pearson=found.pearson,
        mse=mse(_scaled(first), _scaled(second)),
    )


def _scaled(values: FloatArray) -> FloatArray:
    mean = float(values.mean())
    if mean <= 0:
        raise SpectrumError("A spectrum without a positive mean cannot be scaled to one.")
    return values / mean
