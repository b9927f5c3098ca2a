"""Read a finished Elk run, ours (folders ``ground`` and ``core``) or a stranger's (one folder)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pymatgen.core import Element

from nearedge.codes.base import CodeResult
from nearedge.codes.elk.deck import Deck, parse_deck
from nearedge.codes.elk.dielectric import (
    POLARISATIONS,
    Lines,
    cross_section,
    epsilon_name,
    imaginary_part,
    parse_lines,
)
from nearedge.codes.elk.failures import energies_not_found, failure_in
from nearedge.codes.elk.inputs import BSE_DECK, CORE, DECK, GROUND, PLOT_DECK, SCF_DECK
from nearedge.codes.elk.levels import (
    Bands,
    check_core_level,
    last_energy,
    parse_bands,
    parse_core_level,
)
from nearedge.codes.elk.promoted import Promoted, promoted_level, untried
from nearedge.codes.outputs import output_text, text_if_there
from nearedge.codes.tables import isotropic
from nearedge.errors import CodeError, IngestError
from nearedge.schemas.calculation import Parameter
from nearedge.schemas.spectrum import Broadening, EnergyReference
from nearedge.spectra.spectrum import BOHR, HARTREE, AbsorptionUnit, FloatArray, Spectrum

LOGS = {GROUND: "elk.log", "scf": "elk_1_scf.log", "bse": "elk_2_bse.log", "plot": "elk_3_plot.log"}
RESTART = "bse_lines.json"
BELOW_EDGE = 15.0
"""eV. The spectrum starts this far below its first transition."""
_VERSION = re.compile(r"Elk (?:code )?version (\d[\d.]*\d)")
_TRANSITIONS = re.compile(r"^\s*\d+\s+(\S+)\s*$", re.MULTILINE)
_LOOP = re.compile(r"Loop number :\s+(\d+)")


@dataclass(frozen=True)
class Bse:
    """What is known of a BSE beside its spectrum, energies in Ha."""

    first: float
    last_complete: float
    core_level: float
    fermi: float
    volume: float
    absorbers: int
    atomic_number: int

    def numbers(self) -> dict[str, float]:
        """Return it by name."""
        return {name: float(value) for name, value in vars(self).items()}


def read_folder(folder: Path) -> CodeResult:
    """Read what a run left.

    Raises
    ------
    CodeError
        ``output_missing``, ``output_empty``, ``output_truncated``, ``output_not_finite``,
        ``output_foreign``, ``missing_polarisation``, ``core_level_not_found``,
        ``scf_not_converged``, or what `failure_in` names.
    """
    core = folder / CORE if (folder / CORE).is_dir() else folder
    if core != folder and not (core / epsilon_name("11")).exists() and (folder / RESTART).exists():
        deck = _parsed(output_text(core / PLOT_DECK))
        return from_lines((folder / RESTART).read_bytes(), deck)
    check_logs(folder)
    deck = read_deck(core)
    promoted = _promoted(core, deck)
    bands = checked_bands(folder, promoted)
    bse = _bse(core, deck, bands, promoted)
    width = deck.number("swidth", 0.001)
    energy, imaginary = _mean(core)
    return _result(energy, imaginary, bse, 2 * width, _version(core))


def check_logs(folder: Path) -> None:
    """Raise the failure that the logs tell of; those that are not there tell nothing.

    Raises
    ------
    CodeError, ResourceError
        See `failure_in`.
    """
    for stage, name in LOGS.items():
        path = folder / (GROUND if stage == GROUND else CORE) / name
        if path.is_file() and (failure := failure_in(output_text(path), f"Elk's stage {stage}")):
            raise failure
    info = folder / "INFO.OUT"
    if info.is_file() and "Reached self-consistent loops maximum" in output_text(info):
        raise CodeError("scf_not_converged", "INFO.OUT says that the loops ran out.")


def read_deck(core: Path) -> Deck:
    """Return the deck of the plot: ours, or the last that ran.

    Raises
    ------
    CodeError
        ``output_missing`` or ``output_foreign``.
    """
    names = (PLOT_DECK, DECK, BSE_DECK, SCF_DECK)
    path = next((core / name for name in names if (core / name).is_file()), core / DECK)
    return _parsed(output_text(path))


def checked_bands(folder: Path, promoted: Promoted) -> Bands:
    """Return the eigenvalues, after a look whether the lowest is the promoted level.

    Raises
    ------
    CodeError
        ``core_level_not_found``, ``scf_not_converged`` or ``output_*``.
    """
    core = folder / CORE if (folder / CORE).is_dir() else folder
    bands = parse_bands(output_text(core / "EIGVAL.OUT"), output_text(core / "EFERMI.OUT"))
    ground = folder / GROUND
    expected = parse_core_level(text_if_there(ground / "EVALCORE.OUT"))
    loops = [int(number) for number in _LOOP.findall(text_if_there(core / "INFO.OUT"))]
    log = text_if_there(core / LOGS["scf"])
    check_core_level(
        bands,
        promoted.level if expected is None else expected,
        energies=(
            last_energy(text_if_there(ground / "TOTENERGY.OUT")),
            last_energy(text_if_there(core / "TOTENERGY.OUT")),
        ),
        not_found=energies_not_found(log, max(loops, default=1)),
    )
    return bands


def from_lines(content: bytes, deck: Deck) -> CodeResult:
    """Make the spectrum that a deck's plot asks for from the stored transitions of its BSE.

    Raises
    ------
    CodeError
        ``restart_damaged``.
    """
    lines, numbers = parse_lines(content)
    try:
        bse = Bse(
            first=numbers["first"],
            last_complete=numbers["last_complete"],
            core_level=numbers["core_level"],
            fermi=numbers["fermi"],
            volume=numbers["volume"],
            absorbers=int(numbers["absorbers"]),
            atomic_number=int(numbers["atomic_number"]),
        )
    except KeyError:
        raise CodeError("restart_damaged", "The stored BSE is incomplete: run it anew.") from None
    points, _, _, _, top = deck.numbers("wplot", [500, 100, 0, 0, 1])
    energy: FloatArray = np.arange(1, int(points), dtype=np.float64) * (top / points)
    width = deck.number("swidth", 0.001)
    near = energy > bse.first - BELOW_EDGE / HARTREE - 2 * top / points
    energy = energy[near]
    return _result(energy, lines.imaginary(energy, width), bse, 2 * width, None)


def same_spectrum(lines: Lines, core: Path, half_width: float, first: float) -> bool:
    """Whether the stored transitions give what Elk's own plot has, to 1e-4 of its maximum."""
    energy, imaginary = _mean(core)
    near = energy > first - BELOW_EDGE / HARTREE
    if not near.any():
        return False
    again = lines.imaginary(energy[near], half_width)
    return bool(np.abs(again - imaginary[near]).max() < 1e-4 * imaginary[near].max())


def bse_of(folder: Path) -> Bse:
    """Return what is known of a run's BSE.

    Raises
    ------
    CodeError
        As `read_folder`.
    """
    core = folder / CORE if (folder / CORE).is_dir() else folder
    deck = read_deck(core)
    promoted = _promoted(core, deck)
    return _bse(core, deck, checked_bands(folder, promoted), promoted)


def _bse(core: Path, deck: Deck, bands: Bands, promoted: Promoted) -> Bse:
    text = output_text(core / "EIGVAL_BSE.OUT")
    found = [float(value) for value in _TRANSITIONS.findall(text)]
    size = int(text.split()[0]) if text.split() and text.split()[0].isdigit() else 0
    if not found or len(found) != size:
        raise CodeError("output_truncated", "EIGVAL_BSE.OUT is incomplete.")
    edge = bands.gap_top - bands.core_level
    if not np.isfinite(found).all() or abs(min(found) - edge) > 2:
        raise CodeError(
            "core_level_not_found",
            f"The BSE's first transition is at {min(found):.2f} Ha; from the 1s level to the "
            f"conduction band it would be {edge:.2f}.",
        )
    conduction = int(deck.number("ncbse", 3))
    volume = abs(float(np.linalg.det(deck.lattice))) / BOHR**3
    top = bands.complete_to(conduction) - bands.core_level
    charge = Element(promoted.element).Z
    return Bse(min(found), top, bands.core_level, bands.fermi, volume, promoted.count, charge)


def _mean(core: Path) -> tuple[FloatArray, FloatArray]:
    """Return energy in Ha and the mean of the three diagonal components."""
    there = [each for each in POLARISATIONS if (core / epsilon_name(each)).is_file()]
    if not there:
        raise CodeError("output_missing", f"{core.name} has no {epsilon_name('11')}.")
    if missing := [each for each in POLARISATIONS if each not in there]:
        raise CodeError(
            "missing_polarisation",
            f"{epsilon_name(missing[0])} is missing: the mean over directions needs all three "
            "(optcomp 1 1, 2 2 and 3 3).",
        )
    tables = {
        epsilon_name(each): imaginary_part(
            output_text(core / epsilon_name(each)), epsilon_name(each)
        )
        for each in there
    }
    return isotropic(tables)


def _result(
    energy: FloatArray, imaginary: FloatArray, bse: Bse, width: float, version: str | None
) -> CodeResult:
    """Cut the spectrum to where it is complete, and put it into eV and Å²."""
    start = bse.first - BELOW_EDGE / HARTREE
    inside = (energy > start) & (energy <= bse.last_complete)
    if inside.sum() < 20:
        raise CodeError(
            "output_truncated",
            f"The plot ends at {energy[-1] * HARTREE:.1f} eV and has {inside.sum()} points near "
            f"the edge at {bse.first * HARTREE:.1f} eV: plot again on a denser or longer grid.",
        )
    sigma = cross_section(energy, imaginary, bse.volume)[inside] / bse.absorbers
    if sigma.max() <= 0 or sigma.min() < -0.01 * sigma.max():
        raise CodeError("output_implausible", "The absorption is negative.")
    warnings = untried(Element.from_Z(bse.atomic_number).symbol)
    if (step := float(np.diff(energy[inside]).max())) > width:
        warnings.append(
            f"The energies are {step * HARTREE:.2f} eV apart, more than the lines' width of "
            f"{width * HARTREE:.2f} eV."
        )
    return CodeResult(
        spectrum=Spectrum(energy[inside] * HARTREE, sigma, AbsorptionUnit.ANGSTROM2),
        energy_reference=EnergyReference(
            kind="absolute",
            edge_energy=round(bse.first * HARTREE, 4),
            fermi_energy=round(bse.fermi * HARTREE, 4),
        ),
        broadening=[
            Broadening(
                kind="lorentzian",
                width=round(width * HARTREE, 6),
                origin="lifetime of the core hole, Elk's swidth",
            )
        ],
        results={
            "core_level": Parameter(value=round(bse.core_level * HARTREE, 4), unit="eV"),
            "first_transition": Parameter(value=round(bse.first * HARTREE, 4), unit="eV"),
            "complete_range": Parameter(
                value=round((bse.last_complete - bse.first) * HARTREE, 2), unit="eV"
            ),
        },
        warnings=warnings,
        code_version=version,
    )


def _promoted(core: Path, deck: Deck) -> Promoted:
    try:
        return promoted_level(core, deck)
    except IngestError as error:
        raise CodeError("output_foreign", f"This run cannot be used: {error}.") from None


def _parsed(text: str) -> Deck:
    try:
        return parse_deck(text)
    except IngestError as error:
        raise CodeError("output_foreign", str(error)) from None


def _version(core: Path) -> str | None:
    match = _VERSION.search(text_if_there(core / "INFO.OUT"))
    return None if match is None else match.group(1)
