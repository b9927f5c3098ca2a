"""Which job is begun next."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

from bson.son import SON
from fireworks.core.firework import Firework
from fireworks.fw_config import SORT_FWS

from nearedge.launch.numbering import NumberedLaunchPad
from nearedge.launch.one_document import OneByOne

_CHOICE = 20
"""How many jobs are looked up at once, of which another worker may take some meanwhile."""

_WINDOW, _WIDEST = 32, 512
"""Of how many numbers jobs are read at once, from where the last ready one was, and further on."""

_HIGHEST, _BESIDE = 1e15, 1e-3
"""Of priorities; and by how much two differ at least."""

_NARROW = ("calculation_id", "convergence_id", "search_id", "learn_id", "continuation_id")
"""What few jobs say of themselves, with an index each."""

_READY = {"state": "READY"}
_PRIORITY = "spec._priority"

ORDER = [("state", 1), (_PRIORITY, 1), ("fw_id", 1)]
"""The index that these questions need."""


class ChoosingLaunchPad(NumberedLaunchPad):
    """FireWorks' launchpad, which looks for the next job among those that are ready.

    FireWorks asks by one condition with an `$or`, for which SecantusDB 0.7.0b3 reads every job
    there is: of 30,000, that takes 0.8 CPU-seconds, twice for each job that is begun. It also reads
    all that a condition finds before it sorts and takes the first, 45 microseconds each. So no
    question here finds more than a few: each is of one priority, and of jobs whose numbers are near
    where the last ready one was. Jobs are begun by priority, those without any last, and the oldest
    first.
    """

    fireworks: Any
    launches: Any
    workflows: Any

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.fireworks, self.launches, self.workflows = (
            OneByOne(each) for each in (self.fireworks, self.launches, self.workflows)
        )
        self._looked: tuple[dict[str, Any], list[int]] | None = None
        # Priority to where its first ready job may be: only where to look first.
        self._starts: dict[float | None, int] = {0.0: 0, None: 0}

    def _get_a_fw_to_run(
        self,
        query: Mapping[str, Any] | None = None,
        fw_id: int | None = None,
        checkout: bool = True,
    ) -> Firework | None:
        if fw_id:
            return super()._get_a_fw_to_run(query=query, fw_id=fw_id, checkout=checkout)
        asked = dict(query or {})
        # Whoever asks whether there is something to do takes it in the next moment.
        looked, self._looked = self._looked, None
        first = looked[1] if checkout and looked is not None and looked[0] == asked else None
        while first := first or self._first_ready(asked):
            found = super()._get_a_fw_to_run(query={"fw_id": {"$in": first}}, checkout=checkout)
            if found is not None:
                if not checkout:
                    self._looked = (asked, first)
                return found
            first = None  # others took them all
        return None

    def _first_ready(self, query: Mapping[str, Any]) -> list[int]:
        narrow = {
            field: value
            for field, value in query.items()
            if field.rpartition(".")[2] in _NARROW and isinstance(value, str)
        }
        if narrow or SORT_FWS:
            return self._first_of_few(narrow, query)
        self._learn_priorities()
        for priority in (*self._priorities(reverse=True), None):
            if found := self._first_of_priority(priority, query):
                return found
        return self._first_of_few({}, query)  # a priority that is no number, or none of sense

    def _first_of_few(self, narrow: Mapping[str, Any], query: Mapping[str, Any]) -> list[int]:
        """Sort all that are ready and `narrow`."""
        order = [(_PRIORITY, -1)]
        if SORT_FWS.upper() in ("FIFO", "FILO"):
            order.append(("created_on", 1 if SORT_FWS.upper() == "FIFO" else -1))
        stages: list[dict[str, Any]] = [
            # The narrow condition first: the embedded server takes the first that has an index.
            {"$match": {**narrow, **_READY}},
            {"$match": dict(query)},
            {"$sort": SON([*order, ("fw_id", 1)])},
            {"$limit": _CHOICE},
            {"$project": {"fw_id": 1}},
        ]
        return [int(row["fw_id"]) for row in self.fireworks.aggregate(stages)]

    def _priorities(self, *, reverse: bool = False) -> list[float]:
        return sorted((each for each in self._starts if each is not None), reverse=reverse)

    def _learn_priorities(self) -> None:
        """Look between the priorities that are known; ready jobs of others are seldom there."""
        for low, high in pairwise([-_HIGHEST, *self._priorities(), _HIGHEST]):
            # Not from the bounds on: the embedded server would read what lies there.
            between = {"$gte": low + _BESIDE, "$lte": high - _BESIDE}
            first = {"_id": f"${_PRIORITY}", "number": {"$min": "$fw_id"}}
            for found in self.fireworks.aggregate(
                [{"$match": {**_READY, _PRIORITY: between}}, {"$group": first}]
            ):
                self._starts[float(found["_id"])] = int(found["number"])

    def _first_of_priority(self, priority: float | None, query: Mapping[str, Any]) -> list[int]:
        """Return the oldest ready jobs of a priority, as far as they are near each other."""
        found: list[int] = []
        for numbers in self._ranges(self._starts.pop(priority, None)):
            stages: list[dict[str, Any]] = [
                {"$match": {**_READY, _PRIORITY: priority, "fw_id": numbers}},
                {"$match": dict(query)},
                {"$sort": {"fw_id": 1}},
                {"$limit": _CHOICE},
                {"$project": {"fw_id": 1}},
            ]
            found = [int(row["fw_id"]) for row in self.fireworks.aggregate(stages)]
            if found:
                self._starts[priority] = found[0]
                break
        return found

    def _ranges(self, start: int | None) -> Iterator[dict[str, int]]:
        """Yield among which numbers to look: before a start, from there on, or all at once."""
        if start is None:
            yield {"$gte": 0}
            return
        yield {"$lt": start}  # those that were put back
        length, end = _WINDOW, math.inf
        while start < end:
            yield {"$gte": start, "$lt": start + length}
            if end == math.inf:
                end = self.fw_id_assigner.find_one({})["next_fw_id"]
            start, length = start + length, min(4 * length, _WIDEST)
