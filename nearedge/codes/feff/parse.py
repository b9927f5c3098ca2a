"""Read FEFF's ``xmu.dat``: spectrum, Fermi level, core-hole width, normalisation.

The layout is that of FEFF 9 and 10 (user's guide, "Output files"): comment lines that begin with
``#``, then six columns omega, e, k, mu, mu0, chi.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from nearedge.codes.base import CodeResult
from nearedge.codes.feff.deck import Deck
from nearedge.errors import CodeError, SpectrumError
from nearedge.schemas.calculation import Parameter
from nearedge.schemas.spectrum import Broadening, EnergyReference
from nearedge.spectra.spectrum import AbsorptionUnit, FloatArray, Spectrum

_COLUMNS = 6
_NUMBER = r"([-+]?\d*\.?\d+(?:[eEdD][-+]?\d+)?)"
_VERSION = re.compile(r"FEFF\s?(\d+(?:\.\d+)+)")
_ABSORBER = re.compile(
    r"Abs\s+Z=\s*(\d+)\s+Rmt=\s*" + _NUMBER + r"\s+Rnm=\s*" + _NUMBER + r"\s+(\w+)\s+shell"
)
_SCF = re.compile(r"POT\s+SCF\s*\d+\s+" + _NUMBER)
_FMS = re.compile(r"FMS\s+rfms=\s*" + _NUMBER)
_WIDTH = re.compile(r"Gam_ch=\s*" + _NUMBER)
_LOSS = re.compile(r"\bVi=\s*" + _NUMBER)
_FERMI = re.compile(r"Mu=\s*" + _NUMBER + r"\s*eV")
_S02 = re.compile(r"S02=\s*" + _NUMBER)
_NORMALIZATION = re.compile(r"xsedge\+\s*50, used to normalize mu\s+" + _NUMBER)


@dataclass(frozen=True)
class XmuHeader:
    """What the comment lines of ``xmu.dat`` say; energies in eV, lengths in Å."""

    version: str
    atomic_number: int
    shell: str
    core_hole_width: float
    constant_loss: float
    fermi_energy: float
    normalization: float
    muffin_tin_radius: float
    norman_radius: float
    scf_radius: float | None
    fms_radius: float | None
    s02: float | None


@dataclass(frozen=True)
class Xmu:
    """A parsed ``xmu.dat``.

    `energy` in eV and `absorption` (normalised) have shape ``(n,)``; `edge_energy` is the
    threshold in eV: the Fermi level on this axis, where FEFF's wave number k is zero. `last_k` is
    the last wave number, in 1/Å.
    """

    header: XmuHeader
    energy: FloatArray
    absorption: FloatArray
    edge_energy: float
    last_k: float

    def check_against(self, deck: Deck) -> None:
        """Make sure that this is the spectrum that `deck` asked for, to its end.

        Raises
        ------
        CodeError
            ``wrong_absorber``, ``wrong_edge`` or ``output_truncated``.
        """
        asked = deck.atomic_numbers[0]
        if self.header.atomic_number != asked:
            raise CodeError(
                "wrong_absorber",
                f"xmu.dat is of Z = {self.header.atomic_number}, not of Z = {asked}.",
            )
        if self.header.shell != deck.edge:
            raise CodeError(
                "wrong_edge", f"xmu.dat is of the {self.header.shell} shell, not of {deck.edge}."
            )
        last = deck.egrid[-1] if deck.egrid else ()
        if len(last) >= 4 and last[0].lower() == "k_grid":
            end, step = float(last[2]), float(last[3])
            if self.last_k < end - 2 * step:
                raise CodeError(
                    "output_truncated",
                    f"xmu.dat ends at k = {self.last_k:g}/Å instead of {end:g}/Å.",
                )

    def result(self) -> CodeResult:
        """Return the spectrum with everything needed to compare it with another.

        Raises
        ------
        CodeError
            If energies do not increase.
        """
        header = self.header
        try:
            spectrum = Spectrum(
                self.energy, self.absorption, AbsorptionUnit.NORMALIZED, header.normalization
            )
        except SpectrumError as error:
            raise CodeError("output_not_increasing", f"xmu.dat: {error}") from None
        return CodeResult(
            spectrum=spectrum,
            energy_reference=EnergyReference(
                kind="absolute", edge_energy=self.edge_energy, fermi_energy=header.fermi_energy
            ),
            broadening=_broadening(header),
            results=self.scalars(),
        )

    def scalars(self) -> dict[str, Parameter]:
        """Return the scalars of the header, with units."""
        header = self.header
        scalars = {
            "fermi_energy": Parameter(value=header.fermi_energy, unit="eV"),
            "edge_energy": Parameter(value=self.edge_energy, unit="eV"),
            "core_hole_width": Parameter(value=header.core_hole_width, unit="eV"),
            "normalization": Parameter(value=header.normalization, unit="angstrom^2"),
            "muffin_tin_radius": Parameter(value=header.muffin_tin_radius, unit="angstrom"),
            "norman_radius": Parameter(value=header.norman_radius, unit="angstrom"),
        }
        if header.s02 is not None:
            scalars["s02"] = Parameter(value=header.s02)
        return scalars


def _broadening(header: XmuHeader) -> list[Broadening]:
    """Return what FEFF put into the absorption; `Vi` is half a width (user's guide, EXCHANGE)."""
    origins = {
        "core-hole lifetime, FEFF Gam_ch": header.core_hole_width,
        "constant loss, FEFF Vi": 2 * header.constant_loss,
    }
    return [
        Broadening(kind="lorentzian", width=width, origin=origin)
        for origin, width in origins.items()
        if width > 0
    ]


def parse_xmu(text: str) -> Xmu:
    """Read the text of an ``xmu.dat``.

    Raises
    ------
    CodeError
        ``output_empty``, ``output_foreign`` (not an ``xmu.dat``), ``output_truncated``,
        ``output_not_finite``, ``output_not_increasing`` or ``output_implausible``.
    """
    if not text.strip():
        raise CodeError("output_empty", "xmu.dat is empty.")
    head, body = _split(text)
    header = _header(head)
    table = _table(body)
    energy, relative, mu = table[:, 0], table[:, 1], table[:, 3]
    if not np.all(np.diff(energy) > 0):
        where = int(np.argmin(np.diff(energy)))
        raise CodeError(
            "output_not_increasing",
            f"xmu.dat: energy {energy[where + 1]} eV follows {energy[where]} eV.",
        )
    _check_magnitude(mu)
    # The column e counts from the vacuum, where omega - e is; k is zero at the Fermi level, which
    # is the threshold. The median is safe from the rounding of the printed columns.
    vacuum = float(np.median(energy - relative))
    edge_energy = round(vacuum + header.fermi_energy, 4)
    return Xmu(header, energy, mu, edge_energy=edge_energy, last_k=float(table[-1, 2]))


def scf_converged(log: str, history: str) -> bool:
    """Whether the self-consistent field converged.

    Parameters
    ----------
    log
        Text of ``log1.dat``, which says "Convergence not reached" when iterations ran out.
    history
        Text of ``convergence.scf``, whose last column turns from 0 to 1 at convergence.
    """
    if "Convergence not reached" in log:
        return False
    rows = [line.split() for line in history.splitlines() if line.strip()]
    return bool(rows) and rows[-1][-1] == "1"


def _split(text: str) -> tuple[str, str]:
    """Split at the column titles, which end the comments."""
    marker = text.find("omega")
    end = text.find("\n", marker)
    if marker < 0 or not text.lstrip().startswith("#"):
        raise CodeError("output_foreign", "xmu.dat is not FEFF's: it has no line of column titles.")
    return text[:marker], "" if end < 0 else text[end + 1 :]


def _header(head: str) -> XmuHeader:
    absorber = _ABSORBER.search(head)
    version = _VERSION.search(head)
    if absorber is None or version is None:
        raise CodeError("output_foreign", "xmu.dat names no FEFF version or no absorber.")
    return XmuHeader(
        version=version.group(1),
        atomic_number=int(absorber.group(1)),
        shell=absorber.group(4),
        core_hole_width=_needed(_WIDTH, head, "the core-hole width Gam_ch"),
        constant_loss=_optional(_LOSS, head) or 0.0,
        fermi_energy=_needed(_FERMI, head, "the Fermi level Mu"),
        normalization=_needed(_NORMALIZATION, head, "the normalisation xsedge+50"),
        muffin_tin_radius=float(absorber.group(2)),
        norman_radius=float(absorber.group(3)),
        scf_radius=_optional(_SCF, head),
        fms_radius=_optional(_FMS, head),
        s02=_optional(_S02, head),
    )


def _optional(pattern: re.Pattern[str], head: str) -> float | None:
    found = pattern.search(head)
    return None if found is None else float(found.group(1).replace("D", "E"))


def _needed(pattern: re.Pattern[str], head: str, what: str) -> float:
    value = _optional(pattern, head)
    if value is None:
        raise CodeError("output_foreign", f"xmu.dat's comments lack {what}.")
    return value


def _table(body: str) -> FloatArray:
    """Return the columns, shape ``(n, 6)``."""
    words = body.split()
    if not words:
        raise CodeError("output_truncated", "xmu.dat ends after its comments.")
    # Writing stops anywhere: a last line cut inside a number still has six words, but no line end.
    if len(words) % _COLUMNS or not body.endswith("\n"):
        raise CodeError("output_truncated", "xmu.dat ends in the middle of a line.")
    try:
        table: FloatArray = np.array(words, dtype=np.float64).reshape(-1, _COLUMNS)
    except ValueError:
        overflow = next((word for word in words if "*" in word), None)
        if overflow is not None:
            raise CodeError(
                "output_not_finite", f"xmu.dat holds {overflow[:20]} where a number should be."
            ) from None
        raise CodeError("output_foreign", "xmu.dat's table holds words, not numbers.") from None
    if not np.all(np.isfinite(table)):
        row = int(np.argmin(np.all(np.isfinite(table), axis=1)))
        raise CodeError("output_not_finite", f"xmu.dat, row {row + 1} of the table is not finite.")
    if len(table) < 20:
        raise CodeError("output_truncated", f"xmu.dat has {len(table)} points only.")
    return table


def _check_magnitude(mu: FloatArray) -> None:
    """Refuse what no normalised edge looks like: far above one, below zero, or flat nothing."""
    if mu.max() > 100 or mu.max() < 0.05 or mu.min() < -0.1 * mu.max():
        raise CodeError(
            "output_implausible",
            f"xmu.dat: normalised absorption runs from {mu.min():.3g} to {mu.max():.3g}.",
        )
