"""Make FEFF's input as Lightshow's ``FEFFParameters`` does, and describe its parameters."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np
from pymatgen.core import Composition, Element, Lattice, Structure

from nearedge.codes.base import InputSet
from nearedge.codes.feff.cluster import Cell, Cluster, cell_of, cluster_around
from nearedge.codes.feff.deck import (
    Cards,
    Deck,
    DeckPotential,
    EnergyGrid,
    card_argument,
    parse_cards,
)
from nearedge.codes.feff.failures import check_edge, check_parsed
from nearedge.codes.protocols import Protocol, load_protocol, protocol_names
from nearedge.codes.site import check_site
from nearedge.compat import lightshow_parameters
from nearedge.errors import InputRefused
from nearedge.schemas.calculation import Parameter, ParameterValue
from nearedge.spectra.spectrum import FloatArray

ANGSTROM = "angstrom"
PER_ANGSTROM = "1/angstrom"
DECK = "feff.inp"
CUSTOM = "custom"
BY_HAND = (
    "# FEFF 10 as a module of Python (feff10-rs); any other FEFF reads feff.inp too.",
    # The module writes the deck anew, and then it is no longer the one that nearedge.json knows.
    f"cp {DECK} asked.inp",
    "${PYTHON:-python3} - > feff.log 2>&1 << END",
    "from feff10 import FeffConfig, FeffPipeline",
    f"FeffPipeline(FeffConfig.from_file('.', '{DECK}')).run()",
    "END",
    f"mv asked.inp {DECK}",
)


def make_inputs(
    structure: Structure, absorbing_index: int, edge: str, protocol: Protocol, code_version: str
) -> InputSet:
    """Make the input set of one absorbing site.

    Raises
    ------
    InputRefused
        See `check_parsed` and `check_site`.
    """
    check_site(structure, absorbing_index, "FEFF")
    cell = cell_of(structure)
    check_edge(_atomic_number(cell.symbols[absorbing_index]), edge)
    cluster = cluster_around(cell, absorbing_index, cluster_radius(protocol))
    cards = written_cards(protocol, edge)
    deck = asked_deck(cards, cell, cluster, protocol)
    check_parsed(deck)
    return InputSet(
        code="feff",
        code_version=code_version,
        protocol=protocol.label,
        files={DECK: deck_text(cards, cell, cluster, deck.potentials)},
        parameters=protocol_parameters(protocol),
        by_hand=BY_HAND,
    )


@dataclass(frozen=True)
class WrittenCards:
    """The cards of a protocol and edge as Lightshow writes them, and what a reader finds in them.

    They do not depend on the crystal.
    """

    text: str
    cards: Cards
    egrid: EnergyGrid


def written_cards(protocol: Protocol, edge: str) -> WrittenCards:
    """Return the cards of a deck."""
    return _written_cards(tuple(_cards(protocol).items()), edge)


@lru_cache(maxsize=64)
def _written_cards(asked: tuple[tuple[str, str], ...], edge: str) -> WrittenCards:
    parameters = lightshow_parameters("feff").FEFFParameters(cards=dict(asked), edge=edge)
    any_structure = Structure(Lattice.cubic(4), ["Cu"], [[0, 0, 0]])
    (dict_set,) = parameters.get_FEFFDictSets(any_structure, [0])
    text = str(dict_set.tags)
    return WrittenCards(text, *parse_cards(f"{text}\nPOTENTIALS\nATOMS"))


def asked_deck(cards: WrittenCards, cell: Cell, cluster: Cluster, protocol: Protocol) -> Deck:
    """Return what `parse_deck` reads from `deck_text`, but for the crystal in the comments."""
    return Deck(
        cards=cards.cards,
        egrid=cards.egrid,
        potentials=_potentials(cell, cluster, protocol),
        positions=_as_written(cluster.positions),
        potential_of=cluster.potential_of,
        crystal=None,
    )


def deck_text(
    cards: WrittenCards, cell: Cell, cluster: Cluster, potentials: Sequence[DeckPotential]
) -> str:
    """Return the text of ``feff.inp``: Lightshow's cards, and the blocks as pymatgen lays them out.

    The numbers have as many digits as pymatgen's.
    """
    lines = ["POTENTIALS", "*ipot  Z  tag  lmax1  lmax2  xnatph(stoichometry)  spinph"]
    for each, symbol in zip(potentials, cluster.kinds, strict=True):
        l_max = -1 if each.fms_l_max is None else each.fms_l_max
        lines.append(
            f"  {each.index}  {each.atomic_number}  {symbol}  -1  {l_max}  "
            f"{each.stoichiometry:g}  0"
        )
    lines += ["", "ATOMS", _ATOMS_HEAD]
    columns = (
        *cluster.positions.T.tolist(),
        cluster.potential_of,
        cluster.symbols,
        cluster.distances.tolist(),
        cluster.numbers,
    )
    lines += [_ATOM % row for row in zip(*columns, strict=True)]
    return "\n".join([cell.title, "", cards.text, "", *lines, "END", ""])


_ATOMS_HEAD = "*          x             y             z  ipot  atom    distance  number"
_ATOM = "%13g %13g %13g %5d %5s %11g %7d"


def _potentials(cell: Cell, cluster: Cluster, protocol: Protocol) -> tuple[DeckPotential, ...]:
    """Return the potentials; the absorber's own has no part in the stoichiometry.

    By default the stoichiometry is the primitive cell's: FEFF's answer hangs on the size of these
    numbers, not on their ratios alone. On anatase (fast) twice the numbers move the spectrum by
    0.7e-3 of the peak, so that a supercell would seem to be another material.
    """
    of_cell = protocol.settings["stoichiometry"] == "cell"
    stated = cell.stoichiometry if of_cell else cluster.counts
    l_max = fms_l_max(protocol)
    return tuple(
        DeckPotential(
            index=index,
            atomic_number=_atomic_number(symbol),
            stoichiometry=float(f"{stated[symbol]:g}") if index else _NO_PART,
            fms_l_max=l_max,
        )
        for index, symbol in enumerate(cluster.kinds)
    )


_NO_PART = 0.0001


@cache
def _atomic_number(symbol: str) -> int:
    return int(Element(symbol).Z)


def _as_written(numbers: FloatArray) -> FloatArray:
    """Return numbers as a reader finds those that `deck_text` writes with six digits."""
    exponent = np.floor(np.log10(np.abs(numbers), where=numbers != 0, out=np.zeros_like(numbers)))
    # Up to 22 a power of ten is exact, so that the quotient is what a parser makes of the text.
    power = 10.0 ** np.minimum(5 - exponent, 22)
    written: FloatArray = np.rint(numbers * power) / power
    return written


def cluster_radius(protocol: Protocol) -> float:
    """Return the radius that the cluster is cut at, in Å."""
    return max(protocol.number(f"{part}_radius") for part in ("cluster", "scf", "fms"))


def fms_l_max(protocol: Protocol) -> int | None:
    """Return the largest angular momentum in FMS, or None where it is left to FEFF.

    That of the SCF is always left to FEFF, which resets what exceeds its own (card UNFREEZEF).
    """
    l_max = int(protocol.number("l_max"))
    return l_max if l_max >= 0 else None


def _cards(protocol: Protocol) -> dict[str, str]:
    number = protocol.number
    grid = protocol.settings["k_grid"]
    if not isinstance(grid, list) or len(grid) != 6:
        raise InputRefused("bad_input", f"Protocol {protocol.label}: k_grid needs six numbers.")
    ranges = [" ".join(f"{value:g}" for value in grid[at : at + 3]) for at in (0, 3)]
    return {
        "CONTROL": "1 1 1 1 1 1",
        "S02": "0",
        "COREHOLE": str(protocol.settings["core_hole"]),
        "EXCHANGE": f"{number('exchange_model'):g} {number('exchange_vr'):.1f} "
        f"{number('exchange_vi'):.1f} {number('background_exchange'):g}",
        "SCF": f"{number('scf_radius'):.1f} 0 {number('scf_iterations'):g} "
        f"{number('scf_mixing'):g} {number('scf_simple_mixes'):g}",
        "FMS": f"{number('fms_radius'):.1f} 0",
        "XANES": f"{number('k_max'):g} {number('k_step'):g} {number('e_step'):g}",
        "RPATH": "-1",
        "EGRID": f"\nk_grid {ranges[0]}\nk_grid {ranges[1]}",
    }


def safer_mixing(text: str) -> str:
    """Return the deck with slower and steadier SCF mixing.

    A quarter of the convergence accelerator, three times the iterations, ten simple mixes first
    (FEFF user's guide, card SCF). A converged result does not depend on them.
    """
    lines = text.splitlines()
    for number, line in enumerate(lines):
        words = line.split()
        if words and words[0].upper() == "SCF":
            given = words[1:] + ["0", "100", "0.2", "3"][len(words) - 2 :]
            radius, molecule, iterations, mixing, _ = given[:5]
            slower = max(float(mixing) / 4, 0.02)
            lines[number] = f"SCF {radius} {molecule} {max(3 * int(iterations), 100)} {slower:g} 10"
    return "\n".join(lines) + "\n"


def protocol_parameters(protocol: Protocol) -> dict[str, Parameter]:
    """Return the physical parameters that a protocol stands for."""
    stated = _stated_parameters(
        tuple(_cards(protocol).items()),
        cluster_radius(protocol),
        str(protocol.settings["stoichiometry"]),
        fms_l_max(protocol),
    )
    return dict(stated)


@lru_cache(maxsize=64)
def _stated_parameters(
    asked: tuple[tuple[str, str], ...], radius: float, stoichiometry: str, l_max: int | None
) -> dict[str, Parameter]:
    cards, egrid = parse_cards("\n".join(f"{card} {arguments}" for card, arguments in asked))
    return _parameters(cards, egrid, radius, stoichiometry) | _momenta("l_max", [l_max])


@cache
def _known_protocols() -> tuple[tuple[str, dict[str, Parameter]], ...]:
    protocols = [load_protocol("feff", name) for name in protocol_names("feff")]
    return tuple((each.label, protocol_parameters(each)) for each in protocols)


def protocol_of(parameters: dict[str, Parameter]) -> str:
    """Return the label of the protocol that these parameters are, or ``custom``."""
    return next((label for label, known in _known_protocols() if known == parameters), CUSTOM)


def deck_parameters(deck: Deck, composition: Composition | None) -> dict[str, Parameter]:
    """Return the physical parameters that a deck asks for.

    The same names whether the deck is ours or another's, so that equal calculations get equal ids.
    What steers the convergence of the SCF is left out: it does not move a converged result.
    `composition` is the crystal's, or None where only a cluster is known.
    """
    parameters = _parameters(
        deck.cards, deck.egrid, _apparent_radius(deck), _stoichiometry(deck, composition)
    )
    parameters |= _momenta("l_max", [each.fms_l_max for each in deck.potentials])
    return parameters | _momenta("scf_l_max", [each.scf_l_max for each in deck.potentials])


def _momenta(name: str, stated: Sequence[int | None]) -> dict[str, Parameter]:
    """Return the largest angular momenta as a parameter, or none where FEFF chooses them all."""
    different = set(stated)
    if different == {None}:
        return {}
    values = [-1 if each is None else each for each in stated]
    return {name: Parameter(value=values[0] if len(different) == 1 else list(values))}


def _parameters(
    cards: Cards, egrid: EnergyGrid, radius: float, stoichiometry: str
) -> dict[str, Parameter]:
    """Name the arguments of the cards; an absent one is left out."""
    parameters: dict[str, Parameter] = {}

    def add(name: str, value: ParameterValue | None, unit: str | None = None) -> None:
        if value is not None:
            parameters[name] = Parameter(value=value, unit=unit)

    for card, position, name, unit in _ARGUMENTS:
        add(name, card_argument(cards, card, position), unit)
    for card in ("SCF", "FMS"):
        molecule = card_argument(cards, card, 1)
        add(f"{card.lower()}_molecule", None if molecule is None else molecule == 1.0)
    add("cluster_radius", radius, ANGSTROM)
    add("stoichiometry", stoichiometry)
    add("core_hole", _core_hole(cards))
    for number, words in enumerate(egrid):
        kind = words[0].lower()
        unit = PER_ANGSTROM if kind == "k_grid" else None
        add(f"energy_grid_{number}", [kind, *(float(word) for word in words[1:4])], unit)
    for card in sorted(set(cards) - _DESCRIBED):
        # A parameter's name is a key in the database; a stranger's deck may say anything.
        name = re.sub(r"[^a-z0-9_]+", "_", card.lower())
        add(f"card_{name}", " ".join(cards[card]))
    return parameters


# Card, position among its arguments, our name, unit (FEFF user's guide).
_ARGUMENTS = (
    ("SCF", 0, "scf_radius", ANGSTROM),
    ("FMS", 0, "fms_radius", ANGSTROM),
    ("EXCHANGE", 0, "exchange_model", None),
    ("EXCHANGE", 1, "exchange_vr", "eV"),
    ("EXCHANGE", 2, "exchange_vi", "eV"),
    ("EXCHANGE", 3, "background_exchange", None),
    ("S02", 0, "s02", None),
    ("XANES", 0, "k_max", PER_ANGSTROM),
    ("XANES", 1, "k_step", PER_ANGSTROM),
    ("XANES", 2, "e_step", "eV"),
    ("RPATH", 0, "path_length", ANGSTROM),
)
_DESCRIBED = {
    *("ATOMS", "CONTROL", "COREHOLE", "EDGE", "EGRID", "EXCHANGE", "FMS", "HOLE", "NOHOLE"),
    *("POTENTIALS", "PRINT", "RPATH", "S02", "SCF", "XANES"),
}
"""Cards that have a parameter of their own above, or no bearing on the result."""


def _apparent_radius(deck: Deck) -> float:
    """Return the radius that the cluster seems to be cut at, in Å.

    A deck does not state it, and its farthest atom is a little inside: the next whole Å is taken,
    and at least the radii of SCF and FMS, which nobody cuts short.
    """
    offsets = deck.positions - deck.positions[deck.absorber()]
    farthest = float(np.sqrt((offsets**2).sum(axis=1).max()))
    radii = (deck.argument("SCF", 0) or 0.0, deck.argument("FMS", 0) or 0.0)
    return max(float(np.ceil(round(farthest, 4))), *radii)


def _core_hole(cards: Cards) -> str:
    if "NOHOLE" in cards:
        return "none"
    return " ".join(cards.get("COREHOLE", ("FSR",)))


def _stoichiometry(deck: Deck, composition: Composition | None) -> str:
    """Say what the stoichiometry column counts: the crystal's cell, the cluster, or neither."""
    stated = {p.atomic_number: p.stoichiometry for p in deck.potentials if p.index != 0}
    if None in stated.values():
        return "default"
    total = sum(value for value in stated.values() if value is not None)
    if composition is not None:
        crystal = {element.Z: float(amount) for element, amount in composition.items()}
        share = sum(crystal.get(z, 0.0) for z in stated)
        if all(
            abs((value or 0.0) / total - crystal.get(z, 0.0) / share) < 1e-6
            for z, value in stated.items()
        ):
            return "cell"
    numbers = deck.atomic_numbers
    counted = {z: sum(numbers[i] == z for i in deck.potential_of) for z in stated}
    return "cluster" if counted == stated else "custom"
