"""The one place where the database driver's errors become NearEdge's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from bson.errors import BSONError
from pymongo.database import Database
from pymongo.errors import (
    AutoReconnect,
    BulkWriteError,
    ConfigurationError,
    ConnectionFailure,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
)

from nearedge.errors import DatabaseError, DatabaseUnavailable, SettingsError

Document = dict[str, Any]
MongoDatabase = Database[Document]

P = ParamSpec("P")
R = TypeVar("R")

_UNAUTHORIZED = 13
_AUTHENTICATION_FAILED = 18
_LONGEST_REASON = 200


@contextmanager
def database_errors() -> Iterator[None]:
    """Turn what pymongo raises inside the block into an error of NearEdge with one sentence."""
    try:
        yield
    except ConfigurationError as error:
        raise SettingsError(f"NEAREDGE_MONGO_URI is not usable: {_reason(error)}.") from error
    except ConnectionFailure as error:
        raise DatabaseUnavailable(
            f"No database answers ({_reason(error)}): start it with `nearedge up`, or check "
            "NEAREDGE_MONGO_URI; `nearedge status` says what runs."
        ) from error
    except OperationFailure as error:
        if error.code in (_UNAUTHORIZED, _AUTHENTICATION_FAILED):
            raise DatabaseError(
                "The database refuses this user: check the user and password in "
                f"NEAREDGE_MONGO_URI ({_reason(error)})."
            ) from error
        raise DatabaseError(f"The database refused an operation: {_reason(error)}.") from error
    except (PyMongoError, BSONError) as error:
        raise DatabaseError(f"The database failed: {_reason(error)}.") from error


def operation(method: Callable[P, R]) -> Callable[P, R]:
    """Decorate a public method of a store: pymongo's errors become ours, and it is tried twice.

    A server that was restarted leaves dead connections in the pool, and the first write on one of
    them fails although the database is there. Every write of the store may be repeated at any
    moment, so the method is simply called again once; if no server is found within the timeout,
    that is final.
    """

    @wraps(method)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        with database_errors():
            try:
                return method(*args, **kwargs)
            except ServerSelectionTimeoutError:
                raise
            except AutoReconnect:
                return method(*args, **kwargs)

    return run


def server_time(database: MongoDatabase) -> datetime:
    """Return the time by the database server's clock: the one that every machine can ask."""
    now: datetime = database.client.admin.command("hello")["localTime"]
    return now if now.tzinfo else now.replace(tzinfo=UTC)


def _reason(error: Exception) -> str:
    """Return the driver's sentence without the topology and the raw reply that it appends."""
    text = str(error)
    if isinstance(error, BulkWriteError):  # its own sentence says only that there were errors
        problems = (error.details or {}).get("writeErrors") or [{}]
        text = str(problems[0].get("errmsg", text))
    for tail in (", Timeout:", " (configured timeouts:", ", full error:"):
        text = text.split(tail, maxsplit=1)[0]
    text = text.strip().rstrip(".")
    return text if len(text) <= _LONGEST_REASON else text[:_LONGEST_REASON] + "…"
