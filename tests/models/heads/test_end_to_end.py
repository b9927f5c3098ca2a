"""M3GNet and a network trained together: better than frozen, one file, its own featurizer."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from pymatgen.core.lattice import Lattice
from pymatgen.core.structure import Structure

from nearedge.errors import ModelError
from nearedge.models.featurizers.m3gnet_blocks import M3GNetBlocks
from nearedge.models.heads import TrainingRows, head_from_bytes
from nearedge.models.heads.base import Fitted
from nearedge.models.heads.end_to_end import EndToEndHead, EndToEndOptions
from nearedge.models.heads.end_to_end_training import Sites

COUNT = 8
SMALL = {"width": 16, "depth": 1, "max_epochs": 4, "dropout": 0.0}
OPTIONS = EndToEndOptions(
    settings=json.dumps(SMALL), max_epochs=3, learning_rate=3e-3, batch_size=4
)


def crystals() -> list[Structure]:
    """Rock salts of different size, whose spectra will follow their size."""
    lengths = np.linspace(4.0, 4.9, COUNT)
    return [
        Structure(Lattice.cubic(a), ["Cu", "O"], [[0, 0, 0], [0.5, 0.5, 0.5 + 0.02 * n / COUNT]])
        for n, a in enumerate(lengths)
    ]


@pytest.fixture(scope="module")
def frozen() -> M3GNetBlocks:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return M3GNetBlocks(("3",)).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def rows(frozen: M3GNetBlocks) -> tuple[TrainingRows, Sites]:
    structures = crystals()
    features = np.stack([frozen(frozen.graph([s])).numpy()[0] for s in structures])
    lengths = np.array([s.lattice.a for s in structures])
    targets = 2 + np.sin(lengths[:, None] + np.linspace(0, 3, 7))
    places = Sites(structures, np.arange(COUNT), np.zeros(COUNT, dtype=np.intp))
    groups = [f"mp-{n}" for n in range(COUNT)]
    return TrainingRows(features.astype(np.float64), targets, groups), places


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("checkpoints")


@pytest.fixture(scope="module")
def fitted(
    frozen: M3GNetBlocks, rows: tuple[TrainingRows, Sites], checkpoints: Path
) -> Fitted[EndToEndHead]:
    return EndToEndHead.fit_structures(*rows, frozen, OPTIONS, checkpoints=checkpoints)


def test_training_goes_on_from_the_frozen_optimum(
    fitted: Fitted[EndToEndHead], frozen: M3GNetBlocks, rows: tuple[TrainingRows, Sites]
) -> None:
    history = fitted.history
    assert min(history["together.validation_loss"]) < min(history["frozen.validation_loss"])
    before = rows[0].features[:1]
    own = fitted.head.featurizer
    assert own.features(rows[1].structures[0])[:1] != pytest.approx(before, abs=1e-6)
    # The published network itself is as it was.
    assert frozen(frozen.graph(rows[1].structures[:1])).numpy()[:1] == pytest.approx(before)


def test_what_gains_nothing_leaves_the_frozen_optimum(
    frozen: M3GNetBlocks, rows: tuple[TrainingRows, Sites]
) -> None:
    wild = OPTIONS.model_copy(update={"learning_rate": 0.1, "max_epochs": 1})
    fitted = EndToEndHead.fit_structures(*rows, frozen, wild)
    history = fitted.history
    assert min(history["together.validation_loss"]) > min(history["frozen.validation_loss"])
    assert fitted.head.hyperparameters["best_epoch"] == -1
    features = fitted.head.featurizer.features(rows[1].structures[0])
    assert features[:1] == pytest.approx(rows[0].features[:1], abs=1e-6)


def test_its_own_featurizer_gives_what_it_was_trained_on(
    fitted: Fitted[EndToEndHead], rows: tuple[TrainingRows, Sites]
) -> None:
    own = fitted.head.featurizer
    features = np.stack([own.features(structure)[0] for structure in rows[1].structures])
    found = fitted.head.predict(features)
    assert np.sum(found.distance < 1e-5) >= COUNT - 2
    assert found.mean.shape == rows[0].targets.shape
    assert (own.ref.size, sum(own.blocks.values())) == (64, 64)


def test_one_file_holds_both_networks(
    fitted: Fitted[EndToEndHead], rows: tuple[TrainingRows, Sites]
) -> None:
    weights = fitted.head.to_bytes()
    again = head_from_bytes("end_to_end", weights)
    assert isinstance(again, EndToEndHead)
    structure = rows[1].structures[3]
    features = fitted.head.featurizer.features(structure)
    assert np.array_equal(again.featurizer.features(structure), features)
    assert np.array_equal(again.predict(features).mean, fitted.head.predict(features).mean)
    assert again.featurizer.ref == fitted.head.featurizer.ref
    assert again.to_bytes() == weights
    with pytest.raises(ModelError, match="cannot be read"):
        head_from_bytes("end_to_end", weights[:-100])


def test_what_was_trained_already_is_not_trained_again(
    fitted: Fitted[EndToEndHead],
    frozen: M3GNetBlocks,
    rows: tuple[TrainingRows, Sites],
    checkpoints: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(Trainer, "fit")
    again = EndToEndHead.fit_structures(*rows, frozen, OPTIONS, checkpoints=checkpoints)
    assert again.history == fitted.history
    assert again.head.to_bytes() == fitted.head.to_bytes()


def test_features_alone_are_refused(rows: tuple[TrainingRows, Sites]) -> None:
    with pytest.raises(ModelError, match="learns from structures"):
        EndToEndHead.fit(rows[0])


def test_a_head_that_is_no_network_is_refused(
    frozen: M3GNetBlocks, rows: tuple[TrainingRows, Sites]
) -> None:
    with pytest.raises(ModelError, match="no network"):
        EndToEndHead.fit_structures(*rows, frozen, EndToEndOptions(kind="kernel"))
