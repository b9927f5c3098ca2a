"""All that a question finds, in one order, by questions that read a bounded number of documents.

A `structure_key` is a hash, so those of a store lie evenly, and what fits a condition lies evenly
among them. A walk goes through the keys in pieces. The first are small and read whole: they tell
how much there is, and how much of it fits each condition. From there on the condition that leaves
fewest is looked up in its index, which goes on with the key, and each piece is as long as may hold
what is still wanted. So a page costs what it holds, whatever the store holds, on a server that
reads all that a condition finds before it takes the first fifty, and on a MongoDB.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import product

from pymongo.collection import Collection

from nearedge.store.batches import batches
from nearedge.store.indexes import INDEXES
from nearedge.store.operations import Document as Stored
from nearedge.store.operations import operation

ORDER = ("structure_key", "absorber", "edge", "code", "protocol", "absorbing_index")
"""What is found comes in this order, then by id: stable, and the sites of a crystal together."""

_KEYS = 16**8
"""Places that a key may begin with: its first eight hexadecimal digits."""
_FIRST = _KEYS // 2048
_SAMPLE = 32
"""Documents that are read at least before an index is chosen; twice as many are aimed at."""
_MOST = 1000
"""Documents that one question is meant to read: some 20 MB of the embedded server's memory."""
_MARGIN = 1.25
_LEAST = 16
"""Documents that a piece is meant to give: fewer may be none, because a crystal's come together."""
_UNSEEN = 2
"""Documents that are counted besides those found: the next one may be near."""
_NARROW = ("_id", "calculation_ids", "structure_key", "structure_id")
"""Conditions that leave so few that they are asked at once."""


class Walk:
    """What holds all conditions in a collection, piece by piece.

    Parameters
    ----------
    collection
        Spectra or calculations.
    condition
        By field: a value, or one of ``$all``, ``$in`` and ``$ne``.
    fields
        What to read of each document, besides the fields of the order; None: all.
    wanted
        How many will be taken; None: all.
    """

    def __init__(
        self,
        collection: Collection[Stored],
        condition: Stored,
        fields: Iterable[str] | None = (),
        wanted: int | None = None,
    ) -> None:
        self._collection = collection
        self._condition = condition
        self._clauses = [
            (field, value)
            for field, wanted in condition.items()
            for value in (wanted.get("$all", [wanted]) if isinstance(wanted, dict) else [wanted])
        ]
        self._complete = fields is None
        self._fields = dict.fromkeys((*(fields or ()), *ORDER, *condition), 1)
        self._wanted = wanted
        self._held: list[frozenset[int]] = []
        """Of each document of the sample, the clauses that it holds."""
        self._read = 0
        self._found = 0

    def pieces(self) -> Iterator[list[Stored]]:
        """Yield lists, some empty, that together are all that is found, in order."""
        if any(each == {"$in": []} for each in self._condition.values()):
            return
        if any(field in self._condition for field in _NARROW):
            yield self._fitting(self._at_once())
            return
        begin = 0
        while begin < _KEYS and len(self._held) < _SAMPLE:
            end = min(_KEYS, begin + self._sampling_width(begin))
            rows = self._ask(_between(begin, end))
            self._held += [frozenset(self._holding(row)) for row in rows]
            yield self._fitting(rows)
            begin = end
        driver = self._driver()
        self._read = self._share(driver)
        looked_up = dict(self._clauses[number] for number in driver)
        alone = len(driver) == len(self._clauses)
        while begin < _KEYS:
            end = min(_KEYS, begin + self._width(begin))
            rows = self._ask({**looked_up, **_between(begin, end)}, complete=alone)
            self._read += len(rows)
            yield self._fitting(rows, complete=alone)
            begin = end

    def count(self) -> int:
        """Return how many documents hold all conditions, at most `wanted`."""
        found = 0
        for rows in self.pieces():
            found += len(rows)
            if self._wanted is not None and found >= self._wanted:
                return self._wanted
        return found

    # ---- inside

    def _sampling_width(self, begin: int) -> int:
        """Return how many places are expected to hold a sample."""
        return 1 + int(2 * _SAMPLE * begin / (len(self._held) + 0.5)) if begin else _FIRST

    def _width(self, begin: int) -> int:
        """Return how many places are expected to hold what is wanted, and not too much to read."""
        width = _MOST * begin / (self._read + _UNSEEN)
        if self._wanted is not None:
            still = max(self._wanted - self._found, _LEAST)
            width = min(width, _MARGIN * still * begin / (self._found + _UNSEEN))
        return 1 + int(width)

    def _driver(self) -> tuple[int, ...]:
        """Return the clauses that leave fewest of those that an index begins with."""
        possible = [
            clauses
            for keys in INDEXES[self._collection.name]
            if keys[-1] == ORDER[0]
            for clauses in product(*map(self._equalities, keys[:-1]))
        ]
        return min(possible, key=self._share)

    def _equalities(self, field: str) -> list[int]:
        return [
            number
            for number, (name, value) in enumerate(self._clauses)
            if name == field and not isinstance(value, dict)
        ]

    def _share(self, clauses: tuple[int, ...]) -> int:
        return sum(held.issuperset(clauses) for held in self._held)

    def _holding(self, row: Stored) -> list[int]:
        return [n for n, (field, value) in enumerate(self._clauses) if holds(row, field, value)]

    def _fitting(self, rows: list[Stored], *, complete: bool = False) -> list[Stored]:
        """Return those that hold all conditions, in order, with all that is asked for of them."""
        fitting = [row for row in rows if len(self._holding(row)) == len(self._clauses)]
        self._found += len(fitting)
        if self._complete and not complete:
            fitting = self._by_id([str(row["_id"]) for row in fitting])
        return sorted(fitting, key=_place)

    def _at_once(self) -> list[Stored]:
        first = next(field for field in _NARROW if field in self._condition)
        value = self._condition[first]
        if not isinstance(value, dict):
            return self._ask({first: value})
        found: dict[str, Stored] = {}
        for some in batches(dict.fromkeys(value["$in"])):
            found |= {str(row["_id"]): row for row in self._ask({first: {"$in": some}})}
        return list(found.values())

    def _by_id(self, ids: list[str]) -> list[Stored]:
        return [
            row for some in batches(ids) for row in self._ask({"_id": {"$in": some}}, complete=True)
        ]

    @operation
    def _ask(self, looked_up: Stored, *, complete: bool = False) -> list[Stored]:
        # Only what one index answers: asked for more, the embedded server would use another, and
        # to compare what is read here costs less than to have it compared there.
        fields = None if self._complete and complete else self._fields
        return list(self._collection.find(looked_up, fields, batch_size=_MOST))


def holds(document: Stored, field: str, wanted: object) -> bool:
    """Say whether a document fits a condition, as the database does."""
    held = document.get(field)
    values = held if isinstance(held, list) else [held]
    if not isinstance(wanted, dict):
        return wanted in values
    ((operator, operand),) = wanted.items()
    if operator == "$in":
        return any(value in operand for value in values)
    if operator == "$ne":
        return operand not in values
    raise ValueError(f"no condition of a query: {operator}")


def _between(begin: int, end: int) -> Stored:
    bounds = {}
    if begin > 0:
        bounds["$gte"] = f"{begin:08x}"
    if end < _KEYS:
        bounds["$lt"] = f"{end:08x}"
    return {ORDER[0]: bounds} if bounds else {}


def _place(stored: Stored) -> tuple[object, ...]:
    # What is missing comes first, as an average's site index is.
    values = [stored.get(name) for name in ORDER]
    return (
        *((value is not None, value if value is not None else 0) for value in values),
        stored["_id"],
    )
