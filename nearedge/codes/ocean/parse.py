"""Read OCEAN's ``absspct_*`` files: one for each site and polarisation.

The layout is that of OCEAN 2 and 3 (`write_core` in its ``OCEAN_haydock.f90``): two comment lines,
the first with the iterations done, the half width ``gam`` in Hartree and the prefactor; then energy
in eV, the spectrum with a damping that grows with energy, ``Spect(0)`` with the constant ``gam``
alone, their Kramers-Kronig partners, and in newer versions four columns more. ``Spect(0)`` is
taken: it holds one Lorentzian of known width, and newer versions write it into both columns.

Newer versions multiply it by energy and volume for a cross section; the energies here are not
absolute, so it stays what it is, proportional to the imaginary part of the dielectric function.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pymatgen.core import Structure

from nearedge.codes.base import CodeResult
from nearedge.codes.ocean.deck import (
    DECK,
    Cards,
    deck_edges,
    deck_structure,
    numbers,
    optional_number,
    parse_cards,
    photon_weight,
)
from nearedge.codes.ocean.failures import check_scf
from nearedge.codes.outputs import find_packed, packed_input, read_packed, unpacked_name
from nearedge.codes.tables import isotropic, read_table
from nearedge.errors import CodeError, IngestError
from nearedge.schemas.calculation import Parameter
from nearedge.schemas.spectrum import Broadening, EnergyReference
from nearedge.spectra.spectrum import HARTREE, AbsorptionUnit, FloatArray, Spectrum

RESULTS = ("", "CNBSE")
"""Where OCEAN leaves its spectra, below the run's folder; people copy them up."""
_NAME = re.compile(r"absspct_([A-Z][a-z_]?)\.(\d{4})_(\d[spdf])_(\d+)(?:\.(?:gz|bz2|xz))?")
_HEADER = re.compile(r"iter=\s*(\d+)\s+gam=\s*([-+.\dEeDd]+)")
_ENERGY, _CONSTANT = 0, 2
_DAMPED = 1
_LEVELS = {"1s": (1, 0), "2s": (2, 0), "2p": (2, 1)}


@dataclass(frozen=True)
class Absspct:
    """One polarisation's spectrum.

    `table` has columns energy (eV) and ``Spect(0)``; `damped` is the column ``Spect``; `gam` is the
    half width in eV.
    """

    table: FloatArray
    damped: FloatArray
    gam: float
    iterations: int


@dataclass(frozen=True)
class SiteFiles:
    """The files of one absorbing site: its element, its number among them, its level."""

    element: str
    rank: int
    level: str
    paths: dict[int, Path]

    def site(self, structure: Structure) -> int:
        """Return the site's index: OCEAN counts the atoms of each element from 1.

        Raises
        ------
        IngestError
            If the structure has fewer.
        """
        same = [n for n, each in enumerate(structure) if each.specie.symbol == self.element]
        if self.rank > len(same):
            raise IngestError(
                f"absspct_{self.element}.{self.rank:04d} is of atom {self.rank}; {DECK} has "
                f"{len(same)} of them."
            )
        return same[self.rank - 1]


def find_site(folder: Path) -> SiteFiles:
    """Return the spectra in a run's folder, which must be of one site.

    Raises
    ------
    CodeError
        ``output_missing`` or ``several_absorbers``.
    """
    found: dict[tuple[str, int, str], dict[int, Path]] = {}
    for place in RESULTS:
        for path in sorted((folder / place).glob("absspct_*")):
            if match := _NAME.fullmatch(path.name):
                element, rank, level, photon = match.groups()
                key = (element.rstrip("_"), int(rank), level)
                found.setdefault(key, {}).setdefault(int(photon), path)
    if not found:
        raise CodeError("output_missing", "OCEAN left no absspct file: its log says why.")
    if len(found) > 1:
        names = ", ".join(f"{element}.{rank:04d}_{level}" for element, rank, level in sorted(found))
        raise CodeError(
            "several_absorbers",
            f"The folder holds the spectra of several absorbers ({names}): give each a folder of "
            "its own, with the inputs.",
        )
    ((element, rank, level), paths), *_ = found.items()
    return SiteFiles(element, rank, level, dict(sorted(paths.items())))


def parse_absspct(text: str, name: str) -> Absspct:
    """Read the text of an ``absspct`` file.

    Raises
    ------
    CodeError
        ``output_empty``, ``output_foreign``, ``output_truncated``, ``output_not_finite`` or
        ``output_not_increasing``.
    """
    if not text.strip():
        raise CodeError("output_empty", f"{name} is empty.")
    header = _HEADER.search(text.partition("\n")[0])
    if header is None:
        raise CodeError("output_foreign", f"{name} is not OCEAN's: it has no line `# iter=, gam=`.")
    gam = float(header.group(2).replace("D", "E")) * HARTREE
    columns = read_table(text, name=name, columns=3)
    return Absspct(
        table=columns[:, [_ENERGY, _CONSTANT]],
        damped=columns[:, _DAMPED],
        gam=gam,
        iterations=int(header.group(1)),
    )


def read_folder(folder: Path) -> CodeResult:
    """Read what OCEAN left in a run's folder.

    Raises
    ------
    CodeError
        A named failure; see `parse_absspct`, `find_site`, and ``missing_polarisation``,
        ``bse_not_converged``, ``scf_not_converged``, ``wrong_absorber``, ``wrong_edge``,
        ``bad_input``.
    """
    check_scf(folder)
    cards, structure = read_deck(folder)
    site = find_site(folder)
    _check_asked(site, cards, structure)
    weights = _weights(folder, site)
    spectra = {
        number: parse_absspct(read_packed(path), unpacked_name(path))
        for number, path in site.paths.items()
    }
    for number, each in spectra.items():
        _check_against(each, cards, unpacked_name(site.paths[number]))
    tables = {unpacked_name(site.paths[number]): each.table for number, each in spectra.items()}
    named = {unpacked_name(site.paths[number]): weight for number, weight in weights.items()}
    energy, absorption = isotropic(tables, named)
    _, damped = isotropic(
        {
            name: np.column_stack((each.table[:, 0], each.damped))
            for name, each in zip(tables, spectra.values(), strict=True)
        },
        named,
    )
    gam = {round(each.gam, 6) for each in spectra.values()}
    if len(gam) > 1:
        raise CodeError(
            "output_foreign", f"Polarisations are broadened differently: {sorted(gam)}."
        )
    return CodeResult(
        spectrum=Spectrum(energy, absorption, AbsorptionUnit.ARBITRARY),
        energy_reference=EnergyReference(kind="arbitrary"),
        broadening=[
            Broadening(
                kind="lorentzian",
                width=2 * gam.pop(),
                origin="OCEAN gam (cnbse.broaden), the half width",
            )
        ],
        results=_results(cards, spectra, energy, absorption, damped),
        warnings=_warnings(cards, structure, site),
        code_version=_version(folder),
    )


def read_deck(folder: Path) -> tuple[Cards, Structure]:
    """Return the cards of a folder's ``ocean.in`` and its crystal.

    Raises
    ------
    CodeError
        ``input_missing`` or ``bad_input``.
    """
    try:
        cards = parse_cards(packed_input(folder, DECK))
        return cards, deck_structure(cards)
    except (IngestError, ValueError) as error:
        raise CodeError("bad_input", str(error)) from None


def _check_asked(site: SiteFiles, cards: Cards, structure: Structure) -> None:
    """Make sure that the spectra are of a site and level that the deck asks for."""
    try:
        index = site.site(structure)
        edges = deck_edges(cards, structure)
    except IngestError as error:
        raise CodeError("wrong_absorber", str(error)) from None
    z = int(structure[index].specie.Z)
    here = [e for e in edges if e.site == index or (e.site is None and e.atomic_number == z)]
    if not here:
        raise CodeError(
            "wrong_absorber",
            f"absspct is of {site.element} {site.rank}; {DECK} asks for edges {cards['edges']}.",
        )
    if _LEVELS.get(site.level) not in {(edge.n, edge.l) for edge in here}:
        raise CodeError(
            "wrong_edge", f"absspct is of the {site.level} level; {DECK}: edges {cards['edges']}."
        )


def _weights(folder: Path, site: SiteFiles) -> dict[int, float]:
    """Return the weight of each polarisation, by the photon files; equal ones without these."""
    photons: dict[int, float] = {}
    for path in sorted(folder.glob("photon*")):
        if match := re.fullmatch(r"photon(\d+)(?:\.(?:gz|bz2|xz))?", path.name):
            photons[int(match.group(1))] = photon_weight(read_packed(path))
    wanted = sorted(photons) or [1, 2, 3]
    if missing := [number for number in wanted if number not in site.paths]:
        name = f"absspct_{site.element:_<2}.{site.rank:04d}_{site.level}_{missing[0]:02d}"
        raise CodeError("missing_polarisation", f"{name} is missing: one of {len(wanted)}.")
    if extra := sorted(set(site.paths) - set(wanted)):
        raise CodeError(
            "output_foreign", f"{site.paths[extra[0]].name} belongs to no photon file here."
        )
    weights = {number: photons.get(number, 1.0) for number in wanted}
    if not all(0 <= each < np.inf for each in weights.values()) or not any(weights.values()):
        raise CodeError("bad_input", f"The photon files have the weights {weights}.")
    return weights


def _check_against(spectrum: Absspct, cards: Cards, name: str) -> None:
    """Make sure that a spectrum is converged, and the one that the deck asks for, to its end."""
    allowed = optional_number(cards, "cnbse.niter")
    if allowed is not None and spectrum.iterations >= allowed:
        raise CodeError(
            "bse_not_converged",
            f"{name}: the Haydock recursion did not converge in {spectrum.iterations} iterations; "
            "allow more (haydock_iterations).",
        )
    width = optional_number(cards, "cnbse.broaden")
    # A width that is not positive stands for one of OCEAN's own table.
    if width is not None and width > 0 and abs(spectrum.gam - width) > 0.001 * width:
        raise CodeError(
            "output_foreign",
            f"{name} is broadened by {spectrum.gam:g} eV, {DECK} asks for {width:g} eV: it is of "
            "another calculation.",
        )
    if "cnbse.spect_range" not in cards:
        return
    try:
        points, first, last = numbers(cards, "cnbse.spect_range", 3)
    except IngestError as error:
        raise CodeError("bad_input", str(error)) from None
    start, end = spectrum.table[0, 0], spectrum.table[-1, 0]
    step = 1.5 * abs(spectrum.table[1, 0] - start)
    if points > 0 and end < last - step:
        raise CodeError("output_truncated", f"{name} ends at {end:g} eV instead of {last:g} eV.")
    if points > 0 and abs(start - first) > step:
        raise CodeError("output_foreign", f"{name} begins at {start:g} eV, not at {first:g} eV.")


def _results(
    cards: Cards,
    spectra: dict[int, Absspct],
    energy: FloatArray,
    absorption: FloatArray,
    damped: FloatArray,
) -> dict[str, Parameter]:
    results = {
        "quantity": Parameter(value="imaginary part of the dielectric function"),
        "polarisations": Parameter(value=len(spectra)),
        "haydock_iterations": Parameter(value=max(each.iterations for each in spectra.values())),
    }
    for card, name in (("nkpt", "k_mesh"), ("ngkpt", "density_k_mesh")):
        if card in cards:
            results[name] = Parameter(value=cards[card])
    if (count := optional_number(cards, "nbands")) is not None:
        # OCEAN counts conduction bands alone where the number is negative.
        results["conduction_bands" if count < 0 else "bands"] = Parameter(value=abs(int(count)))
    if (offset := optional_number(cards, "core_offset")) is not None:
        results["core_offset"] = Parameter(value=offset, unit="eV")
    differs = np.abs(damped - absorption) > 0.01 * absorption.max()
    if np.any(differs):
        start = float(energy[int(np.argmax(differs))])
        results["damping_starts"] = Parameter(value=start, unit="eV")
    return results


def _warnings(cards: Cards, structure: Structure, site: SiteFiles) -> list[str]:
    same = sum(each.specie.symbol == site.element for each in structure)
    if same > 1 and optional_number(cards, "core_offset") is None:
        return [
            "No fixed core-level shift (core_offset): the energies of inequivalent sites have no "
            "common zero."
        ]
    return []


def _version(folder: Path) -> str | None:
    """Return OCEAN's version, if its log or its own folder says it."""
    for name in ("ocean.log", "Common/Version"):
        path = find_packed(folder, name)
        if path is not None and (
            match := re.search(r"[Vv]ersion\W{0,3}v?(\d+\.\d+(?:\.\d+)*)", read_packed(path))
        ):
            return match.group(1)
    return None
