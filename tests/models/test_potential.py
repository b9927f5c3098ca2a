"""The potential that structures are relaxed with: its slopes are those of its energy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import matgl
import numpy as np
import pytest
import torch
from ase import Atoms
from matgl.ext.ase import PESCalculator
from pymatgen.core import Lattice, Structure
from pymatgen.io.ase import AseAtomsAdaptor

from nearedge.compat import sum_messages_at_destination
from nearedge.models.featurizers.reference import M3GNET_MP_2021_2_8
from nearedge.models.potential import M3GNetCalculator, outside_of_m3gnet

WEIGHTS = "models/M3GNet-MP-2021.2.8-PES"
STEP = 1e-3


@pytest.fixture(scope="module")
def calculator(shared: Callable[[str], Path]) -> M3GNetCalculator:
    return M3GNetCalculator(shared(WEIGHTS))


@pytest.fixture(scope="module")
def crooked() -> Structure:
    """Return rutile with a sheared cell and displaced atoms: nothing cancels by symmetry."""
    rutile = M3GNET_MP_2021_2_8[1].structure()
    noise = np.random.default_rng(0)
    cell = rutile.lattice.matrix @ (np.eye(3) + 0.03 * noise.normal(size=(3, 3)))
    positions = rutile.frac_coords + 0.02 * noise.normal(size=(6, 3))
    return Structure(Lattice(cell), rutile.species, positions)


def _strained(structure: Structure, strain: np.ndarray) -> Structure:
    cell = structure.lattice.matrix @ (np.eye(3) + strain)
    return Structure(Lattice(cell), structure.species, structure.frac_coords)


def test_forces_are_minus_the_slope_of_the_energy(
    calculator: M3GNetCalculator, crooked: Structure
) -> None:
    forces = calculator.of(crooked).forces
    assert np.abs(forces).max() > 0.5
    assert np.abs(forces.sum(axis=0)).max() < 1e-10
    for site, axis in ((0, 0), (2, 1), (5, 2)):
        energies = []
        for sign in (1, -1):
            moved = crooked.cart_coords.copy()
            moved[site, axis] += sign * STEP
            there = Structure(crooked.lattice, crooked.species, moved, coords_are_cartesian=True)
            energies.append(calculator.of(there).energy)
        slope = (energies[0] - energies[1]) / (2 * STEP)
        assert forces[site, axis] == pytest.approx(-slope, abs=2e-5)


def test_stress_is_the_slope_of_the_energy_by_strain_in_ev_per_cubic_angstrom(
    calculator: M3GNetCalculator, crooked: Structure
) -> None:
    stress = calculator.of(crooked).stress
    for first, second in ((0, 0), (1, 1), (2, 2), (0, 1), (1, 2)):
        energies = []
        for sign in (1, -1):
            strain = np.zeros((3, 3))
            strain[first, second] += sign * STEP / 2
            strain[second, first] += sign * STEP / 2
            energies.append(calculator.of(_strained(crooked, strain)).energy)
        slope = (energies[0] - energies[1]) / (2 * STEP) / crooked.volume
        assert stress[first, second] == pytest.approx(slope, abs=2e-6)


def test_a_squeezed_crystal_pushes(calculator: M3GNetCalculator) -> None:
    salt = M3GNET_MP_2021_2_8[0].structure()
    squeezed, stretched = (_strained(salt, size * np.eye(3)) for size in (-0.03, 0.03))
    assert calculator.of(squeezed).pressure > 0.01
    assert calculator.of(stretched).pressure < -0.01


def test_it_is_the_published_model_and_matgls_own_only_once_that_is_mended(
    calculator: M3GNetCalculator, crooked: Structure, shared: Callable[[str], Path]
) -> None:
    potential = matgl.load_model(str(shared(WEIGHTS)))
    atoms: Atoms = AseAtomsAdaptor.get_atoms(crooked)
    ours = calculator.of(crooked)
    theirs = PESCalculator(potential, stress_unit="eV/A3")
    theirs.calculate(atoms)
    assert abs(theirs.results["energy"] - ours.energy) > 1.0, "matgl is right by itself: see compat"
    sum_messages_at_destination(potential.model.graph_layers)
    mended = PESCalculator(potential, stress_unit="eV/A3")
    mended.calculate(atoms)
    assert float(mended.results["energy"]) == pytest.approx(ours.energy, abs=1e-3)
    assert mended.results["forces"] == pytest.approx(ours.forces, abs=2e-4)
    stress = ours.stress[(0, 1, 2, 1, 0, 0), (0, 1, 2, 2, 2, 1)]
    found = np.asarray(mended.results["stress"])
    found = found if found.shape == (6,) else found[(0, 1, 2, 1, 0, 0), (0, 1, 2, 2, 2, 1)]
    assert found == pytest.approx(stress, abs=2e-5)


def test_what_it_does_not_know_is_told_before_anything_runs() -> None:
    polonium = Structure(Lattice.cubic(3.3), ["Po"], [[0, 0, 0]])
    assert "Po" in str(outside_of_m3gnet(polonium))
    lonely = Structure(Lattice.cubic(12.0), ["Ti"], [[0, 0, 0]])
    assert "within 5 Å" in str(outside_of_m3gnet(lonely))
    assert outside_of_m3gnet(M3GNET_MP_2021_2_8[0].structure()) is None


def test_the_calculator_leaves_torchs_precision_as_it_was(calculator: M3GNetCalculator) -> None:
    assert calculator.weights_sha256
    assert torch.get_default_dtype() == torch.float32
