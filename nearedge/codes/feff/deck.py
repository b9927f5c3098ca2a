"""Read ``feff.inp``: cards, potentials, atoms, and the crystal that pymatgen noted in its comments.

pymatgen's own reader takes tens of milliseconds a deck; an archive holds thousands.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nearedge.errors import InputRefused
from nearedge.spectra.spectrum import FloatArray

_COMMENT = ("*", "#", "!", ";", "%")
# Cards that open a block of lines of their own.
_BLOCKS = ("POTENTIALS", "ATOMS", "EGRID")


Cards = dict[str, tuple[str, ...]]
"""Arguments by card."""
EnergyGrid = tuple[tuple[str, ...], ...]
"""The lines under EGRID."""


@dataclass(frozen=True)
class DeckPotential:
    """A line of POTENTIALS; `stoichiometry` is FEFF's xnatph, None where it is not given.

    `scf_l_max` and `fms_l_max` are the largest angular momenta, None where FEFF chooses.
    """

    index: int
    atomic_number: int
    stoichiometry: float | None
    scf_l_max: int | None = None
    fms_l_max: int | None = None


@dataclass(frozen=True)
class DeckCrystal:
    """The crystal in the comments of a deck that pymatgen wrote.

    `abc` in Å and `angles` in degrees; `coordinates` are fractional, shape ``(n, 3)``.
    """

    abc: tuple[float, float, float]
    angles: tuple[float, float, float]
    symbols: tuple[str, ...]
    coordinates: FloatArray


@dataclass(frozen=True)
class Deck:
    """A parsed ``feff.inp``.

    `cards` maps a card to its arguments; `egrid` holds the lines under EGRID. `positions` are in Å
    with shape ``(n, 3)``, `potential_of` gives each atom's potential, shape ``(n,)``.
    """

    cards: Cards
    egrid: EnergyGrid
    potentials: tuple[DeckPotential, ...]
    positions: FloatArray
    potential_of: tuple[int, ...]
    crystal: DeckCrystal | None

    @property
    def edge(self) -> str:
        """The edge asked for, by default K; the user's guide numbers the edges under HOLE."""
        named = self.cards.get("EDGE") or self.cards.get("HOLE") or ("K",)
        shell = named[0].upper()
        return {"1": "K", "2": "L1", "3": "L2", "4": "L3"}.get(shell, shell)

    @property
    def atomic_numbers(self) -> dict[int, int]:
        """Atomic number by potential."""
        return {each.index: each.atomic_number for each in self.potentials}

    def absorber(self) -> int:
        """Return the number of the atom that absorbs.

        Raises
        ------
        InputRefused
            If not exactly one atom has potential 0.
        """
        absorbers = [number for number, index in enumerate(self.potential_of) if index == 0]
        if len(absorbers) != 1:
            raise InputRefused(
                "bad_input",
                f"feff.inp has {len(absorbers)} atoms with potential 0; it must have one absorber.",
            )
        return absorbers[0]

    def nearest_neighbour(self) -> float:
        """Return the distance to the absorber's nearest neighbour in Å, infinite without one."""
        centre = self.absorber()
        distances = np.linalg.norm(self.positions - self.positions[centre], axis=1)
        return float(np.delete(distances, centre).min(initial=np.inf))

    def argument(self, card: str, number: int) -> float | None:
        """Return a card's numeric argument, counted from 0, or None where it is not given."""
        return card_argument(self.cards, card, number)


def card_argument(cards: Cards, card: str, number: int) -> float | None:
    """Return a card's numeric argument, counted from 0, or None where it is not given.

    Raises
    ------
    InputRefused
        ``bad_input``, if it is not a number.
    """
    arguments = cards.get(card, ())
    if number >= len(arguments):
        return None
    try:
        return float(arguments[number])
    except ValueError:
        raise InputRefused(
            "bad_input", f"feff.inp: {card} {arguments[number]!r} is not a number."
        ) from None


def parse_deck(text: str) -> Deck:
    """Read the text of a ``feff.inp``.

    Raises
    ------
    InputRefused
        ``bad_input``, if it has no ATOMS or POTENTIALS, or a malformed line there.
    """
    cards, blocks = _lines(text)
    if not blocks["ATOMS"] or not blocks["POTENTIALS"]:
        lacking = "ATOMS" if not blocks["ATOMS"] else "POTENTIALS"
        raise InputRefused("bad_input", f"feff.inp has no {lacking}.")
    positions, potential_of = _atoms(blocks["ATOMS"])
    return Deck(
        cards=cards,
        egrid=tuple(blocks["EGRID"]),
        potentials=tuple(_potential(words) for words in blocks["POTENTIALS"]),
        positions=positions,
        potential_of=potential_of,
        crystal=_crystal(text),
    )


def parse_cards(text: str) -> tuple[Cards, EnergyGrid]:
    """Read the cards alone, of a deck or of a part of one."""
    cards, blocks = _lines(text)
    return cards, tuple(blocks["EGRID"])


def _lines(text: str) -> tuple[Cards, dict[str, list[tuple[str, ...]]]]:
    blocks: dict[str, list[tuple[str, ...]]] = {name: [] for name in _BLOCKS}
    cards: Cards = {}
    block: str | None = None
    for line in text.splitlines():
        words = line.split()
        if not words or words[0].startswith(_COMMENT):
            continue
        card = words[0].upper()
        if card == "END":
            break
        if card in blocks:
            block = card
            cards[card] = ()
        elif block is not None and (words[0][0].isdigit() or words[0][0] in "+-." or _row(words)):
            blocks[block].append(tuple(words))
        else:
            block = None
            if card != "TITLE":
                cards[card] = tuple(words[1:])
    return cards, blocks


def _row(words: list[str]) -> bool:
    """Whether a line that begins with a word is a row: an EGRID range, or a coordinate NaN."""
    first = words[0].lower()
    return first.endswith("_grid") or first in ("nan", "inf", "infinity")


def _atoms(rows: list[tuple[str, ...]]) -> tuple[FloatArray, tuple[int, ...]]:
    try:
        positions: FloatArray = np.array([row[:3] for row in rows], dtype=np.float64)
        potential_of = tuple(int(row[3]) for row in rows)
    except (ValueError, IndexError):
        raise InputRefused("bad_input", "feff.inp: a line of ATOMS is not `x y z ipot`.") from None
    return positions, potential_of


def _potential(words: tuple[str, ...]) -> DeckPotential:
    try:
        return DeckPotential(
            index=int(words[0]),
            atomic_number=int(words[1]),
            stoichiometry=float(words[5]) if len(words) > 5 else None,
            scf_l_max=_l_max(words, 3),
            fms_l_max=_l_max(words, 4),
        )
    except (ValueError, IndexError):
        raise InputRefused(
            "bad_input", f"feff.inp: `{' '.join(words)}` is no line of POTENTIALS."
        ) from None


def _l_max(words: tuple[str, ...], column: int) -> int | None:
    """Return an angular momentum that the line states; FEFF takes any below zero for its own."""
    stated = int(words[column]) if len(words) > column else -1
    return stated if stated >= 0 else None


def _crystal(text: str) -> DeckCrystal | None:
    """Read the crystal that pymatgen writes as TITLE and comment lines, if it is there."""
    start = text.find("TITLE abc:")
    if start < 0:
        return None
    lines = text[start:].splitlines()
    try:
        abc, angles = (_three(line.split(":")[1].split()) for line in lines[:2])
        count = int(lines[2].split(":")[1])
        rows = [line.split() for line in lines[3 : 3 + count]]
        coordinates: FloatArray = np.array([row[3:6] for row in rows], dtype=np.float64)
        symbols = tuple(row[2] for row in rows)
    except (ValueError, IndexError):
        return None
    if coordinates.shape != (count, 3) or not count or any(row[0] != "*" for row in rows):
        return None
    return DeckCrystal(abc, angles, symbols, coordinates)


def _three(words: list[str]) -> tuple[float, float, float]:
    a, b, c = (float(word) for word in words)
    return (a, b, c)
