"""A site unlike the training sites is told so, with the reason; the others are left in peace."""

from __future__ import annotations

import numpy as np
import pytest
from pymatgen.core.lattice import Lattice
from pymatgen.core.structure import Structure

from nearedge.models.uncertainty.domain import Domain
from nearedge.models.uncertainty.surroundings import Surroundings, surroundings


def two_cubes(cation: str, anion: str, constant: float, moved: list[float]) -> Structure:
    """Two face-centred cubes, one moved against the other."""
    fcc = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
    return Structure(
        Lattice.cubic(constant), [cation] * 4 + [anion] * 4, [*fcc, *(fcc + moved) % 1]
    )


def rock_salt(cation: str, anion: str, constant: float = 4.2) -> Structure:
    return two_cubes(cation, anion, constant, [0.5, 0.5, 0.5])


def zinc_blende(cation: str, anion: str) -> Structure:
    return two_cubes(cation, anion, 4.6, [0.25, 0.25, 0.25])


@pytest.fixture
def domain() -> Domain:
    """Trained on octahedral Cu in CuO and CuS, at distances up to 1 from each other."""
    seen = [s for anion in "OS" for s in surroundings(rock_salt("Cu", anion), [0])]
    distances = np.linspace(0.0, 1.0, 400)
    return Domain.fit(distances, list(range(400)), seen * 200)


def test_surroundings_are_those_of_the_textbook(cuprite: Structure) -> None:
    (site,) = surroundings(rock_salt("Cu", "O"), [0])
    assert site == Surroundings(frozenset({8, 29}), frozenset({8}), 6, "AB 225 m-3m")
    (site,) = surroundings(zinc_blende("Cu", "O"), [0])
    assert (site.coordination, site.structure_type) == (4, "AB 216 -43m")
    primitive = [[0, 1.8, 1.8], [1.8, 0, 1.8], [1.8, 1.8, 0]]
    assert surroundings(Structure(primitive, ["Cu"], [[0, 0, 0]]), [0])[0].coordination == 12
    assert [s.coordination for s in surroundings(cuprite, [2, 5])] == [2, 2]


def test_six_neighbours_of_which_two_are_far_are_six() -> None:
    stretched = Structure(
        Lattice.tetragonal(3.9, 4.8), ["Cu", "O", "O", "O"],
        [[0, 0, 0], [0.5, 0, 0], [0, 0.5, 0], [0, 0, 0.5]],
    )  # fmt: skip
    assert surroundings(stretched, [0])[0].coordination == 6


def test_a_lone_atom_has_no_neighbours() -> None:
    alone = Structure(Lattice.cubic(12.0), ["Cu"], [[0, 0, 0]])
    assert surroundings(alone, [0])[0].coordination == 0


def test_a_site_like_the_training_sites_is_inside(domain: Domain) -> None:
    (site,) = surroundings(rock_salt("Cu", "O", 4.4), [0])
    verdict = domain.judge(site, 0.5)
    assert (verdict.outside, verdict.unfamiliar) == ([], [])


def test_each_reason_is_given_in_words(domain: Domain) -> None:
    (fluoride,) = surroundings(rock_salt("Cu", "F"), [0])
    assert domain.judge(fluoride, 0.1).outside == ["no training structure holds F"]
    (tetrahedral,) = surroundings(zinc_blende("Cu", "O"), [0])
    verdict = domain.judge(tetrahedral, 0.1)
    assert verdict.outside == ["no training site has 4 neighbours"]
    assert "type AB, space group 216, with the site symmetry -43m" in verdict.unfamiliar[0]
    near_cu = Surroundings(frozenset({8, 29}), frozenset({29}), 6, "AB 225 m-3m")
    assert domain.judge(near_cu, 0.1).outside == ["no training site has Cu as a neighbour"]
    (reason,) = domain.judge(None, 2.0).outside
    assert reason == (
        "it is 2 from the nearest training site, and 99% of materials left out in turn are within "
        "0.99"
    )


def test_a_new_structure_type_counts_where_the_training_sites_are_far(domain: Domain) -> None:
    site = Surroundings(frozenset({8, 29}), frozenset({8}), 6, "AB2 136 m.mm")
    near, far = domain.judge(site, 0.7), domain.judge(site, 0.8)
    assert near.outside == far.unfamiliar == []
    assert near.unfamiliar == [
        "no training site is in a structure of type AB2, space group 136, with the site symmetry "
        "m.mm"
    ]
    assert far.outside == [
        f"{near.unfamiliar[0]}, and it is 0.8 from the nearest training site: 75% of materials of "
        "known types are within 0.75"
    ]
    known = Surroundings(frozenset({8, 29}), frozenset({8}), 6, "AB 225 m-3m")
    assert domain.judge(known, 0.8).outside == []


def test_materials_of_types_that_no_other_shares_do_not_say_what_is_usual() -> None:
    kinds = ["AB 225 m-3m"] * 60 + [f"AB{number} 1 1" for number in range(40)]
    seen = [Surroundings(frozenset({29}), frozenset({29}), 12, kind) for kind in kinds]
    distances = np.array([0.1] * 60 + [0.9] * 40)
    assert Domain.fit(distances, list(range(100)), seen).type_distance == 0.1
    alone = Domain.fit(distances[60:], list(range(40)), seen[60:])
    assert alone.type_distance == np.inf


def test_arrays_carry_it(domain: Domain) -> None:
    again = Domain.from_arrays(domain.to_arrays())
    assert (again.distance, again.surroundings) == (domain.distance, domain.surroundings)
    assert again.type_distance == domain.type_distance
    without = Domain.from_arrays(Domain.fit(None, ["a"], None).to_arrays())
    assert (without.distance, without.surroundings) == (np.inf, None)


def test_a_model_of_an_older_release_knows_no_limit_for_new_types(domain: Domain) -> None:
    arrays = domain.to_arrays()
    older = Domain.from_arrays({**arrays, "distance": arrays["distance"][:1]})
    assert (older.distance, older.type_distance) == (domain.distance, np.inf)
