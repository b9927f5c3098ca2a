"""Who only looks is given a user that can only look: every query works, and nothing else does."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from pydantic import SecretStr
from pymongo.errors import OperationFailure

from nearedge.errors import DatabaseError
from nearedge.settings import Settings
from nearedge.store.connection import client, connect, mongo_uri
from nearedge.store.operations import MongoDatabase
from nearedge.store.queries import CalculationQuery, SpectrumQuery
from nearedge.store.spectra_store import SpectraStore

PASSWORD = "for-looking-only"


@pytest.fixture
def looking(embedded_settings: Settings) -> Settings:
    """Return settings of a user that may `read`, as docker/mongo/create-user.js makes one."""
    database = client(embedded_settings)[embedded_settings.database]
    role = {"role": "read", "db": database.name}
    database.command("createUser", "reader", pwd=PASSWORD, roles=[role])
    where = mongo_uri(embedded_settings).split("@")[1].split("?")[0]
    uri = f"mongodb://reader:{PASSWORD}@{where}?authSource={database.name}&directConnection=true"
    return embedded_settings.model_copy(update={"mongo_uri": SecretStr(uri)})


@pytest.mark.integration
def test_a_read_only_user_sees_all_spectra_and_changes_nothing(
    embedded_settings: Settings,
    looking: Settings,
    copper_oxides: Callable[[MongoDatabase, int], None],
) -> None:
    copper_oxides(connect(embedded_settings), 3)
    store = SpectraStore.from_settings(looking)
    rows = store.listing(SpectrumQuery(absorber="Cu"))
    assert len(rows) == 3
    assert len(list(store.spectra(SpectrumQuery(absorber="Cu")))) == 3
    assert store.count(CalculationQuery(absorber="Cu")) == 3
    (calculation_id, *_) = (each.calculation_id for each in store.calculations(CalculationQuery()))
    with pytest.raises(DatabaseError):
        store.add_project([calculation_id], "mine")
    with pytest.raises(OperationFailure):
        client(looking)[looking.database]["spectra"].delete_many({})
    assert store.count(SpectrumQuery()) == 3


@pytest.mark.integration
def test_a_read_only_user_neither_sees_nor_writes_the_queue(looking: Settings) -> None:
    queue = client(looking)[looking.launchpad_database]["fireworks"]
    with pytest.raises(OperationFailure):
        queue.find_one({})
    with pytest.raises(OperationFailure):
        queue.insert_one({"fw_id": 1, "state": "READY"})
