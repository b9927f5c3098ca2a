"""Make FEFF's input through Lightshow's ``FEFFParameters``, and describe its parameters."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
from pymatgen.core import Composition, Structure
from pymatgen.io.feff.inputs import Atoms, Potential
from pymatgen.symmetry.analyzer import SymmetryUndeterminedError

from nearedge.codes.base import InputSet
from nearedge.codes.feff.deck import Cards, Deck, EnergyGrid, card_argument, parse_cards
from nearedge.codes.feff.failures import check_deck, check_edge
from nearedge.codes.protocols import Protocol, load_protocol, protocol_names
from nearedge.codes.site import bare_structure
from nearedge.compat import lightshow_parameters
from nearedge.errors import InputRefused
from nearedge.schemas.calculation import Parameter, ParameterValue
from nearedge.structures.symmetry import primitive_cells

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
        See `check_deck`; also ``absorbing_index`` and ``partial_occupancy``.
    """
    bare = bare_structure(structure, absorbing_index, "FEFF")
    check_edge(bare[absorbing_index].specie.Z, edge)
    text = deck_text(bare, absorbing_index, edge, protocol)
    check_deck(text)
    return InputSet(
        code="feff",
        code_version=code_version,
        protocol=protocol.label,
        files={DECK: text},
        parameters=protocol_parameters(protocol),
        by_hand=BY_HAND,
    )


def deck_text(structure: Structure, absorbing_index: int, edge: str, protocol: Protocol) -> str:
    """Return the text of ``feff.inp``; `structure` carries elements only."""
    # A new dictionary for every call: FEFFParameters pops from the one it is given.
    parameters = lightshow_parameters("feff").FEFFParameters(
        cards=_cards(protocol), edge=edge, radius=cluster_radius(protocol)
    )
    (dict_set,) = parameters.get_FEFFDictSets(structure, [int(absorbing_index)])
    atoms = dict_set.atoms
    potentials = str(_potential(atoms))
    if protocol.settings["stoichiometry"] == "cell":
        potentials = _with_cell_stoichiometry(potentials, structure)
    if (l_max := fms_l_max(protocol)) is not None:
        potentials = _with_column(potentials, _FMS_L_MAX, lambda _symbol: str(l_max))
    return "\n\n".join(
        (_header(dict_set, structure), str(dict_set.tags), potentials, _atoms(atoms))
    )


def _potential(atoms: Atoms) -> Potential:
    """Return the potentials of a cluster; pymatgen would make the same cluster a second time."""
    potential = Potential.__new__(Potential)
    vars(potential).update(vars(atoms))
    return potential


def _atoms(atoms: Atoms) -> str:
    """Return the lines of ATOMS as pymatgen has them, laid out by fixed columns.

    pymatgen has `tabulate` find out the kind and the width of every column, which takes more than
    all the rest of a deck. The numbers are the same, to six digits.
    """
    lines = ["ATOMS", "*          x             y             z  ipot  atom    distance  number"]
    for x, y, z, potential, symbol, distance, number in atoms.get_lines():
        place = " ".join(f"{float(each):>13g}" for each in (x, y, z))
        lines.append(f"{place} {potential:>5} {symbol:>5} {float(distance):>11g} {number:>7}")
    return "\n".join([*lines, "END", ""])


def cluster_radius(protocol: Protocol) -> float:
    """Return the radius that the cluster is cut at, in Å."""
    return max(protocol.number(f"{part}_radius") for part in ("cluster", "scf", "fms"))


def fms_l_max(protocol: Protocol) -> int | None:
    """Return the largest angular momentum in FMS, or None where it is left to FEFF.

    That of the SCF is always left to FEFF, which resets what exceeds its own (card UNFREEZEF).
    """
    l_max = int(protocol.number("l_max"))
    return l_max if l_max >= 0 else None


def _header(dict_set: object, structure: Structure) -> str:
    try:
        return str(dict_set.header())  # type: ignore[attr-defined]
    except (SymmetryUndeterminedError, AttributeError):
        # The title names the space group, which FEFF ignores; that must not stop a run.
        return f"TITLE {structure.composition.reduced_formula}"


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


def _with_cell_stoichiometry(potentials: str, structure: Structure) -> str:
    """Write the primitive cell's composition into the stoichiometry column of POTENTIALS.

    FEFF's answer hangs on the size of these numbers, not on their ratios alone: on anatase (fast)
    twice the numbers move the spectrum by 0.7e-3 of the peak, so that a supercell would seem to be
    another material.
    """
    composition = structure.composition / primitive_cells(structure)
    return _with_column(
        potentials, _STOICHIOMETRY, lambda symbol: f"{composition[symbol]:g}", absorber=False
    )


_FMS_L_MAX, _STOICHIOMETRY = 4, 5
"""Columns of POTENTIALS, counted from 0."""


def _with_column(
    potentials: str, column: int, value: Callable[[str], str], *, absorber: bool = True
) -> str:
    """Write a column of POTENTIALS anew; `value` is asked with each potential's symbol."""
    lines = []
    for line in potentials.splitlines():
        words = line.split()
        if len(words) == 7 and words[0].isdigit() and (absorber or words[0] != "0"):
            words[column] = value(words[2])
            lines.append("  ".join(["", *words]))
        else:
            lines.append(line)
    return "\n".join(lines)


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
    lines = "\n".join(f"{card} {arguments}" for card, arguments in _cards(protocol).items())
    cards, egrid = parse_cards(lines)
    stoichiometry = str(protocol.settings["stoichiometry"])
    parameters = _parameters(cards, egrid, cluster_radius(protocol), stoichiometry)
    return parameters | _momenta("l_max", [fms_l_max(protocol)])


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
