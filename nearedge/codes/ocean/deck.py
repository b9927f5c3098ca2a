"""Read ``ocean.in`` and the photon files, in the names of OCEAN 2 and of OCEAN 3."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from pymatgen.core import Element, Lattice, Structure

from nearedge.codes.site import QUANTUM_NUMBERS
from nearedge.errors import IngestError
from nearedge.schemas.calculation import Parameter
from nearedge.spectra.spectrum import BOHR, FloatArray

DECK = "ocean.in"
DEFAULT_BROADENING = 0.1
"""eV, half width: what OCEAN takes where no cnbse.broaden is given (Common/oparse.h)."""

# OCEAN 3's name of what OCEAN 2 calls otherwise (the table in its Common/legacyBuildJSON.pl).
_OLD_NAMES = {
    "calc.edges": "edges",
    "bse.core.screen_radius": "cnbse.rad",
    "bse.core.broaden": "cnbse.broaden",
    "bse.core.plot.range": "cnbse.spect_range",
    "bse.core.haydock.niter": "cnbse.niter",
    "bse.core.haydock.converge.thresh": "haydock_convergence",
    "screen.kmesh": "screen.nkpt",
    "structure.metal": "metal",
    "bse.kmesh": "nkpt",
    "bse.nbands": "nbands",
    "psp.pp_database": "pp_database",
    "psp.ecut_quality": "ecut.quality",
}
_CARD = re.compile(r"([A-Za-z_][\w.]*)\s*\{([^{}]*)\}")
_BARE = re.compile(r"^[ \t]*([A-Za-z_][\w.]*)[ \t]+([^\s{}]+)[ \t]*$", re.MULTILINE)
_COMMENT = re.compile(r"[#!].*")

Cards = dict[str, str]
"""Value by card, white space normalised, OCEAN 2's names."""


def parse_cards(text: str) -> Cards:
    """Read the cards of an ``ocean.in``.

    Raises
    ------
    IngestError
        If it has none.
    """
    plain = "\n".join(_COMMENT.sub("", line) for line in text.splitlines())
    # One value may stand without braces: `metal .true.`.
    found = [*_CARD.findall(plain), *_BARE.findall(_CARD.sub("", plain))]
    cards = {name.lower(): " ".join(value.split()) for name, value in found}
    if not cards:
        raise IngestError(f"{DECK} has no card of the form `name {{ value }}`.")
    return {_OLD_NAMES.get(name, name): value for name, value in cards.items()}


def numbers(cards: Cards, name: str, count: int | None = None) -> list[float]:
    """Return the numbers of a card.

    Raises
    ------
    IngestError
        If the card is missing, holds something else, or not `count` of them.
    """
    if name not in cards:
        raise IngestError(f"{DECK} has no card {name}.")
    try:
        found = [float(word.lower().replace("d", "e")) for word in cards[name].split()]
    except ValueError:
        raise IngestError(f"{DECK}: {name} holds words, not numbers: {cards[name]!r}.") from None
    if not np.all(np.isfinite(found)) or (count is not None and len(found) != count):
        raise IngestError(f"{DECK}: {name} needs {count} numbers: {cards[name]!r}.")
    return found


def optional_number(cards: Cards, name: str) -> float | None:
    """Return the first number of a card, or None where there is none."""
    try:
        return numbers(cards, name)[0]
    except (IngestError, IndexError):
        return None


def deck_structure(cards: Cards) -> Structure:
    """Return the crystal, sites in the deck's order.

    Raises
    ------
    IngestError
        If its cards are missing or do not fit together.
    """
    scale = np.array(numbers(cards, "acell", 3)) * BOHR
    matrix = np.array(numbers(cards, "rprim", 9)).reshape(3, 3) * scale[:, None]
    kinds = [int(z) for z in numbers(cards, "znucl")]
    types = [int(number) for number in numbers(cards, "typat")]
    if not types or not all(1 <= number <= len(kinds) for number in types):
        raise IngestError(f"{DECK}: typat names a type that znucl does not have.")
    if not all(1 <= z <= 118 for z in kinds) or abs(np.linalg.det(matrix)) < 1e-3:
        raise IngestError(f"{DECK}: znucl or rprim describes no crystal.")
    coordinates, cartesian = _coordinates(cards, len(types))
    species = [Element.from_Z(kinds[number - 1]) for number in types]
    return Structure(Lattice(matrix), species, coordinates, coords_are_cartesian=cartesian)


def _coordinates(cards: Cards, sites: int) -> tuple[FloatArray, bool]:
    units = {"xred": (1.0, False), "xangst": (1.0, True), "xcart": (BOHR, True)}
    for name, (unit, cartesian) in units.items():
        if name in cards:
            found = np.array(numbers(cards, name, 3 * sites)).reshape(-1, 3)
            return found * unit, cartesian
    raise IngestError(f"{DECK} has no positions (xred, xangst or xcart).")


@dataclass(frozen=True)
class Edge:
    """An entry of ``edges``: a site (0-based), or all of an element (None), and n, l."""

    site: int | None
    atomic_number: int
    n: int
    l: int  # noqa: E741

    @property
    def name(self) -> str:
        """The edge's name, such as ``K``; OCEAN computes L2 and L3 together.

        Raises
        ------
        IngestError
            If NearEdge has no name for it.
        """
        for name in ("K", "L1", "L23"):
            if QUANTUM_NUMBERS[name] == (self.n, self.l):
                return name
        raise IngestError(f"{DECK} asks for the level n = {self.n}, l = {self.l}: no K or L edge.")


def deck_edges(cards: Cards, structure: Structure) -> list[Edge]:
    """Return what ``edges`` asks for: triples of site (or minus atomic number), n and l.

    Raises
    ------
    IngestError
        If it is no list of such triples.
    """
    found = numbers(cards, "edges")
    if not found or len(found) % 3 or any(value != int(value) for value in found):
        raise IngestError(f"{DECK}: edges is no list of three integers each.")
    edges = []
    for first, n, l in np.array(found, dtype=int).reshape(-1, 3).tolist():  # noqa: E741
        if first > len(structure) or first == 0:
            raise IngestError(f"{DECK}: edges names site {first} of {len(structure)}.")
        site = first - 1 if first > 0 else None
        z = -first if site is None else int(structure[site].specie.Z)
        edges.append(Edge(site, z, n, l))
    return edges


def photon_weight(text: str) -> float:
    """Return a photon file's weight: the last of its lines, one where it has none."""
    words = text.split()
    after = words[len(words) - words[::-1].index("end") :] if "end" in words else []
    try:
        return float(after[1]) if len(after) > 1 else 1.0
    except ValueError:
        return 1.0


def stated_parameters(cards: Cards) -> dict[str, Parameter]:
    """Return the physical parameters that a deck states, by its own meshes and numbers of bands."""
    parameters: dict[str, Parameter] = {}
    for card, name, unit, factor in _NUMBERS:
        if card in cards and (value := optional_number(cards, card)) is not None:
            parameters[name] = Parameter(value=factor * value, unit=unit)
    for card, (name, unit) in _LISTS.items():
        if card in cards:
            parameters[name] = Parameter(value=list(numbers(cards, card)), unit=unit)
    for card, name in _WORDS.items():
        if card in cards:
            parameters[name] = Parameter(value=cards[card].lower().strip("."))
    if "core_offset" in cards:
        offset = optional_number(cards, "core_offset")
        parameters["core_offset"] = (
            Parameter(value=cards["core_offset"].strip("."))
            if offset is None
            else Parameter(value=offset, unit="eV")
        )
    if "cnbse.broaden" not in cards:
        parameters["broadening"] = Parameter(value=2 * DEFAULT_BROADENING, unit="eV")
    return parameters


# Card, our name, unit, factor.
_NUMBERS = (
    ("cnbse.rad", "core_hole_radius", "bohr", 1.0),
    ("diemac", "dielectric_constant", None, 1.0),
    ("cnbse.broaden", "broadening", "eV", 2.0),
    ("screen_energy_range", "screen_energy_range", "eV", 1.0),
    ("dft_energy_range", "dft_energy_range", "eV", 1.0),
    ("nbands", "bands", None, 1.0),
    ("ecut", "plane_wave_cutoff", "Ry", 1.0),
)
_LISTS = {
    "nkpt": ("k_mesh", None),
    "ngkpt": ("density_k_mesh", None),
    "screen.nkpt": ("screen_k_mesh", None),
    "screen.shells": ("screen_shells", "bohr"),
    "cnbse.spect_range": ("energy_grid", None),
}
_WORDS = {
    "dft": "dft",
    "pp_database": "pseudopotentials",
    "pp_list": "pseudopotential_files",
    "ecut.quality": "cutoff_quality",
    "metal": "metal",
    "opf.program": "projectors",
}
