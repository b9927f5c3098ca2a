"""Read what pw.x and xspectra.x leave: convergence, Fermi level, Lanczos chains, cross-sections."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from nearedge.codes.xspectra.failures import check_stopped
from nearedge.errors import CodeError
from nearedge.spectra.spectrum import FloatArray

_NUMBER = r"([-+]?\d+\.?\d*(?:[eEdD][-+]?\d+)?)"
_VERSION = re.compile(r"Program (?:PWSCF|XSpectra) v\.\s*(\S+)")
_ENERGY = re.compile(r"^!\s+total energy\s+=\s*" + _NUMBER, re.MULTILINE)
_ITERATIONS = re.compile(r"convergence has been achieved in\s+(\d+) iterations")
_SMEARED = re.compile(r"the Fermi energy is\s*" + _NUMBER)
_OCCUPIED = re.compile(r"highest occupied(?:, lowest unoccupied)? level \(ev\):\s*" + _NUMBER)
_ZERO = re.compile(r"energy-zero of the spectrum \[eV\]:\s*" + _NUMBER)
_K_POINT = re.compile(r"! k-point #\s*(\d+)")
_CONVERGED = re.compile(r"=> CONVERGED at iter\s+(\d+) with error=\s*" + _NUMBER)
_UNCONVERGED = re.compile(r"XANES not converged after\s*(\d+)\s*iterations")
_DIRECTION = re.compile(r"xepsilon\s+\[[^\]]*\]:\s*" + r"\s+".join([_NUMBER] * 3))
_WIDTH = re.compile(r"#\s*Broadening parameter \(in eV\):\s*" + _NUMBER)
_RANGE = re.compile(r"xemax \[eV\]:\s*" + _NUMBER)
_TITLE = "# Energy (eV)"
# Fortran's record of a number too long for its field.
_OVERFLOW = re.compile(r"\*{3,}")


@dataclass(frozen=True)
class Scf:
    """What pw.x found; energies in eV (the total energy in Ry)."""

    version: str
    total_energy: float
    iterations: int
    fermi_energy: float


@dataclass(frozen=True)
class Lanczos:
    """What xspectra.x says of the recursion; `iterations` has one number for each k-point."""

    iterations: tuple[int, ...]
    largest_error: float
    direction: tuple[float, ...] | None


@dataclass(frozen=True)
class Table:
    """A ``xanes.dat``: energies in eV from the zero, cross-section in bohr², shape ``(n,)``.

    `half_width` is the Lorentzian's in eV, None where it is not one number.
    """

    energy: FloatArray
    cross_section: FloatArray
    half_width: float | None


def parse_scf(text: str, name: str = "scf.out") -> Scf:
    """Read the output of pw.x.

    Raises
    ------
    CodeError
        ``output_empty``, ``output_foreign``, ``scf_not_converged``, ``fermi_level_missing``,
        ``output_truncated``, or what `check_stopped` names.
    """
    version = _version(text, name, "PWSCF")
    check_stopped(text, name, "pw")
    if "convergence NOT achieved" in text:
        raise CodeError(
            "scf_not_converged", f"The self-consistent field of pw.x did not converge ({name})."
        )
    energy, iterations = _ENERGY.search(text), _ITERATIONS.search(text)
    if energy is None or iterations is None or "JOB DONE" not in text:
        raise CodeError("output_truncated", f"{name} ends before pw.x did.")
    fermi = _SMEARED.search(text) or _OCCUPIED.search(text)
    if fermi is None:
        raise CodeError("fermi_level_missing", f"{name} states no Fermi level.")
    return Scf(version, float(energy.group(1)), int(iterations.group(1)), float(fermi.group(1)))


def parse_lanczos(text: str, name: str) -> Lanczos:
    """Read what xspectra.x printed about the recursion.

    Raises
    ------
    CodeError
        ``output_empty``, ``output_foreign``, ``output_truncated``, ``lanczos_not_converged``, or
        what `check_stopped` names.
    """
    _version(text, name, "XSpectra")
    check_stopped(text, name, "xspectra")
    if stuck := _UNCONVERGED.search(text):
        raise CodeError(
            "lanczos_not_converged",
            f"The Lanczos recursion has not converged after {stuck.group(1)} iterations ({name}): "
            "allow more lanczos_iterations, or a larger lanczos_width.",
        )
    found = _CONVERGED.findall(text)
    if not found or len(found) != len(_K_POINT.findall(text)) or "END JOB XSpectra" not in text:
        raise CodeError("output_truncated", f"{name} ends before xspectra.x did.")
    direction = _DIRECTION.search(text)
    return Lanczos(
        iterations=tuple(int(iteration) for iteration, _ in found),
        largest_error=max(_number(error) for _, error in found),
        direction=None if direction is None else tuple(float(x) for x in direction.groups()),
    )


def parse_energy_zero(text: str, name: str) -> float:
    """Return the Fermi level (eV) that xspectra.x counts energies from.

    Of an insulator it is the highest occupied level, where pw.x prints the middle of the gap.

    Raises
    ------
    CodeError
        ``output_empty``, ``output_foreign``, ``output_truncated``, ``fermi_level_missing``, or
        what `check_stopped` names.
    """
    _version(text, name, "XSpectra")
    check_stopped(text, name, "xspectra")
    if "END JOB XSpectra" not in text:
        raise CodeError("output_truncated", f"{name} ends before xspectra.x did.")
    zero = _ZERO.search(text)
    if zero is None:
        raise CodeError("fermi_level_missing", f"{name} does not say what energies count from.")
    return float(zero.group(1))


def plotted_to(text: str) -> float | None:
    """Return the last energy (eV) that was asked for, from what xspectra.x printed."""
    found = _RANGE.search(text)
    return None if found is None else float(found.group(1))


def parse_xanes(text: str, name: str, last: float | None = None) -> Table:
    """Read a ``xanes.dat``.

    Parameters
    ----------
    last
        The last energy in eV that it must have; None where it is not known.

    Raises
    ------
    CodeError
        ``output_empty``, ``output_foreign``, ``output_truncated``, ``output_not_finite``,
        ``output_not_increasing`` or ``output_implausible``.
    """
    if not text.strip():
        raise CodeError("output_empty", f"{name} is empty.")
    lines = text.splitlines()
    head = [line for line in lines if line.startswith("#")]
    if not any(line.startswith(_TITLE) for line in head):
        raise CodeError("output_foreign", f"{name} is no cross-section of xspectra.x.")
    table = _table([line for line in lines if line and not line.startswith("#")], text, name)
    energy, cross_section = table[:, 0], table[:, 1]
    if not np.all(np.diff(energy) > 0):
        where = int(np.argmin(np.diff(energy)))
        raise CodeError(
            "output_not_increasing",
            f"{name}: energy {energy[where + 1]} eV follows {energy[where]} eV.",
        )
    step = float(energy[1] - energy[0])
    if last is not None and energy[-1] < last - 1.5 * step:
        raise CodeError(
            "output_truncated", f"{name} ends at {energy[-1]:g} eV instead of {last:g} eV."
        )
    if cross_section.max() <= 0 or cross_section.min() < -0.1 * cross_section.max():
        raise CodeError(
            "output_implausible",
            f"{name}: the cross-section runs from {cross_section.min():.3g} to "
            f"{cross_section.max():.3g} bohr^2.",
        )
    width = _WIDTH.search("\n".join(head))
    return Table(energy, cross_section, None if width is None else float(width.group(1)))


def _table(rows: list[str], text: str, name: str) -> FloatArray:
    if any(_OVERFLOW.search(row) for row in rows):
        raise CodeError("output_not_finite", f"{name} holds stars where a number should be.")
    words = [row.split() for row in rows]
    widths = {len(row) for row in words}
    # A last line that was cut inside a number has its words, but no line end.
    if len(words) < 10 or len(widths) != 1 or not text.endswith("\n"):
        raise CodeError("output_truncated", f"{name} ends in the middle of its table.")
    try:
        table: FloatArray = np.array(words, dtype=np.float64)
    except ValueError:
        raise CodeError("output_foreign", f"{name} holds words where numbers should be.") from None
    if table.shape[1] not in (2, 4):
        raise CodeError("output_foreign", f"{name} has {table.shape[1]} columns.")
    if not np.all(np.isfinite(table)):
        row = int(np.argmin(np.all(np.isfinite(table), axis=1)))
        raise CodeError("output_not_finite", f"{name}, row {row + 1} of the table is not finite.")
    return table


def _version(text: str, name: str, program: str) -> str:
    if not text.strip():
        raise CodeError("output_empty", f"{name} is empty.")
    found = _VERSION.search(text)
    if found is None or f"Program {program}" not in text:
        raise CodeError("output_foreign", f"{name} is no output of {program}.")
    return found.group(1)


def _number(text: str) -> float:
    return float(text.replace("D", "E").replace("d", "e"))
