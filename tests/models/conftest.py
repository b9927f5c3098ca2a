"""Models and features small enough to make in milliseconds, and the real ones, made once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pymatgen.core.lattice import Lattice
from pymatgen.core.structure import Structure

from nearedge.models.featurizers.m3gnet import M3GNetFeaturizer, load_m3gnet
from nearedge.models.heads import KernelHead, TrainingRows
from nearedge.models.trained import TrainedModel, make_card
from nearedge.schemas.dataset import DatasetDoc, DatasetRow, GridDoc
from nearedge.schemas.model import FeaturizerRef
from nearedge.spectra.spectrum import AbsorptionUnit, FloatArray

SIZE, POINTS = 6, 9


class CoordinateFeaturizer:
    """Features that are simple functions of a site's surroundings: quick, and known by heart."""

    ref = FeaturizerRef(name="coordinates", weights_sha256="0" * 64, size=SIZE)

    def features(self, structure: Structure) -> FloatArray:
        distances = structure.distance_matrix
        numbers = np.array([site.specie.Z for site in structure], dtype=np.float64)
        powers = [np.exp(-((distances / (k + 1)) ** 2)) @ numbers for k in range(SIZE - 1)]
        return np.stack([numbers, *powers], axis=1)


@pytest.fixture
def featurizer() -> CoordinateFeaturizer:
    return CoordinateFeaturizer()


@pytest.fixture
def cuprite() -> Structure:
    """Cu2O: four Cu in one orbit, two O in another."""
    oxygen = [[0, 0, 0], [0.5, 0.5, 0.5]]
    copper = [[x, y, z] for x in (0.25, 0.75) for y in (0.25, 0.75) for z in (0.25, 0.75)]
    even = [p for p in copper if round(4 * sum(p)) % 4 == 3]
    return Structure(Lattice.cubic(4.27), ["O"] * 2 + ["Cu"] * 4, [*oxygen, *even])


@pytest.fixture
def two_kinds_of_copper() -> Structure:
    """A cell with three Cu, two of which are equivalent."""
    return Structure(
        Lattice.tetragonal(4.0, 9.0),
        ["O", "Cu", "Cu", "O", "Cu"],
        [[0, 0, 0.2], [0.5, 0.5, 0.15], [0, 0, 0.5], [0, 0, 0.8], [0.5, 0.5, 0.85]],
    )


def synthetic(
    materials: int, *, seed: int = 0, sites: int = 2
) -> tuple[FloatArray, FloatArray, list[str]]:
    """Features, spectra that follow from them with noise, and the material of each row."""
    generator = np.random.default_rng(seed)
    centers = generator.normal(size=(materials, SIZE))
    features = np.repeat(centers, sites, axis=0)
    features += 0.05 * generator.normal(size=features.shape)
    energies = np.linspace(0, 1, POINTS)
    targets = 2.0 + np.tanh(features @ np.random.default_rng(7).normal(size=(SIZE, POINTS)) / 2)
    targets += 0.03 * generator.normal(size=targets.shape) * (1 + energies)
    return features, targets, [f"mp-{i}" for i in range(materials) for _ in range(sites)]


@pytest.fixture
def make_synthetic() -> Callable[..., tuple[FloatArray, FloatArray, list[str]]]:
    return synthetic


def a_dataset(rows: int = 4) -> DatasetDoc:
    return DatasetDoc(
        dataset_id="d" * 32,
        name="synthetic",
        absorber="Cu",
        edge="K",
        code="feff",
        protocol="fast@1",
        parameters_id="p" * 32,
        unit=AbsorptionUnit.NORMALIZED,
        grid=GridDoc(start=8980.0, step=0.5, points=POINTS),
        query={},
        rows=[
            DatasetRow(
                spectrum_id=f"s{i}",
                structure_key=f"k{i}",
                structure_id=f"i{i}",
                absorbing_index=0,
                group=f"mp-{i}",
                label=f"mp-{i}_000",
            )
            for i in range(rows)
        ],
        split={"train": list(range(rows))},
    )


@pytest.fixture
def weights() -> bytes:
    features, targets, groups = synthetic(20)
    # Scaled to what CoordinateFeaturizer gives, so that predictions are not all the mean.
    return KernelHead.fit(TrainingRows(features * 10 + 30, targets, groups)).head.to_bytes()


@pytest.fixture
def trained(weights: bytes) -> TrainedModel:
    head = KernelHead.from_bytes(weights)
    card = make_card(
        head,
        weights,
        [a_dataset()],
        CoordinateFeaturizer.ref,
        name="cu-test",
        metrics={},
        rows=[40],
        cpu_seconds=0.1,
    )
    return TrainedModel.from_bytes(card, weights)


@pytest.fixture(scope="session")
def m3gnet(shared: Callable[[str], Path]) -> M3GNetFeaturizer:
    return load_m3gnet(shared("models"))
