"""Whatever the database driver raises becomes one sentence with what to do."""

from __future__ import annotations

import pytest
from pymongo.errors import (
    AutoReconnect,
    ConfigurationError,
    DocumentTooLarge,
    OperationFailure,
    ServerSelectionTimeoutError,
)

from nearedge.errors import DatabaseError, DatabaseUnavailable, NearEdgeError, SettingsError
from nearedge.store.operations import operation


@pytest.mark.parametrize(
    ("raised", "becomes", "says"),
    [
        (AutoReconnect("127.0.0.1:1: refused (configured timeouts: 1)"), DatabaseUnavailable, "up"),
        (ServerSelectionTimeoutError("no, Timeout: 1s, Topology"), DatabaseUnavailable, r"\(no\)"),
        (OperationFailure("Authentication failed.", 18), DatabaseError, "user and password"),
        (OperationFailure("disk full, full error: {'ok': 0}", 14031), DatabaseError, "disk full"),
        (DocumentTooLarge("17 MB"), DatabaseError, "17 MB"),
        (ConfigurationError("bad option"), SettingsError, "NEAREDGE_MONGO_URI"),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_driver_errors_become_ours(
    raised: Exception, becomes: type[NearEdgeError], says: str
) -> None:
    @operation
    def fails() -> None:
        raise raised

    with pytest.raises(becomes, match=says) as error:
        fails()
    assert "Topology" not in str(error.value)
    assert "full error" not in str(error.value)


def test_a_connection_left_by_a_restarted_server_is_tried_again() -> None:
    calls: list[int] = []

    @operation
    def first_connection_is_dead() -> str:
        calls.append(1)
        if len(calls) == 1:
            raise AutoReconnect("connection closed")
        return "stored"

    assert first_connection_is_dead() == "stored"
    assert len(calls) == 2


def test_a_database_that_is_not_there_is_waited_for_once_only() -> None:
    calls: list[int] = []

    @operation
    def nobody_answers() -> None:
        calls.append(1)
        raise ServerSelectionTimeoutError("refused")

    with pytest.raises(DatabaseUnavailable):
        nobody_answers()
    assert len(calls) == 1
