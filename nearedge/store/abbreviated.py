"""Ids that people type: whole, or as many of their first digits as tell them from others."""

from __future__ import annotations

from typing import Any

from pymongo.collection import Collection

from nearedge.errors import DatabaseError

SHORTEST = 6
"""Digits of an id that may stand for it."""
SHOWN = 12
"""Digits that a table shows: two of a million documents share them once in 500 databases."""
_AFTER_HEX = "g"


def whole_id(documents: Collection[dict[str, Any]], begun: str, kind: str, listed_by: str) -> str:
    """Return the id that is `begun`, or begins so.

    Parameters
    ----------
    documents
        The collection to look in.
    begun
        What was typed.
    kind, listed_by
        What the documents are called, in the plural, and the command that shows their ids.

    Raises
    ------
    DatabaseError
        If there is none, or several begin so.
    """
    begun = str(begun)
    if documents.find_one({"_id": begun}, {"_id": 1}) is not None:
        return begun
    found: list[str] = []
    if len(begun) >= SHORTEST:
        # A range, which an index answers; every id is of hexadecimal digits.
        range_ = {"_id": {"$gte": begun, "$lt": begun + _AFTER_HEX}}
        found = [str(row["_id"]) for row in documents.find(range_, {"_id": 1}, limit=2)]
    if len(found) == 1:
        return found[0]
    raise DatabaseError(
        f"{'Several' if found else 'No'} {kind} have an id that begins with {begun!r}: "
        f"`{listed_by}` shows them."
    )
