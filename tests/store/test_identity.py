"""Only a database that carries NearEdge's identity is used, and only an empty one is given it."""

from __future__ import annotations

import pytest

from nearedge.errors import DatabaseError, ForeignDatabase
from nearedge.store import identity
from nearedge.store.identity import check_identity, establish_identity
from nearedge.store.operations import MongoDatabase


def test_an_empty_database_becomes_ours_once(memory_database: MongoDatabase) -> None:
    with pytest.raises(DatabaseError, match="nearedge up"):
        check_identity(memory_database)
    first = establish_identity(memory_database)
    assert establish_identity(memory_database, "another") == first
    assert check_identity(memory_database, first.instance) == first


def test_somebody_elses_database_is_neither_used_nor_written(
    memory_database: MongoDatabase,
) -> None:
    memory_database["orders"].insert_one({"total": 12})
    for refused in (check_identity, establish_identity):
        with pytest.raises(ForeignDatabase, match="another application"):
            refused(memory_database)
    assert memory_database.list_collection_names() == ["orders"]


def test_another_instances_database_is_foreign(memory_database: MongoDatabase) -> None:
    establish_identity(memory_database, "theirs")
    with pytest.raises(ForeignDatabase, match="theirs"):
        check_identity(memory_database, "ours")


def test_a_database_that_another_process_makes_ours_meanwhile_is_ours(
    memory_database: MongoDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = identity._user_collections

    def slow(database: MongoDatabase) -> list[str]:
        monkeypatch.setattr(identity, "_user_collections", listed)
        establish_identity(database, "faster")
        return listed(database)

    monkeypatch.setattr(identity, "_user_collections", slow)
    assert establish_identity(memory_database, "slower").instance == "faster"
