"""Elk's dielectric functions, in eV and as cross-section; and the line sum that they are."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from nearedge.codes.tables import read_table
from nearedge.errors import CodeError
from nearedge.spectra.spectrum import BOHR, HARTREE, FloatArray

LIGHT = 137.035999084
"""Speed of light in atomic units (CODATA 2018)."""
POLARISATIONS = ("11", "22", "33")
_HEADER = 28
"""Bytes before the numbers of a record: three coordinates of a k-point and a number of states."""


def epsilon_name(polarisation: str) -> str:
    """Return the name of the file that a component is in."""
    return f"EPSILON_BSE_{polarisation}.OUT"


def imaginary_part(text: str, name: str) -> FloatArray:
    """Return energy in Ha and imaginary part, shape ``(n, 2)``, of ``EPSILON_BSE_ij.OUT``.

    The file holds the real part, an empty line, and the imaginary part.

    Raises
    ------
    CodeError
        ``output_empty``, ``output_truncated``, ``output_foreign``, ``output_not_finite`` or
        ``output_not_increasing``.
    """
    if not text.strip():
        raise CodeError("output_empty", f"{name} is empty.")
    lines = text.splitlines(keepends=True)
    breaks = [index for index, line in enumerate(lines) if not line.strip()]
    if not breaks or not "".join(lines[breaks[0] :]).strip():
        raise CodeError("output_truncated", f"{name} lacks its second half, the imaginary part.")
    real = read_table("".join(lines[: breaks[0]]), name=name, columns=2)
    imaginary = read_table("".join(lines[breaks[0] + 1 :]), name=name, columns=2)
    if len(real) != len(imaginary):
        raise CodeError("output_truncated", f"{name} ends in the middle of the imaginary part.")
    if not np.array_equal(real[:, 0], imaginary[:, 0]):
        raise CodeError("output_foreign", f"{name}: its two parts have different energies.")
    return imaginary


def cross_section(energy: FloatArray, imaginary: FloatArray, volume: float) -> FloatArray:
    """Return the cross section in Å² of all absorbers in a cell.

    Parameters
    ----------
    energy
        Ha, shape ``(n,)``.
    imaginary
        Imaginary part of the dielectric function, shape ``(n,)``.
    volume
        Of the cell, in bohr³.

    Notes
    -----
    ``sigma = omega Im(eps) V / (c n)`` with a refractive index n of one, as it is for X-rays. For
    Ti in anatase, 20 eV above the edge, this is 5.2e-4 Å²; Elam's tables have a step of 4.8e-4 Å².
    """
    result: FloatArray = energy * imaginary * volume / LIGHT * BOHR**2
    return result


@dataclass(frozen=True)
class Lines:
    """The transitions of a BSE: all that a spectrum of another width needs.

    Parameters
    ----------
    energies
        Ha, shape ``(n,)``.
    strengths
        Mean over the three directions of ``|sum_k A <c|p|1s> E / (e_c - e_1s)|^2 / E``, shape
        ``(n,)``.
    prefactor
        ``8 pi / (n_kpoints V)``, in 1/bohr³.
    """

    energies: FloatArray
    strengths: FloatArray
    prefactor: float

    def imaginary(self, energy: FloatArray, half_width: float) -> FloatArray:
        """Return the imaginary part of the mean dielectric function.

        Parameters
        ----------
        energy
            Ha, shape ``(m,)``, all positive.
        half_width
            Ha, half the full width at half maximum of each line.

        Notes
        -----
        ``eps = i 4 pi sigma / (omega + i w)`` with sigma the sum of ``f / (omega - E + i w)`` and
        its antiresonant counterpart, as Elk's task 187 has it; found equal to 2e-6 of the maximum.
        """
        shifted = energy + 1j * half_width
        conductivity = np.zeros(len(energy), dtype=np.complex128)
        for line, strength in zip(self.energies, self.strengths, strict=True):
            conductivity += strength * (1 / (shifted - line) + 1 / (shifted + line))
        result: FloatArray = (1j * self.prefactor * conductivity / shifted).real
        return result

    def to_bytes(self, **more: float) -> bytes:
        """Return them as JSON, with numbers to be kept beside them."""
        content = asdict(self) | {
            "energies": [round(float(value), 8) for value in self.energies],
            "strengths": [float(f"{value:.8g}") for value in self.strengths],
            **more,
        }
        return json.dumps(content).encode()


def parse_lines(content: bytes) -> tuple[Lines, dict[str, float]]:
    """Return what `Lines.to_bytes` wrote.

    Raises
    ------
    CodeError
        ``restart_damaged``.
    """
    try:
        read = json.loads(content)
        energies = np.array(read.pop("energies"), dtype=np.float64)
        strengths = np.array(read.pop("strengths"), dtype=np.float64)
        lines = Lines(energies, strengths, float(read.pop("prefactor")))
        more = {str(name): float(value) for name, value in read.items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        raise CodeError("restart_damaged", "The stored BSE cannot be read: run it anew.") from None
    if not (energies.shape == strengths.shape and energies.ndim == 1 and energies.size):
        raise CodeError("restart_damaged", "The stored BSE is incomplete: run it anew.")
    return lines, more


def read_lines(folder: Path, kpoints: int, volume: float, fermi: float) -> Lines:
    """Return the transitions from the BSE's eigenvectors and the momentum matrix elements.

    Reads Elk's binary files ``EVBSE.OUT``, ``PMAT.OUT`` and ``EVALSV.OUT`` of a run whose k-points
    are not reduced and whose only valence state is the lowest.

    Parameters
    ----------
    kpoints
        Of the whole mesh.
    volume
        Of the cell, in bohr³.
    fermi
        Ha. States above it are conduction states.

    Raises
    ------
    ValueError
        If the files are not of such a run.
    OSError
        If one is missing.
    """
    energies, vectors = _eigenvectors((folder / "EVBSE.OUT").read_bytes())
    momenta = _records((folder / "PMAT.OUT").read_bytes(), kpoints)
    levels = _records((folder / "EVALSV.OUT").read_bytes(), kpoints)
    bands, rest = divmod(len(energies), kpoints)
    states = int(np.frombuffer(levels[0], "<i4", 1, _HEADER - 4)[0])
    if rest or len(momenta[0]) != _HEADER + 48 * states**2:
        raise ValueError("another number of k-points or states")
    amplitudes = np.zeros((len(energies), 3), dtype=np.complex128)
    for k in range(kpoints):
        level = np.frombuffer(levels[k], "<f8", states, _HEADER)
        # Fortran's order: initial state first, then final state, then direction.
        momentum = np.frombuffer(momenta[k], "<c16", 3 * states**2, _HEADER)
        from_core = momentum.reshape(3, states, states)[:, :, 0]
        first = int(np.sum(level < fermi))
        final = slice(first, first + bands)
        weights = vectors[:, k * bands : (k + 1) * bands] / (level[final] - level[0])
        amplitudes += weights @ from_core[:, final].T
    amplitudes *= energies[:, None]
    strengths: FloatArray = (np.abs(amplitudes) ** 2).mean(axis=1) / energies
    return Lines(energies, strengths, 8 * np.pi / (kpoints * volume))


def _eigenvectors(raw: bytes) -> tuple[FloatArray, np.ndarray]:
    """Return eigenvalues in Ha, ``(n,)``, and eigenvectors in rows, ``(n, n)``."""
    # Each Fortran record has its length, four bytes, before and behind it; long ones are split.
    size = int(np.frombuffer(raw, "<i4", 1, 4)[0])
    if len(raw) != 8 + 4 + 8 + 8 * size + 8 + 16 * size**2:
        raise ValueError("EVBSE.OUT has another length")
    energies = np.frombuffer(raw, "<f8", size, 16).copy()
    vectors = np.frombuffer(raw, "<c16", size**2, 24 + 8 * size).reshape(size, size)
    return energies, vectors


def _records(raw: bytes, count: int) -> list[bytes]:
    length, rest = divmod(len(raw), count)
    if rest or length < _HEADER:
        raise ValueError("a file with another number of k-points")
    return [raw[k * length : (k + 1) * length] for k in range(count)]


def in_ev(energy: float) -> float:
    """Return Hartree in eV."""
    return energy * HARTREE
