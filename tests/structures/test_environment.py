"""Five numbers tell the surroundings of a site, and say why where they cannot."""

from __future__ import annotations

import math

import numpy as np
import pytest
from pymatgen.analysis.local_env import CrystalNN
from pymatgen.core import Lattice, Structure

from nearedge.errors import StructureError
from nearedge.structures.environment import DESCRIPTORS, site_environments


def rock_salt(a: float = 4.2, metal: str = "Ni", other: str = "O") -> Structure:
    return Structure.from_spacegroup(
        "Fm-3m", Lattice.cubic(a), [metal, other], [[0, 0, 0], [0.5, 0.5, 0.5]]
    ).get_primitive_structure()


def test_an_octahedron_of_rock_salt_is_known_exactly() -> None:
    (found,) = site_environments(rock_salt(), [0])
    assert found.named == {
        "CT": 2.0,
        "CN": 6.0,
        "OCN": 6.0,
        "RSTD": 0.0,
        "MOOD": pytest.approx(4.2 / math.sqrt(2), abs=1e-4),
    }
    assert (found.charge_source, found.reasons) == ("bond_valence", {})


def test_rutile_has_six_oxygens_of_three_cations_at_two_distances() -> None:
    a, c, u = 4.594, 2.959, 0.305
    rutile = Structure.from_spacegroup(
        "P4_2/mnm", Lattice.tetragonal(a, c), ["Ti", "O"], [[0, 0, 0], [u, u, 0]]
    )
    (found,) = site_environments(rutile, [0])
    long, short = u * a * math.sqrt(2), math.hypot((0.5 - u) * a * math.sqrt(2), c / 2)
    assert found.named["CT"] == 4
    assert (found.coordination, found.oxygen_coordination) == (6, 3)
    assert found.spread == pytest.approx(np.std([long] * 2 + [short] * 4), abs=1e-4)
    assert found.ligand_distance == pytest.approx(a * math.sqrt(2) * (1 - 2 * u), abs=1e-4)


def test_without_oxygen_and_without_charges_numbers_are_nan_with_a_reason() -> None:
    alloy = rock_salt(5.6, "Cu", "Au")
    (found,) = site_environments(alloy, [0])
    assert {name for name, value in found.named.items() if math.isnan(value)} == {"CT", "OCN"}
    assert found.charge_source == "none"
    assert found.reasons["OCN"] == "No neighbour is oxygen."
    assert "No common oxidation states" in found.reasons["CT"]


def test_where_bond_valences_fit_no_integers_the_charge_is_guessed_from_the_formula() -> None:
    metal = Structure.from_spacegroup("Fm-3m", Lattice.cubic(3.61), ["Cu"], [[0, 0, 0]])
    (found,) = site_environments(metal, [0])
    assert (found.charge, found.charge_source, found.coordination) == (0, "guess", 12)


def test_what_crystalnn_cannot_do_is_told_and_costs_the_charge_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*args: object, **kwargs: object) -> None:
        raise RuntimeError("no Voronoi cell")

    monkeypatch.setattr(CrystalNN, "get_nn_info", broken)
    (found,) = site_environments(rock_salt(), [0])
    assert found.charge == 2
    assert found.reasons.keys() == set(DESCRIPTORS) - {"CT"}
    assert all(math.isnan(found.named[name]) for name in found.reasons)
    assert "no Voronoi cell" in found.reasons["CN"]


def test_oxidation_states_that_a_structure_carries_change_nothing() -> None:
    decorated = rock_salt().add_oxidation_state_by_element({"Ni": 3, "O": -3})
    assert site_environments(decorated, [0]) == site_environments(rock_salt(), [0])


def test_a_site_that_is_not_there_is_refused() -> None:
    with pytest.raises(StructureError, match="no site 2 in NiO"):
        site_environments(rock_salt(), [2])
