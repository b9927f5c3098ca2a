"""Read exciting's ``EPSILON_BSE*_OC11.OUT``: the macroscopic dielectric function by BSE.

One file for each component of the tensor, in the run's folder up to exciting boron and under
``EPSILON/`` since; newer ones begin with comments. Columns are energy (eV with ``tevout``, else
Hartree), real and imaginary part, and more. The absorption is the mean imaginary part of the three
diagonal components.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from nearedge.codes.base import CodeResult
from nearedge.codes.exciting.deck import DECK, Deck, parse_deck
from nearedge.codes.exciting.failures import EXCITED_STATE, GROUND_STATE, check_logs
from nearedge.codes.outputs import SUFFIXES, find_packed, packed_input, read_packed, unpacked_name
from nearedge.codes.tables import isotropic, read_table
from nearedge.errors import CodeError, IngestError
from nearedge.schemas.calculation import Parameter
from nearedge.schemas.spectrum import Broadening, EnergyReference
from nearedge.spectra.spectrum import HARTREE, AbsorptionUnit, FloatArray, Spectrum

PLACES = ("", "EPSILON")
DIAGONAL = ("11", "22", "33")
_NAME = re.compile(r"EPSILON_(BSE.*)_OC(\d\d)\.OUT")
_VERSION = re.compile(r"EXCITING\s+([A-Z][\w.-]*)(?:\s*\(([\w.-]+)\))?\s+started", re.IGNORECASE)
_HASH = re.compile(r"version hash id:\s*([0-9a-f]{7,40})")
_GAP = re.compile(r"Info\(bse\): gap:\s*([-+.\dEeDd]+)")
_TASK_COST = re.compile(r"(CPU|wall) time\s+\(cumulative\)\s*:\s*([\d.]+) sec")


def read_folder(folder: Path) -> CodeResult:
    """Read what exciting left in a run's folder.

    Raises
    ------
    CodeError
        A named failure: ``input_missing``, ``bad_input``, ``scf_not_converged``, those of
        `read_table`, ``output_missing``, ``missing_polarisation``, ``output_negative``.
    """
    deck = read_deck(folder)
    check_logs(folder)
    kind, tables = _components(folder, deck)
    energy, absorption = isotropic(tables)
    if absorption.max() <= 0 or absorption.min() < -0.01 * absorption.max():
        raise CodeError(
            "output_negative",
            f"The absorption runs from {absorption.min():.3g} to {absorption.max():.3g}: the "
            "energy window misses the edge, or the spectrum is not one of absorption.",
        )
    path = find_packed(folder, EXCITED_STATE)
    log = "" if path is None else read_packed(path)
    gap = _last_number(_GAP, log)
    cost = dict(_TASK_COST.findall(log))
    return CodeResult(
        spectrum=Spectrum(energy, absorption, AbsorptionUnit.ARBITRARY),
        energy_reference=EnergyReference(
            kind="absolute", edge_energy=None if gap is None else round(gap * HARTREE, 4)
        ),
        broadening=[
            Broadening(
                kind="lorentzian", width=deck.broadening, origin="exciting broad, the half width"
            )
        ],
        results=_results(deck, kind, folder, gap),
        warnings=_warnings(deck, absorption),
        wall_seconds=float(cost["wall"]) if "wall" in cost else None,
        cpu_seconds=float(cost["CPU"]) if "CPU" in cost else None,
        code_version=_version(folder, log),
    )


def read_deck(folder: Path) -> Deck:
    """Return a folder's ``input.xml``.

    Raises
    ------
    CodeError
        ``input_missing`` or ``bad_input``.
    """
    try:
        return parse_deck(packed_input(folder, DECK))
    except (IngestError, ValueError) as error:
        raise CodeError("bad_input", f"{error}.") from None


def _components(folder: Path, deck: Deck) -> tuple[str, dict[str, FloatArray]]:
    """Return the kind of BSE, and energy (eV) and imaginary part of each diagonal component."""
    paths: dict[str, dict[str, Path]] = {}
    for place in PLACES:
        for suffix in SUFFIXES:
            for path in sorted((folder / place).glob(f"EPSILON_BSE*.OUT{suffix}")):
                if match := _NAME.fullmatch(unpacked_name(path)):
                    paths.setdefault(match.group(1), {}).setdefault(match.group(2), path)
    if not paths:
        raise CodeError("output_missing", "exciting left no EPSILON_BSE file: its log says why.")
    if len(paths) > 1:
        raise CodeError(
            "output_foreign",
            f"The folder holds the spectra of several calculations ({', '.join(sorted(paths))}): "
            "give each a folder of its own.",
        )
    ((kind, found),) = paths.items()
    if missing := [each for each in DIAGONAL if each not in found]:
        raise CodeError(
            "missing_polarisation",
            f"EPSILON_{kind}_OC{missing[0]}.OUT is missing: one of three diagonal components.",
        )
    unit = 1.0 if deck.in_ev else HARTREE
    tables = {}
    for component in DIAGONAL:
        name = unpacked_name(found[component])
        table = read_table(read_packed(found[component]), name=name, columns=3)[:, [0, 2]]
        table[:, 0] *= unit
        _check_window(table, deck, name)
        tables[name] = table
    return kind, tables


def _check_window(table: FloatArray, deck: Deck, name: str) -> None:
    """Make sure that a spectrum is that of the window asked for, to its end."""
    try:
        first, last, points = deck.energy_window()
    except IngestError as error:
        raise CodeError("bad_input", f"{error}.") from None
    step = (last - first) / max(points - 1, 1)
    if table[-1, 0] < last - 2.5 * step:
        raise CodeError(
            "output_truncated", f"{name} ends at {table[-1, 0]:g} eV instead of {last:g} eV."
        )
    if abs(table[0, 0] - first) > 2.5 * step:
        raise CodeError(
            "output_foreign",
            f"{name} begins at {table[0, 0]:g} eV, the window of {DECK} at {first:g} eV: another "
            "calculation, or energies in another unit than tevout says.",
        )


def _results(deck: Deck, kind: str, folder: Path, gap: float | None) -> dict[str, Parameter]:
    results = {
        "quantity": Parameter(value="imaginary part of the dielectric function"),
        "polarisations": Parameter(value=len(DIAGONAL)),
        "bse": Parameter(value=kind),
    }
    for attribute, name in (("ngridk", "k_mesh"), ("nempty", "response_bands")):
        if attribute in deck.xs:
            results[name] = Parameter(value=deck.xs[attribute])
    for attribute, name in (("nstlxas", "bands"), ("nstlbse", "valence_and_conduction_bands")):
        if attribute in deck.bse:
            results[name] = Parameter(value=deck.bse[attribute])
    if gap is not None:
        results["independent_particle_gap"] = Parameter(value=gap * HARTREE, unit="eV")
    first = _first_excitation(folder, deck)
    if first is not None:
        results["first_excitation"] = Parameter(value=first, unit="eV")
    return results


def _first_excitation(folder: Path, deck: Deck) -> float | None:
    """Return the lowest excitation in eV, where exciting listed them."""
    for place in ("", "EXCITON"):
        for suffix in SUFFIXES:
            for path in sorted((folder / place).glob(f"EXCITON_BSE*_OC11.OUT{suffix}")):
                lines = read_packed(path).splitlines()
                rows = [line.split() for line in lines if line.strip() and line.lstrip()[0] != "#"]
                try:
                    return float(rows[0][1]) * (1.0 if deck.in_ev else HARTREE)
                except (IndexError, ValueError):
                    return None
    return None


def _warnings(deck: Deck, absorption: FloatArray) -> list[str]:
    warnings = []
    if not deck.names_absorber:
        warnings.append(
            "The input names no absorbing atom: the spectrum is of all atoms with that core level."
        )
    edges = max(absorption[0], absorption[-1])
    if edges > 0.5 * absorption.max():
        warnings.append("The spectrum is cut by its energy window: give a wider one.")
    return warnings


def _version(folder: Path, log: str) -> str | None:
    """Return exciting's name and, where it is printed, its git hash."""
    path = find_packed(folder, GROUND_STATE)
    for text in (log, "" if path is None else read_packed(path)):
        if match := _VERSION.search(text):
            named = " ".join(word for word in match.groups() if word).lower()
            commit = _HASH.search(text)
            return named if commit is None else f"{named} ({commit.group(1)[:8]})"
    return None


def _last_number(pattern: re.Pattern[str], text: str) -> float | None:
    found = pattern.findall(text)
    try:
        value = float(found[-1].replace("D", "E")) if found else None
    except ValueError:
        return None
    return value if value is not None and np.isfinite(value) else None
