"""Descriptors of surroundings depend on what a site sees, and on nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from pymatgen.core.lattice import Lattice
from pymatgen.core.structure import Structure

from nearedge.errors import ModelError
from nearedge.models.featurizers import load_featurizer
from nearedge.models.featurizers.elements import PROPERTIES, SYMBOLS, element_properties

NAMES = ["soap:4", "soap:5", "soap:6", "acsf", "radial"]
LATTICE = Lattice.from_parameters(4.1, 5.2, 6.3, 82, 95, 101)
SYMBOLS_HERE = ["Cu", "O", "La", "S", "O"]
PLACES = np.random.default_rng(3).uniform(size=(5, 3))
ORIGIN = np.array([0.3, -1.2, 2.0])
SULFIDE = Structure(LATTICE, SYMBOLS_HERE, PLACES)


@pytest.mark.parametrize("name", NAMES)
def test_rotation_order_cell_and_origin_do_not_matter(name: str) -> None:
    featurizer = load_featurizer(name)
    expected = featurizer.features(SULFIDE)
    scale = np.abs(expected).max()
    rotation, _ = np.linalg.qr(np.random.default_rng(5).normal(size=(3, 3)))
    rotated = Structure(LATTICE.matrix @ rotation, SYMBOLS_HERE, PLACES + ORIGIN)
    assert featurizer.features(rotated) == pytest.approx(expected, abs=1e-5 * scale)
    order = [4, 2, 0, 1, 3]
    shuffled = Structure.from_sites([SULFIDE[number] for number in order])
    assert featurizer.features(shuffled) == pytest.approx(expected[order], abs=1e-5 * scale)
    twice = SULFIDE * (1, 1, 2)
    assert featurizer.features(twice)[::2] == pytest.approx(expected, abs=1e-5 * scale)


@pytest.mark.parametrize("name", NAMES)
def test_another_neighbour_or_a_moved_one_is_seen(name: str) -> None:
    featurizer = load_featurizer(name)
    expected = featurizer.features(SULFIDE)[0]
    replaced = SULFIDE.copy()
    replaced.replace(3, "Cl")
    moved = SULFIDE.copy()
    moved.translate_sites([3], [0.02, 0, 0])
    for other in (replaced, moved):
        assert np.abs(featurizer.features(other)[0] - expected).max() > 1e-3


@pytest.mark.parametrize("name", ["soap:4", "radial"])
def test_a_neighbour_that_leaves_makes_no_step(name: str) -> None:
    featurizer = load_featurizer(name)
    cutoff = float(featurizer.ref.options["cutoff"])
    box = Lattice.orthorhombic(20, 20, 30)

    def pair(distance: float) -> np.ndarray:
        sites = [[0, 0, 0], [0, 0, distance]]
        return featurizer.features(Structure(box, ["Cu", "O"], sites, coords_are_cartesian=True))

    assert pair(cutoff - 1e-3) == pytest.approx(pair(cutoff + 1e-3), abs=1e-4)
    assert np.abs(pair(cutoff / 2) - pair(cutoff + 1)).max() > 0.01


def test_radial_distributions_are_the_sums_that_they_are_said_to_be() -> None:
    found = load_featurizer("radial").features(SULFIDE)[0].reshape(len(PROPERTIES), 16)
    expected = np.zeros_like(found)
    centres = 1.2 + np.arange(16) * (6.5 - 1.2) / 16
    for neighbour in SULFIDE.get_neighbors(SULFIDE[0], 6.5):
        distance = neighbour.nn_distance
        shell = np.exp(-((distance - centres) ** 2) / (2 * (0.8 * (6.5 - 1.2) / 16) ** 2))
        shell *= 0.5 * (1 + np.cos(np.pi * distance / 6.5))
        expected += np.outer(element_properties()[neighbour.specie.Z - 1], shell)
    assert found == pytest.approx(expected, rel=1e-5, abs=1e-5)


def test_properties_are_standardised_and_tell_elements_apart() -> None:
    properties = element_properties()
    assert properties.shape == (len(SYMBOLS), len(PROPERTIES))
    np.testing.assert_array_equal(properties[:, 0], 1.0)
    assert properties[:, 1:].mean(axis=0) == pytest.approx(0, abs=1e-12)
    assert properties[:, 1:].std(axis=0) == pytest.approx(1)
    assert len(np.unique(properties, axis=0)) == len(SYMBOLS)
    assert SYMBOLS[int(properties[:, 1].argmax())] == "Ne"
    assert SYMBOLS[int(properties[:, 2].argmax())] in ("Cs", "Fr")


@pytest.mark.parametrize("name", NAMES)
def test_an_element_without_properties_is_named(name: str) -> None:
    with pytest.raises(ModelError, match="no properties of Bk"):
        load_featurizer(name).features(Structure(Lattice.cubic(3.4), ["Bk"], [[0, 0, 0]]))


@pytest.mark.parametrize("name", NAMES)
def test_a_lone_atom_has_features_too(name: str) -> None:
    lone = Structure(Lattice.cubic(20.0), ["Cu"], [[0, 0, 0]])
    assert np.all(np.isfinite(load_featurizer(name).features(lone)))
