"""The site's spectrum from those of its polarisations."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nearedge.codes.base import CodeResult
from nearedge.codes.xspectra.parse import Lanczos, Scf, Table
from nearedge.errors import CodeError, SpectrumError
from nearedge.schemas.calculation import Parameter
from nearedge.schemas.spectrum import Broadening, EnergyReference
from nearedge.spectra.spectrum import BOHR, AbsorptionUnit, FloatArray, Spectrum

RYDBERG = 13.605693122994
"""eV (CODATA 2018)."""
_SAME_ENERGY = 1e-3
"""eV. The Fermi levels of the polarisations of one site agree to this."""
_ATOMS = re.compile(r"number of atoms/cell\s*=\s*(\d+)")
_CUTOFF = re.compile(r"kinetic-energy cutoff\s*=\s*([\d.]+)")
_VOLUME = re.compile(r"unit-cell volume\s*=\s*([\d.]+)")


@dataclass(frozen=True)
class Polarised:
    """One polarisation: its weight, the Fermi level (eV) it counts from, its spectrum.

    `lanczos` is None where only the spectrum was made anew and nothing says how the chain was.
    """

    weight: float
    zero: float
    table: Table
    lanczos: Lanczos | None


def assembled(scf: Scf, scf_log: str, polarised: Sequence[Polarised]) -> CodeResult:
    """Return the result of a site, without files for a restart.

    Parameters
    ----------
    scf, scf_log
        What pw.x printed, read and as it is.
    polarised
        All that the isotropic spectrum needs; weights add up to one.

    Raises
    ------
    CodeError
        ``output_foreign`` if they are not of one calculation, ``output_implausible``.
    """
    zeros = [each.zero for each in polarised]
    if max(zeros) - min(zeros) > _SAME_ENERGY:
        raise CodeError("output_foreign", f"The Fermi levels of the polarisations differ: {zeros}.")
    results = {
        "fermi_energy": Parameter(value=zeros[0], unit="eV"),
        "scf_fermi_energy": Parameter(value=scf.fermi_energy, unit="eV"),
        "total_energy": Parameter(value=scf.total_energy, unit="Ry"),
        "scf_iterations": Parameter(value=scf.iterations),
        "polarisations": Parameter(value=len(polarised)),
        **_recursions([each.lanczos for each in polarised if each.lanczos is not None]),
        **_cell(scf_log),
    }
    return CodeResult(
        spectrum=_spectrum(polarised),
        energy_reference=EnergyReference(
            kind="fermi",
            fermi_energy=zeros[0],
            cell_energy=round(scf.total_energy * RYDBERG + zeros[0], 4),
        ),
        broadening=_broadening(polarised),
        results=results,
        code_version=scf.version,
    )


def _spectrum(polarised: Sequence[Polarised]) -> Spectrum:
    energy = polarised[0].table.energy
    for each in polarised[1:]:
        other = each.table.energy
        if other.shape != energy.shape or np.abs(other - energy).max() > 1e-6:
            raise CodeError("output_foreign", "The polarisations' spectra are on different grids.")
    sigma: FloatArray = np.einsum(
        "i,ij->j",
        np.array([each.weight for each in polarised]),
        np.array([each.table.cross_section for each in polarised]),
    )
    try:
        # xspectra.x gives 4 pi^2 alpha (energy) sum |<f|n.r|i>|^2 delta, both spins, in bohr^2
        # (plot_xanes_cross_sections.f90).
        return Spectrum(energy, sigma * BOHR**2, AbsorptionUnit.ANGSTROM2)
    except SpectrumError as error:
        raise CodeError("output_implausible", str(error)) from None


def _broadening(polarised: Sequence[Polarised]) -> list[Broadening]:
    half_widths = {each.table.half_width for each in polarised}
    half_width = next(iter(half_widths))
    if len(half_widths) != 1 or half_width is None:
        raise CodeError(
            "output_foreign", "The polarisations' spectra have no constant broadening in common."
        )
    # xgamma is half the width at half maximum.
    return [Broadening(kind="lorentzian", width=2 * half_width, origin="XSpectra's xgamma")]


def _recursions(recursions: Sequence[Lanczos]) -> dict[str, Parameter]:
    if not recursions:
        return {}
    if len({len(each.iterations) for each in recursions}) != 1:
        raise CodeError("output_foreign", "The polarisations have different numbers of k-points.")
    return {
        "k_points": Parameter(value=len(recursions[0].iterations)),
        "lanczos_iterations": Parameter(value=max(max(each.iterations) for each in recursions)),
    }


def _cell(scf_log: str) -> dict[str, Parameter]:
    """Return what followed from structure and potentials: size of the cell, plane waves."""
    found: dict[str, Parameter] = {}
    if atoms := _ATOMS.search(scf_log):
        found["cell_atoms"] = Parameter(value=int(atoms.group(1)))
    if volume := _VOLUME.search(scf_log):
        value = round(float(volume.group(1)) * BOHR**3, 3)
        found["cell_volume"] = Parameter(value=value, unit="angstrom^3")
    if cutoff := _CUTOFF.search(scf_log):
        found["cutoff"] = Parameter(value=float(cutoff.group(1)), unit="Ry")
    return found
