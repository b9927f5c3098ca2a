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
    return Domain.fit(distances, list(range(400)), seen)


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


def test_arrays_carry_it(domain: Domain) -> None:
    again = Domain.from_arrays(domain.to_arrays())
    assert (again.distance, again.surroundings) == (domain.distance, domain.surroundings)
    without = Domain.from_arrays(Domain.fit(None, ["a"], None).to_arrays())
    assert (without.distance, without.surroundings) == (np.inf, None)
