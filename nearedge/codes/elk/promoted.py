"""Which atoms of an Elk run carry the 1s level that is excited."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from pymatgen.core import Element, Lattice, Structure

from nearedge.codes.elk.deck import Deck
from nearedge.codes.elk.species import core_level_estimate, parse_species
from nearedge.errors import IngestError, InputRefused
from nearedge.structures.absorbers import unique_absorbers

SEEN = frozenset(
    (
        *("B", "C", "N", "O", "F", "Mg", "Al", "Si", "P", "S"),
        *("Ca", "Ti", "V", "Cr", "Mn", "Fe", "Co", "Ni"),
    )
)
"""Absorbers whose 1s was found and whose stored transitions gave Elk's plot again, with elk-lapw
8.4.30: BN, diamond, MgO, LiF, AlP, Si, ZnS, CaO, anatase, TiO, VN, CrN, MnO, FeO, CoO, NiO (those
without spin). In fcc copper the self-consistent field with the promoted level did not converge."""
_NAMED = re.compile(r"([A-Z][a-z]?)(_1s)?\.in")


@dataclass(frozen=True)
class Promoted:
    """The atoms whose 1s is excited.

    Parameters
    ----------
    structure
        The crystal, sites in the deck's order.
    sites
        Those of the atoms.
    level
        About where their 1s level is, in Ha.
    """

    structure: Structure
    sites: tuple[int, ...]
    level: float

    @property
    def element(self) -> str:
        """Return the absorbing element's symbol."""
        symbol: str = self.structure[self.sites[0]].specie.symbol
        return symbol

    @property
    def count(self) -> int:
        """Return how many there are."""
        return len(self.sites)


def promoted_level(folder: Path, deck: Deck) -> Promoted:
    """Find out which atoms have a 1s in the valence that the BSE starts from.

    Raises
    ------
    IngestError
        If a species file is missing, no 1s is in the valence, or the BSE does not start from just
        these levels.
    """
    symbols: list[str] = []
    coordinates: list[list[float]] = []
    sites: list[int] = []
    deepest = 0.0
    for file, positions in deck.atoms:
        element, is_promoted = _species(folder, file)
        if is_promoted:
            level = core_level_estimate(element)
            if level < deepest:
                deepest, sites = level, []
            if level == deepest:
                sites += range(len(symbols), len(symbols) + len(positions))
        symbols += [element] * len(positions)
        coordinates += positions.tolist()
    if not sites:
        raise IngestError("no species of the run has its 1s in the valence (spcore F)")
    start = (
        [int(value) for value in deck.numbers("istxbse", [])] if "istxbse" in deck.blocks else []
    )
    if sorted(start) != list(range(1, len(sites) + 1)) or deck.number("nvbse", 2) != 0:
        raise IngestError(
            f"the BSE starts from states {start or 'of the valence'} and not from the 1s levels of "
            f"the {len(sites)} atoms that have them in the valence"
        )
    structure = Structure(Lattice(deck.lattice), symbols, coordinates)
    _check_equal(structure, sites)
    return Promoted(structure, tuple(sites), deepest)


def untried(element: str) -> list[str]:
    """Return the warning that an absorber deserves which was never seen to work."""
    if element in SEEN:
        return []
    return [
        f"Elk's BSE was tried for the 1s of {', '.join(sorted(SEEN))}, not of {element}: compare "
        "with another code."
    ]


def _check_equal(structure: Structure, sites: list[int]) -> None:
    """Refuse a spectrum that is a sum over sites of different kinds."""
    if len(sites) == 1:
        return
    symbol = structure[sites[0]].specie.symbol
    if not any(set(sites) <= set(each.equivalent) for each in unique_absorbers(structure, symbol)):
        raise IngestError(f"its spectrum is the sum over {symbol} sites of different kinds")


def _species(folder: Path, file: str) -> tuple[str, bool]:
    """Return the element of a species file, and whether its 1s is in the valence.

    Where the file was not kept, its name tells: ``Ti.in``, ``Ti_1s.in``.
    """
    path = folder / Path(file).name
    if not path.is_file():
        named = _NAMED.fullmatch(path.name)
        if named is None or not Element.is_valid_symbol(named.group(1)):
            raise IngestError(f"species file {path.name} is not beside elk.in")
        return named.group(1), named.group(2) is not None
    try:
        species = parse_species(path.read_text(encoding="utf-8", errors="replace"), path.name)
    except InputRefused as error:
        raise IngestError(error.message) from None
    charge = round(-species.charge)
    promoted = any((state.n, state.l) == (1, 0) and not state.core for state in species.states)
    return Element.from_Z(charge).symbol, promoted and charge > 2
