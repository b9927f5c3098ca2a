"""Make FEFF's input through Lightshow's ``FEFFParameters``, and describe its parameters."""

from __future__ import annotations

import numpy as np
from pymatgen.core import Composition, Structure
from pymatgen.symmetry.analyzer import SymmetryUndeterminedError

from nearedge.codes.base import InputSet
from nearedge.codes.feff.deck import Deck
from nearedge.codes.feff.failures import check_deck, check_edge
from nearedge.codes.protocols import Protocol
from nearedge.compat import lightshow_feff_parameters
from nearedge.errors import InputRefused
from nearedge.schemas.calculation import Parameter

ANGSTROM = "angstrom"
PER_ANGSTROM = "1/angstrom"
DECK = "feff.inp"


def make_inputs(
    structure: Structure, absorbing_index: int, edge: str, protocol: Protocol, code_version: str
) -> InputSet:
    """Make the input set of one absorbing site.

    Raises
    ------
    InputRefused
        See `check_deck`; also ``absorbing_index`` and ``partial_occupancy``.
    """
    bare = _bare(structure, absorbing_index)
    check_edge(bare[absorbing_index].specie.Z, edge)
    text = deck_text(bare, absorbing_index, edge, protocol)
    deck = check_deck(text)
    return InputSet(
        code="feff",
        code_version=code_version,
        protocol=protocol.label,
        files={DECK: text},
        parameters=deck_parameters(deck, bare.composition, cluster_radius(protocol)),
    )


def _bare(structure: Structure, absorbing_index: int) -> Structure:
    """Return lattice and elements alone: charges and oxidation states are nothing to FEFF."""
    if not 0 <= absorbing_index < len(structure):
        raise InputRefused(
            "absorbing_index",
            f"Site {absorbing_index} does not exist: {structure.composition.reduced_formula} has "
            f"sites 0 to {len(structure) - 1}.",
        )
    if not structure.is_ordered:
        raise InputRefused(
            "partial_occupancy",
            f"{structure.composition.reduced_formula} has partly occupied sites; FEFF needs every "
            "site to be one element.",
        )
    if not (
        np.all(np.isfinite(structure.frac_coords)) and np.all(np.isfinite(structure.lattice.matrix))
    ):
        raise InputRefused(
            "non_finite_coordinate",
            f"{structure.composition.reduced_formula} has a coordinate that is not a number.",
        )
    symbols = [site.specie.symbol for site in structure]
    return Structure(structure.lattice, symbols, structure.frac_coords)


def deck_text(structure: Structure, absorbing_index: int, edge: str, protocol: Protocol) -> str:
    """Return the text of ``feff.inp``; `structure` carries elements only."""
    # A new dictionary for every call: FEFFParameters pops from the one it is given.
    parameters = lightshow_feff_parameters()(
        cards=_cards(protocol), edge=edge, radius=cluster_radius(protocol)
    )
    (dict_set,) = parameters.get_FEFFDictSets(structure, [int(absorbing_index)])
    potentials = str(dict_set.potential)
    if protocol.settings["stoichiometry"] == "cell":
        potentials = _with_cell_stoichiometry(potentials, structure.composition)
    return "\n\n".join(
        (_header(dict_set, structure), str(dict_set.tags), potentials, str(dict_set.atoms))
    )


def cluster_radius(protocol: Protocol) -> float:
    """Return the radius that the cluster is cut at, in Å."""
    return max(protocol.number(f"{part}_radius") for part in ("cluster", "scf", "fms"))


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


def _with_cell_stoichiometry(potentials: str, composition: Composition) -> str:
    """Write the crystal's composition into the stoichiometry column of POTENTIALS."""
    lines = []
    for line in potentials.splitlines():
        words = line.split()
        if len(words) == 7 and words[0].isdigit() and words[0] != "0":
            words[5] = f"{composition[words[2]]:g}"
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


def deck_parameters(
    deck: Deck, composition: Composition | None, radius: float | None = None
) -> dict[str, Parameter]:
    """Return the physical parameters that a deck asks for.

    The same names whether the deck is ours or another's, so that equal calculations get equal ids.
    What steers the convergence of the SCF is left out: it does not move a converged result.
    `composition` is the crystal's, or None where only a cluster is known; `radius` is the cluster's
    in Å, or None where it has to be told from the atoms.
    """
    parameters: dict[str, Parameter] = {}

    def add(name: str, value: bool | int | float | str | None, unit: str | None = None) -> None:
        if value is not None:
            parameters[name] = Parameter(value=value, unit=unit)

    add("scf_radius", deck.argument("SCF", 0), ANGSTROM)
    add("scf_molecule", deck.argument("SCF", 1) == 1.0 if "SCF" in deck.cards else None)
    add("fms_radius", deck.argument("FMS", 0), ANGSTROM)
    add("fms_molecule", deck.argument("FMS", 1) == 1.0 if "FMS" in deck.cards else None)
    add("cluster_radius", _apparent_radius(deck) if radius is None else radius, ANGSTROM)
    add("stoichiometry", _stoichiometry(deck, composition))
    add("core_hole", _core_hole(deck))
    add("exchange_model", deck.argument("EXCHANGE", 0))
    add("exchange_vr", deck.argument("EXCHANGE", 1), "eV")
    add("exchange_vi", deck.argument("EXCHANGE", 2), "eV")
    add("background_exchange", deck.argument("EXCHANGE", 3))
    add("s02", deck.argument("S02", 0))
    add("k_max", deck.argument("XANES", 0), PER_ANGSTROM)
    add("k_step", deck.argument("XANES", 1), PER_ANGSTROM)
    add("e_step", deck.argument("XANES", 2), "eV")
    add("path_length", deck.argument("RPATH", 0), ANGSTROM)
    for number, words in enumerate(deck.egrid):
        values = [words[0].lower(), *(float(word) for word in words[1:4])]
        unit = PER_ANGSTROM if values[0] == "k_grid" else None
        parameters[f"energy_grid_{number}"] = Parameter(value=values, unit=unit)
    for card in sorted(set(deck.cards) - _DESCRIBED):
        add(f"card_{card.lower()}", " ".join(deck.cards[card]))
    return parameters


_DESCRIBED = frozenset(
    "ATOMS CONTROL COREHOLE EDGE EGRID EXCHANGE FMS HOLE NOHOLE POTENTIALS PRINT RPATH S02 SCF "
    "XANES".split()
)
"""Cards that have a parameter of their own above, or no bearing on the result."""


def _apparent_radius(deck: Deck) -> float:
    """Return the radius that the cluster seems to be cut at, in Å.

    A deck does not state it, and its farthest atom is a little inside: the next whole Å is taken,
    and at least the radii of SCF and FMS, which nobody cuts short.
    """
    distances = np.linalg.norm(deck.positions - deck.positions[deck.absorber()], axis=1)
    farthest = float(np.ceil(round(float(distances.max()), 4)))
    return max(farthest, deck.argument("SCF", 0) or 0.0, deck.argument("FMS", 0) or 0.0)


def _core_hole(deck: Deck) -> str:
    if "NOHOLE" in deck.cards:
        return "none"
    return " ".join(deck.cards.get("COREHOLE", ("FSR",)))


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
