"""Data sets and models are found by id, or by name the newest, with the very weights they have."""

from __future__ import annotations

import hashlib
from datetime import timedelta

import pytest

from nearedge.errors import DatabaseError
from nearedge.schemas.dataset import DatasetDoc, DatasetRow, GridDoc
from nearedge.schemas.document import utc_now
from nearedge.schemas.model import FeaturizerRef, Metric, ModelCard
from nearedge.spectra.spectrum import AbsorptionUnit
from nearedge.store.blobs import BLOBS
from nearedge.store.learned import DatasetStore, ModelStore
from nearedge.store.operations import MongoDatabase

GRID = GridDoc(start=8983.173, step=0.25, points=141)


def dataset(identifier: str, rows: int = 3, age: int = 0) -> DatasetDoc:
    return DatasetDoc(
        dataset_id=identifier,
        created_at=utc_now() - timedelta(days=age),
        name="copper",
        absorber="Cu",
        edge="K",
        code="feff",
        protocol="precise@1",
        parameters_id="p",
        unit=AbsorptionUnit.MILLIBOHR2,
        grid=GRID,
        query={"absorber": "Cu"},
        rows=[
            DatasetRow(
                spectrum_id=f"s{i}",
                structure_key=f"k{i}",
                structure_id=f"m{i}",
                absorbing_index=i,
                group=f"m{i}",
                label=f"mp-{i}_000",
            )
            for i in range(rows)
        ],
        split={"train": list(range(rows - 1)), "test": [rows - 1]},
    )


def card(weights: bytes, age: int = 0) -> ModelCard:
    digest = hashlib.sha256(weights).hexdigest()
    return ModelCard(
        model_id=digest[:32],
        created_at=utc_now() - timedelta(days=age),
        name="copper",
        head="kernel",
        absorber="Cu",
        edge="K",
        code="feff",
        protocol="precise@1",
        dataset_id="d",
        featurizer=FeaturizerRef(name="m3gnet", weights_sha256=None, size=64),
        unit=AbsorptionUnit.MILLIBOHR2,
        grid=GRID,
        hyperparameters={"length": 16.0},
        metrics={"eta": Metric(value=5.7, low=4.8, high=6.4)},
        training_rows=3340,
        cpu_seconds=2.0,
        code_version="0",
        weights_sha256=digest,
    )


@pytest.mark.parametrize("rows", [3, 800])
def test_a_data_set_comes_back_unchanged(memory_database: MongoDatabase, rows: int) -> None:
    store = DatasetStore(memory_database)
    frozen = dataset("d", rows)
    store.put(frozen)
    store.put(frozen)
    assert store.get("d") == store.get("copper") == frozen
    assert store.list() == [frozen]


def test_a_name_means_the_newest(memory_database: MongoDatabase) -> None:
    store = DatasetStore(memory_database)
    store.put(dataset("new"))
    store.put(dataset("old", age=3))
    assert store.get("copper").dataset_id == "new"
    assert store.get("old").dataset_id == "old"
    assert [found.dataset_id for found in store.list()] == ["new", "old"]


def test_what_is_not_there_is_an_error_that_names_what_is(memory_database: MongoDatabase) -> None:
    with pytest.raises(DatabaseError, match="there are: none"):
        DatasetStore(memory_database).get("copper")
    ModelStore(memory_database).put(card(b"w"), b"w")
    with pytest.raises(DatabaseError, match="there are: copper"):
        ModelStore(memory_database).get("iron")


def test_a_model_comes_back_with_its_weights(memory_database: MongoDatabase) -> None:
    store = ModelStore(memory_database)
    weights = bytes(range(256)) * 4000
    stored = store.put(card(weights), weights)
    assert store.get("copper") == store.get(stored.model_id) == (stored, weights)
    assert stored.weights_blob is not None
    assert store.card("copper") == stored


def test_weights_that_are_not_the_cards_are_refused(memory_database: MongoDatabase) -> None:
    store = ModelStore(memory_database)
    with pytest.raises(DatabaseError, match="SHA-256"):
        store.put(card(b"weights"), b"weight")
    assert store.list() == []


def test_damaged_weights_are_an_error(memory_database: MongoDatabase) -> None:
    store = ModelStore(memory_database)
    store.put(card(b"weights"), b"weights")
    memory_database[BLOBS].update_one({}, {"$set": {"data": b"other"}})
    with pytest.raises(DatabaseError, match="damaged"):
        store.get("copper")
