"""Our decks against those that Lightshow and pymatgen write: the same cards, the same cluster.

If one of these fails after an update of pymatgen or Lightshow, they have changed what FEFF is
asked: say so in the protocols (a new version), or keep what was.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from pymatgen.core import Lattice, Structure
from pymatgen.io.feff.inputs import Header
from pymatgen.io.feff.sets import FEFFDictSet
from pymatgen.symmetry.analyzer import SymmetryUndeterminedError

from nearedge.codes.feff.cluster import cell_of, cluster_around
from nearedge.codes.feff.deck import parse_deck
from nearedge.codes.feff.inputs import (
    _cards,
    asked_deck,
    cluster_radius,
    deck_text,
    written_cards,
)
from nearedge.codes.protocols import load_protocol
from nearedge.codes.site import bare_structure
from nearedge.compat import lightshow_parameters
from nearedge.structures.symmetry import primitive_cells

_ROCK_SALT = Structure.from_spacegroup(
    "Fm-3m", Lattice.cubic(4.26), ["Ti", "O"], [[0, 0, 0], [0.5, 0.5, 0.5]]
)
_PEROVSKITE = Structure.from_spacegroup(
    "Pm-3m", Lattice.cubic(3.905), ["Sr", "Ti", "O"], [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0]]
)
CRYSTALS = {
    "anatase": Structure.from_spacegroup(
        "I4_1/amd", Lattice.tetragonal(3.784, 9.515), ["Ti", "O"], [[0, 0, 0], [0, 0, 0.2081]]
    ),
    "ties everywhere": _ROCK_SALT,
    "a primitive cell": _ROCK_SALT.get_primitive_structure(),
    "a supercell": _PEROVSKITE * (2, 2, 1),
    "an element": Structure.from_spacegroup("Fm-3m", Lattice.cubic(3.61), ["Cu"], [[0, 0, 0]]),
    "one atom, the absorber alone of its element": Structure.from_spacegroup(
        "Pm-3m", Lattice.cubic(9.5), ["Fe", "O"], [[0, 0, 0], [0.5, 0.5, 0]]
    ),
    "graphite": Structure.from_spacegroup(
        "P6_3/mmc", Lattice.hexagonal(2.46, 6.7), ["C", "C"], [[0, 0, 0.25], [1 / 3, 2 / 3, 0.25]]
    ),
    "oblique, far outside of its cell": Structure(
        Lattice.from_parameters(4, 5, 6, 70, 80, 100), ["Fe", "O"], [[7.2, -3.3, 0.1], [0.5, 6, -2]]
    ),
    "a molecule in a box": Structure(
        Lattice.cubic(14),
        ["O", "H", "H"],
        [[0, 0, 0.0045], [0, 0.0541, -0.0361], [0, -0.0541, -0.0361]],
    ),
    "an atom in a box": Structure(Lattice.cubic(20), ["Ti"], [[0.3, 0.3, 0.3]]),
    "deuterium beside hydrogen": Structure(
        Lattice.cubic(5), ["Ti", "H", "D"], [[0, 0, 0], [0.4, 0, 0], [0, 0.4, 0]]
    ),
    "atoms moved by nothing": Structure(
        Lattice.cubic(4.26), _ROCK_SALT.species, _ROCK_SALT.frac_coords + 1e-13
    ),
}


def refuse_difference(crystal: Structure, index: int, edge: str, name: str) -> None:
    """Compare our deck of a site with Lightshow's, word by word, and with what we read of it.

    The title's space group is left out: pymatgen takes angles that differ by 5 degrees for equal,
    and finds none at all for some cells.
    """
    protocol = load_protocol("feff", name)
    radius = cluster_radius(protocol)
    cell = cell_of(crystal)
    crystal = bare_structure(crystal, index, "FEFF")
    cluster = cluster_around(cell, index, radius)
    cards = written_cards(protocol, edge)
    asked = asked_deck(cards, cell, cluster, protocol)
    text = deck_text(cards, cell, cluster, asked.potentials)
    theirs: FEFFDictSet
    (theirs,) = (
        lightshow_parameters("feff")
        .FEFFParameters(cards=_cards(protocol), edge=edge, radius=radius)
        .get_FEFFDictSets(crystal, [index])
    )
    head, rest = text.split("\n\nPOTENTIALS\n")
    potentials, atoms = rest.split("\n\nATOMS\n")
    title, ours = head.split("\n\n")
    with suppress(SymmetryUndeterminedError):
        assert _without_space_group(title) == _without_space_group(str(theirs.header()))
    assert ours == str(theirs.tags)
    # Stoichiometry apart: pymatgen counts the cluster's atoms, we the primitive cell's.
    written = [line.split() for line in potentials.splitlines()[1:]]
    expected = [line.split() for line in str(theirs.potential).splitlines()[3:]]
    assert [row[:5] + row[6:] for row in written] == [row[:5] + row[6:] for row in expected]
    composition = crystal.composition / primitive_cells(crystal)
    assert [row[5] for row in written] == [
        "0.0001" if row[0] == "0" else f"{composition[row[2]]:g}" for row in written
    ]
    assert [float(word) for row in atoms.splitlines()[1:-1] for word in _numbers(row.split())] == [
        float(f"{float(word):g}") for row in theirs.atoms.get_lines() for word in _numbers(row)
    ]
    assert [row.split()[4] for row in atoms.splitlines()[1:-1]] == [
        row[4] for row in theirs.atoms.get_lines()
    ]
    read = parse_deck(text)
    assert np.allclose(read.positions, asked.positions, rtol=0, atol=1e-15)
    different = {"positions": asked.positions, "crystal": None}
    assert replace(read, **different) == replace(asked, **different)


def _without_space_group(title: str) -> list[str]:
    return [line for line in title.splitlines() if "space group" not in line]


def _numbers(row: list[str]) -> list[str]:
    return [*row[:4], *row[5:]]


@pytest.mark.parametrize("name", CRYSTALS)
def test_a_deck_asks_what_lightshows_deck_asks(name: str) -> None:
    crystal = CRYSTALS[name]
    first_of_each = {site.specie: index for index, site in reversed(list(enumerate(crystal)))}
    for index in {*first_of_each.values(), len(crystal) - 1}:
        refuse_difference(crystal, index, "K", "fast")


def test_the_title_names_the_space_group_as_pymatgen_does() -> None:
    for crystal in (CRYSTALS["anatase"], CRYSTALS["graphite"], CRYSTALS["a molecule in a box"]):
        assert cell_of(crystal).title == str(Header(crystal))


def test_every_edge_and_protocol_has_lightshows_cards() -> None:
    refuse_difference(CRYSTALS["anatase"], 1, "L3", "balanced")
    refuse_difference(CRYSTALS["an element"], 0, "L1", "precise")
    refuse_difference(CRYSTALS["graphite"], 0, "K", "fast@1+cluster_radius=4.26+core_hole=FSR")


@settings(max_examples=25, deadline=None, phases=[Phase.generate])
@given(
    lengths=st.tuples(*[st.floats(2.5, 7)] * 3),
    angles=st.tuples(*[st.floats(60, 119)] * 3),
    sites=st.lists(
        st.tuples(st.sampled_from(["Ti", "O", "H", "Cu"]), *[st.floats(-1.5, 1.5)] * 3),
        min_size=1,
        max_size=5,
    ),
    last=st.booleans(),
)
def test_any_crystals_deck_asks_what_lightshows_asks(
    lengths: tuple[float, float, float],
    angles: tuple[float, float, float],
    sites: list[tuple[str, float, float, float]],
    last: bool,
) -> None:
    try:
        lattice = Lattice.from_parameters(*lengths, *angles)
    except ValueError:  # three angles that no cell has
        return
    if not lattice.volume > 8:
        return
    crystal = Structure(lattice, [site[0] for site in sites], [site[1:] for site in sites])
    if len(crystal) > 1 and crystal.distance_matrix[np.triu_indices(len(crystal), 1)].min() < 0.01:
        return  # pymatgen drops an atom at the absorber's place; we refuse it
    refuse_difference(crystal, len(crystal) - 1 if last else 0, "K", "fast@1+cluster_radius=4.0")


def test_an_atom_at_the_absorbers_place_is_not_dropped() -> None:
    twins = Structure(Lattice.cubic(4), ["Ti", "Ti"], [[0, 0, 0], [0, 0, 0]])
    cluster = cluster_around(cell_of(twins), 0, 4.0)
    assert cluster.distances[:3].tolist() == [0, 0, 4]
