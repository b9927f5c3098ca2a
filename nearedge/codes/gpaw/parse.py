"""Read ``sticks.txt``, mistrusting it, and make a spectrum of its states."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from nearedge.codes.gpaw.runner_files import PLAN, STICKS
from nearedge.errors import CodeError, SpectrumError
from nearedge.spectra.spectrum import BOHR, FINE_STRUCTURE, AbsorptionUnit, FloatArray, Spectrum

_END = re.compile(r"# end (\d+)$")
_COLUMNS = 5
_BLOCK = 4_000_000


class Plan(BaseModel):
    """``spectrum.json``: grid in eV from the Fermi level, Lorentzian width in eV, and the edge."""

    model_config = ConfigDict(extra="forbid")

    absorber: str
    edge: str
    edge_energy: float = Field(gt=0)
    lorentzian_width: float = Field(gt=0)
    e_min: float
    e_max: float
    e_step: float = Field(gt=0)


class Header(BaseModel):
    """First line of ``sticks.txt``; energies in eV on GPAW's own axis."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    gpaw: str
    input: str = Field(description="SHA-256 of the gpaw.json that was computed.")
    fermi_energy: float
    total_energy: float = Field(description="Of all electrons, with the core hole.")
    ground_energy: float | None = Field(description="Without it; None where it was not asked for.")
    scf_iterations: int
    irreducible_k_points: int
    bands: int
    plane_waves: int
    complete_to: float
    cpu_seconds: float

    @property
    def edge(self) -> float | None:
        """The Fermi level on the axis of photon energies, in eV, or None.

        A transition takes the energy to remove the core electron plus that of the state that the
        electron goes to, on one axis of the potential: delta Kohn-Sham, as in GPAW's manual.
        """
        if self.ground_energy is None:
            return None
        return self.total_energy - self.ground_energy + self.fermi_energy


@dataclass(frozen=True)
class Sticks:
    """Empty states.

    Parameters
    ----------
    header
        What was computed.
    energy
        eV on GPAW's own axis, ascending, shape ``(n,)``.
    emptiness
        Share of the state that an electron may take, shape ``(n,)``.
    strengths
        Squared radial matrix elements of the position along x, y and z in bohr², with the k-point's
        weight, for one spin, shape ``(n, 3)``.
    """

    header: Header
    energy: FloatArray
    emptiness: FloatArray
    strengths: FloatArray


def parse_plan(text: str) -> Plan:
    """Read ``spectrum.json``.

    Raises
    ------
    CodeError
        ``output_foreign``.
    """
    try:
        return Plan.model_validate_json(text)
    except ValidationError as error:
        raise CodeError(
            "output_foreign", f"{PLAN} is damaged: {error.errors()[0]['msg']}."
        ) from None


def parse_sticks(text: str) -> Sticks:
    """Read ``sticks.txt``.

    Raises
    ------
    CodeError
        ``output_empty``, ``output_foreign``, ``output_truncated``, ``missing_polarisation``,
        ``output_not_finite``.
    """
    lines = text.strip().splitlines()
    if not lines:
        raise CodeError("output_empty", f"{STICKS} is empty.")
    try:
        header = Header.model_validate_json(lines[0].removeprefix("#"))
    except ValidationError:
        raise CodeError(
            "output_foreign", f"{STICKS} does not begin as what run_gpaw.py writes."
        ) from None
    end = _END.match(lines[-1])
    rows = [line.split() for line in lines[1:] if not line.startswith("#")]
    if end is None or int(end.group(1)) != len(rows):
        raise CodeError("output_truncated", f"{STICKS} is cut short after {len(rows)} states.")
    if any(len(row) != _COLUMNS for row in rows):
        raise CodeError(
            "missing_polarisation",
            f"{STICKS} has not three polarisations for every state.",
        )
    try:
        values = np.array(rows, dtype=np.float64).reshape(-1, _COLUMNS)
    except ValueError:
        raise CodeError("output_not_finite", f"{STICKS} holds what is no number.") from None
    if not np.all(np.isfinite(values)):
        raise CodeError("output_not_finite", f"{STICKS} holds what is no finite number.")
    energy, emptiness, strengths = values[:, 0], values[:, 1], values[:, 2:]
    if np.any(strengths < 0) or np.any((emptiness < 0) | (emptiness > 1)):
        raise CodeError("output_foreign", f"{STICKS} has negative strengths or fillings.")
    return Sticks(header, energy, emptiness, strengths)


def site_spectrum(sticks: Sticks, plan: Plan) -> Spectrum:
    """Return the isotropic cross section in Å² per absorber, energies in eV.

    They are photon energies where the run had a ground state to compare with, and else counted from
    the Fermi level.

    The golden rule in the length form, ``4 π² α ħω Σ |<f|ε·r|1s>|² δ``, for both spins, averaged
    over the three polarisations; the angular part of an s to p transition is 1/3. The photon energy
    is the tabulated edge energy plus that above the Fermi level. Every transition is a Lorentzian.

    Raises
    ------
    CodeError
        ``too_few_bands``, ``output_implausible``.
    """
    header = sticks.header
    reached = header.complete_to - header.fermi_energy
    if reached < plan.e_max:
        raise CodeError(
            "too_few_bands",
            f"The {header.bands} bands reach {reached:.1f} eV above the Fermi level, not the "
            f"{plan.e_max:g} eV asked for: raise bands_factor, or lower e_max.",
        )
    points = int(np.floor((plan.e_max - plan.e_min) / plan.e_step + 1e-6)) + 1
    energy: FloatArray = plan.e_min + plan.e_step * np.arange(points, dtype=np.float64)
    weights: FloatArray = sticks.emptiness * sticks.strengths.sum(axis=1) / 9
    summed = _lorentzians(
        energy, sticks.energy - header.fermi_energy, weights, plan.lorentzian_width
    )
    photon = plan.edge_energy + energy
    section = 4 * np.pi**2 * FINE_STRUCTURE * photon * 2 * summed * BOHR**2
    try:
        spectrum = Spectrum(
            (energy + (header.edge or 0.0)).round(6), section, AbsorptionUnit.ANGSTROM2
        )
    except SpectrumError as error:
        raise CodeError("output_implausible", str(error)) from None
    if not np.any(weights > 0):
        raise CodeError("output_implausible", f"{STICKS} has no transition at all.")
    return spectrum


def polarised(sticks: Sticks) -> FloatArray:
    """Return the shares of x, y and z in all transitions, shape ``(3,)``."""
    total: FloatArray = sticks.emptiness @ sticks.strengths
    share: FloatArray = total / total.sum()
    return share


def _lorentzians(
    energy: FloatArray, centres: FloatArray, weights: FloatArray, width: float
) -> FloatArray:
    """Return the sum of Lorentzians of full width `width` at `energy`, shape ``(n,)``."""
    half = width / 2
    total = np.empty_like(energy)
    rows = max(1, _BLOCK // max(1, len(centres)))
    for start in range(0, len(energy), rows):
        offsets = energy[start : start + rows, None] - centres[None, :]
        total[start : start + rows] = (half / np.pi / (offsets**2 + half**2)) @ weights
    return total
