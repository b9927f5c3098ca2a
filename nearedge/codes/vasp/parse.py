"""Read VASP's OUTCAR of a core-hole calculation: the dielectric function of one core level.

The section is headed ``frequency dependent IMAGINARY DIELECTRIC FUNCTION``; its columns are energy
in eV and the components xx, yy, zz, xy, yz, zx, with six decimals. The absorption is a third of the
trace. Outside the range in which it is not zero, 10 eV of zeros are kept on either side: VASP's own
range spans some hundred eV. ``CORE_DIELECTRIC_IMAG.dat`` (energy and trace, as xas-tools takes them
from OUTCAR) serves where OUTCAR lacks the section.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nearedge.codes.base import CodeResult
from nearedge.codes.outputs import find_packed, read_packed
from nearedge.codes.tables import read_table
from nearedge.codes.vasp.deck import INCAR, POSCAR, Tags, integer, number, parse_incar
from nearedge.errors import CodeError, IngestError
from nearedge.schemas.calculation import Parameter
from nearedge.schemas.spectrum import Broadening, EnergyReference
from nearedge.spectra.spectrum import AbsorptionUnit, FloatArray, Spectrum

OUTCAR = "OUTCAR"
TRACE = "CORE_DIELECTRIC_IMAG.dat"
MARGIN = 10.0
"""eV of zeros that are kept on either side of the spectrum."""
DECIMALS = 1e-6
"""The last digit that OUTCAR prints of the dielectric function."""
_FLOAT = r"([-+]?\d*\.?\d+(?:[eEdD][-+]?\d+)?)"
_HEAD = "frequency dependent IMAGINARY DIELECTRIC FUNCTION"
_END = "General timing and accounting"
_CONVERGED = "aborting loop because EDIFF is reached"
_VERSION = re.compile(r"^\s*vasp\.(\d+\.\d+\.\d+)", re.MULTILINE)
_TITLE = re.compile(r"^\s*TITEL\s*=\s*(\S.*?)\s*$", re.MULTILINE)
_EXCHANGE = re.compile(r"^\s*LEXCH\s*=\s*(\w+)", re.MULTILINE)
_IONS = re.compile(r"ions per type =\s*([\d ]+)")
_LEVEL = re.compile(r"CLNT =\s*(\d+)\s+CLN =\s*(\d+)\s+CLL\s*=\s*(\d+)\s+CLZ =\s*" + _FLOAT)
_ITERATION = re.compile(r"Iteration\s+\d+\(\s*(\d+)\)")
_NELM = re.compile(r"NELM\s*=\s*(\d+)")
_NUMBERS = {
    "fermi_energy": (re.compile(r"E-fermi\s*:\s*" + _FLOAT), "eV"),
    "core_level": (re.compile(r"ECORE=\s*" + _FLOAT), "eV"),
    "free_energy": (re.compile(r"free\s+energy\s+TOTEN\s*=\s*" + _FLOAT), "eV"),
    "energy_cutoff": (re.compile(r"ENCUT\s*=\s*" + _FLOAT), "eV"),
    "bands": (re.compile(r"NBANDS=\s*" + _FLOAT), None),
    "irreducible_k_points": (re.compile(r"NKPTS =\s*" + _FLOAT), None),
    "electrons": (re.compile(r"NELECT =\s*" + _FLOAT), None),
    "magnetisation": (
        re.compile(r"number of electron\s+\S+ magnetization\s+" + _FLOAT),
        "bohr_magneton",
    ),
}
_CPU = re.compile(r"Total CPU time used \(sec\):\s*" + _FLOAT)
_WALL = re.compile(r"Elapsed time \(sec\):\s*" + _FLOAT)


@dataclass(frozen=True)
class Outcar:
    """What an OUTCAR says; `dielectric` has columns energy (eV), xx, yy, zz, or is None."""

    version: str
    titles: tuple[str, ...]
    functional: str
    ions_per_type: tuple[int, ...]
    absorbing_type: int
    n: int
    l: int  # noqa: E741
    iterations: int
    numbers: dict[str, float]
    wall_seconds: float | None
    cpu_seconds: float | None
    dielectric: FloatArray | None

    @property
    def potentials(self) -> tuple[str, ...]:
        """The potentials' names by type, such as ``Ti_sv_GW``, from titles as ``PAW Ti_sv_GW``."""
        return tuple(title.split()[1] if " " in title else title for title in self.titles)


def parse_outcar(text: str) -> Outcar:
    """Read the text of an OUTCAR.

    Raises
    ------
    CodeError
        ``output_empty``, ``output_foreign``, ``scf_not_converged``, ``output_truncated``,
        ``not_a_core_level``, or one of `read_table`.
    """
    if not text.strip():
        raise CodeError("output_empty", "OUTCAR is empty.")
    version = _VERSION.search(text[:2000])
    if version is None:
        raise CodeError("output_foreign", "OUTCAR is not VASP's: it begins with no version.")
    iterations = [int(found) for found in _ITERATION.findall(text)]
    _check_end(text, iterations)
    level, ions = _LEVEL.search(text), _IONS.search(text)
    if level is None or ions is None:
        raise CodeError(
            "not_a_core_level", "OUTCAR is of no core-level calculation (ICORELEVEL, CH_LSPEC)."
        )
    titles = _TITLE.findall(text)
    values = {}
    for name, (pattern, _) in _NUMBERS.items():
        if found := pattern.findall(text):
            values[name] = float(found[-1].replace("D", "E"))
    return Outcar(
        version=version.group(1),
        titles=tuple(titles),
        functional=_functional(_EXCHANGE.findall(text)),
        ions_per_type=tuple(int(word) for word in ions.group(1).split()),
        absorbing_type=int(level.group(1)),
        n=int(level.group(2)),
        l=int(level.group(3)),
        iterations=iterations[-1] if iterations else 0,
        numbers=values,
        wall_seconds=_number(_WALL, text),
        cpu_seconds=_number(_CPU, text),
        dielectric=_dielectric(text),
    )


def _check_end(text: str, iterations: list[int]) -> None:
    """Make sure that the electrons converged and that VASP came to its end."""
    tail = text[-2000:]
    allowed = _NELM.search(text)
    if _CONVERGED not in text:
        if _END in text or (
            allowed is not None and iterations and iterations[-1] >= int(allowed.group(1))
        ):
            raise CodeError(
                "scf_not_converged",
                f"OUTCAR: the electrons did not converge in {iterations[-1] if iterations else 0} "
                "iterations.",
                tail,
            )
        raise CodeError("output_truncated", "OUTCAR ends before the electrons converged.", tail)
    if _END not in text:
        raise CodeError("output_truncated", "OUTCAR has no end: VASP was stopped.", tail)


def _functional(exchanges: list[str]) -> str:
    names = {"CA": "LDA", "PE": "PBE", "PS": "PBEsol", "8": "PBE", "91": "PW91"}
    kinds = {names.get(each, each) for each in exchanges if not each.isdigit() or each in names}
    return "+".join(sorted(kinds)) or "unknown"


def _dielectric(text: str) -> FloatArray | None:
    """Return energy, xx, yy, zz of the core level's section: the one at the highest energies."""
    tables = []
    start = text.find(_HEAD)
    while start >= 0:
        # Two lines of titles and dashes follow; an empty line ends the table.
        body = text[start:].split("\n", 3)[3].partition("\n\n")[0].partition("\n \n")[0] + "\n"
        tables.append(read_table(body, name=f"{OUTCAR}, {_HEAD.lower()}", columns=4))
        start = text.find(_HEAD, start + 1)
    return max(tables, key=lambda table: float(table[0, 0])) if tables else None


def read_folder(folder: Path) -> CodeResult:
    """Read what VASP left in a run's folder.

    Raises
    ------
    CodeError
        A named failure: see `parse_outcar`, and ``output_missing``, ``input_missing``,
        ``bad_input``, ``wrong_absorber``, ``wrong_edge``.
    """
    path = find_packed(folder, OUTCAR)
    if path is None:
        raise CodeError("output_missing", "VASP left no OUTCAR.")
    outcar = parse_outcar(read_packed(path))
    tags = read_incar(folder)
    try:
        _check_asked(outcar, tags)
        broadening, warnings = _broadening(tags)
    except IngestError as error:
        raise CodeError("bad_input", str(error)) from None
    energy, absorption = _spectrum(folder, outcar)
    warnings += _coarse(energy, absorption, broadening)
    fermi, core = outcar.numbers.get("fermi_energy"), outcar.numbers.get("core_level")
    return CodeResult(
        spectrum=Spectrum(energy, absorption, AbsorptionUnit.ARBITRARY),
        energy_reference=EnergyReference(
            kind="absolute",
            edge_energy=None if fermi is None or core is None else round(fermi - core, 4),
            fermi_energy=fermi,
        ),
        broadening=broadening,
        results=_results(outcar),
        warnings=warnings,
        wall_seconds=outcar.wall_seconds,
        cpu_seconds=outcar.cpu_seconds,
        code_version=outcar.version,
    )


def read_incar(folder: Path) -> Tags:
    """Return the tags of a folder's INCAR.

    Raises
    ------
    CodeError
        ``input_missing`` or ``bad_input``.
    """
    path = find_packed(folder, INCAR)
    if path is None or find_packed(folder, POSCAR) is None:
        lacking = INCAR if path is None else POSCAR
        raise CodeError("input_missing", f"There is no {lacking} beside OUTCAR: add it.")
    try:
        return parse_incar(read_packed(path))
    except IngestError as error:
        raise CodeError("bad_input", str(error)) from None


def _check_asked(outcar: Outcar, tags: Tags) -> None:
    if integer(tags, "CLNT", 1) != outcar.absorbing_type:
        raise CodeError(
            "wrong_absorber",
            f"OUTCAR is of type {outcar.absorbing_type}, {INCAR} asks for {tags.get('CLNT', 1)}.",
        )
    asked = (integer(tags, "CLN", 1), integer(tags, "CLL", 0))
    if asked != (outcar.n, outcar.l):
        raise CodeError(
            "wrong_edge",
            f"OUTCAR is of the level n = {outcar.n}, l = {outcar.l}; {INCAR} asks for {asked}.",
        )


def _spectrum(folder: Path, outcar: Outcar) -> tuple[FloatArray, FloatArray]:
    """Return energy (eV) and a third of the trace, without the zeros far away."""
    if outcar.dielectric is not None:
        energy, trace = outcar.dielectric[:, 0], outcar.dielectric[:, 1:4].sum(axis=1)
    else:
        path = find_packed(folder, TRACE)
        if path is None:
            raise CodeError(
                "output_missing", "OUTCAR has no imaginary dielectric function: was CH_LSPEC set?"
            )
        energy, trace = read_table(read_packed(path), name=TRACE, columns=2).T
    inside = np.flatnonzero(trace)
    if not len(inside) or trace.max() <= 0:
        raise CodeError("output_empty", "The imaginary dielectric function is zero everywhere.")
    first, last = energy[inside[0]] - MARGIN, energy[inside[-1]] + MARGIN
    kept = (energy >= first) & (energy <= last)
    return energy[kept], trace[kept] / 3


def _broadening(tags: Tags) -> tuple[list[Broadening], list[str]]:
    """Return CH_SIGMA as a full width: VASP's Gaussian is exp(-(E/sigma)^2)."""
    sigma, method = number(tags, "CH_SIGMA"), integer(tags, "ISMEAR", 1)
    if sigma is None:
        return [], [f"{INCAR} has no CH_SIGMA: how the spectrum is broadened is not known."]
    if method != 0:
        return [], [
            f"ISMEAR = {method}: CH_SIGMA = {sigma:g} eV broadens the spectrum by no Gaussian."
        ]
    width = round(2 * float(np.sqrt(np.log(2))) * sigma, 6)
    return [Broadening(kind="gaussian", width=width, origin="VASP CH_SIGMA")], []


def _coarse(energy: FloatArray, absorption: FloatArray, broadening: list[Broadening]) -> list[str]:
    """Return warnings of a spectrum that is printed too coarsely."""
    warnings = []
    if absorption.max() < 300 * DECIMALS:
        warnings.append(
            f"OUTCAR prints the dielectric function in steps of {DECIMALS:g}, more than 0.3 % of "
            "its maximum here."
        )
    step = float(np.max(np.diff(energy)))
    if any(each.width < step for each in broadening):
        warnings.append(
            f"The energies are {step:.3f} eV apart, farther than the broadening is wide: "
            "transitions between them are missing. Raise CH_NEDOS or CH_SIGMA."
        )
    return warnings


def _results(outcar: Outcar) -> dict[str, Parameter]:
    results = {
        "quantity": Parameter(value="imaginary part of the dielectric function"),
        "polarisations": Parameter(value=3),
        "scf_iterations": Parameter(value=outcar.iterations),
        "sites_in_cell": Parameter(value=sum(outcar.ions_per_type)),
        "potentials": Parameter(value=list(outcar.titles)),
    }
    for name, value in outcar.numbers.items():
        counted = name in {"bands", "irreducible_k_points"}
        results[name] = Parameter(value=int(value) if counted else value, unit=_NUMBERS[name][1])
    return results


def _number(pattern: re.Pattern[str], text: str) -> float | None:
    found = pattern.findall(text)
    return float(found[-1]) if found else None
