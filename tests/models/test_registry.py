"""An exported model comes back as it was, or not at all."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from nearedge.errors import ModelError
from nearedge.models.registry import (
    CARD,
    WEIGHTS,
    is_model_folder,
    load_model,
    save_folder,
    unchecked,
)
from nearedge.models.trained import TrainedModel
from nearedge.schemas.model import Metric


@pytest.fixture
def folder(trained: TrainedModel, weights: bytes, tmp_path: Path) -> Path:
    return save_folder(tmp_path / "model", trained.card, weights)


def test_a_model_survives_the_way_through_a_folder(folder: Path, trained: TrainedModel) -> None:
    loaded = load_model(folder)
    assert is_model_folder(folder)
    assert loaded.card == trained.card
    assert loaded.head.to_bytes() == trained.head.to_bytes()


def test_one_changed_byte_of_the_weights_is_refused(folder: Path) -> None:
    weights = bytearray((folder / WEIGHTS).read_bytes())
    weights[-3] ^= 1
    (folder / WEIGHTS).write_bytes(weights)
    with pytest.raises(ModelError, match="changed or cut short"):
        load_model(folder)


def test_weights_cut_short_are_refused(folder: Path) -> None:
    weights = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(weights[: len(weights) // 2])
    with pytest.raises(ModelError, match="changed or cut short"):
        load_model(folder)


@pytest.mark.parametrize("name", [CARD, WEIGHTS])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(ModelError, match=name):
        load_model(folder)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"name": "x"}', '{"model_id": 3}'])
def test_a_damaged_card_is_refused(folder: Path, text: str) -> None:
    (folder / CARD).write_text(text)
    with pytest.raises(ModelError, match="no model card"):
        load_model(folder)


@pytest.mark.parametrize(
    "change",
    [
        {"name": "better"},
        {"training_rows": 41},
        {"metrics": {"val_eta": {"value": 50.0}}},
        {"featurizer": {"name": "chgnet", "weights_sha256": None, "size": 6}},
        {"parent": "f" * 32},
        {"created_at": "2020-01-01T00:00:00Z"},
    ],
)
def test_a_changed_card_is_refused(folder: Path, change: dict[str, object]) -> None:
    card = json.loads((folder / CARD).read_text())
    (folder / CARD).write_text(json.dumps(card | change))
    with pytest.raises(ModelError, match="does not have the digest"):
        load_model(folder)


@pytest.mark.parametrize("share", [0.3, 0.9, 0.999])
def test_a_card_cut_short_is_refused(folder: Path, share: float) -> None:
    text = (folder / CARD).read_text().rstrip()
    (folder / CARD).write_text(text[: int(share * len(text))])
    with pytest.raises(ModelError, match="no model card"):
        load_model(folder)


def test_a_card_of_a_release_without_digests_is_read_and_said_to_be_unchecked(
    folder: Path, trained: TrainedModel
) -> None:
    card = json.loads((folder / CARD).read_text())
    since = ("digest", "training_sets", "training_id", "inputs", "fidelities", "input_dataset")
    since += ("input_model", "seeds", "licences", "left_out_blob")
    (folder / CARD).write_text(json.dumps({k: v for k, v in card.items() if k not in since}))
    old = load_model(folder)
    assert unchecked(old.card) is not None
    assert "no digest" in str(unchecked(old.card))
    assert unchecked(trained.card) is None
    assert old.card.absorbers == ["Cu"]
    assert np.array_equal(old.energies_of("Cu"), trained.energies)


def test_an_infinite_score_survives_the_folder(
    trained: TrainedModel, weights: bytes, tmp_path: Path
) -> None:
    perfect = {"val_eta": Metric(value=float("inf"))}
    card = trained.card.model_copy(update={"metrics": perfect}).sealed()
    assert load_model(save_folder(tmp_path / "m", card, weights)).card.metrics == perfect


def test_a_card_of_another_grid_is_refused(folder: Path) -> None:
    card = json.loads((folder / CARD).read_text())
    card["grid"]["points"] += 1
    del card["digest"]
    (folder / CARD).write_text(json.dumps(card))
    with pytest.raises(ModelError, match="energies where its card has"):
        load_model(folder)


def test_exporting_into_a_folder_of_other_things_is_refused(
    trained: TrainedModel, weights: bytes, tmp_path: Path
) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(ModelError, match=r"thesis\.tex"):
        save_folder(tmp_path, trained.card, weights)


def test_exporting_again_is_harmless(folder: Path, trained: TrainedModel, weights: bytes) -> None:
    assert load_model(save_folder(folder, trained.card, weights)).card == trained.card
