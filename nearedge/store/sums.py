"""Completed calculations are counted once: sums of those that are over lie beside them.

Whoever asks how far the projects are reads these sums and what was recorded since. They hold
because a completed calculation is never removed, and never changes but for joining projects
(`nearedge.store.recording`). What has become older than two minutes is added to them once a minute
by whoever looks, if none of those summed has joined a project since, which a calculation says of
itself (`filed_at`, by the server's clock). One that comes late, because its writer's clock is wrong
or the database was away, is in no sum: the number of all calculations, which must be that of the
failures, the sums and the rest, is compared every ten minutes. If anything is not right, and once a
day, everything is counted anew. The sums may be deleted at any time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Self

from pymongo.errors import OperationFailure

from nearedge.schemas.calculation import COMPLETED
from nearedge.schemas.document import as_utc
from nearedge.store.operations import Document, MongoDatabase, server_time

COLLECTION = "sums"

FAILED: tuple[Document, ...] = ({"$lt": COMPLETED}, {"$gte": COMPLETED + " "})
"""What a failure's state is: two ranges of an index, where "not completed" has none on the embedded
server, and "after completed" is looked for from the first completed one on."""

_OLD = timedelta(minutes=2)
"""How old a calculation is before it is summed: packs store their results within 20 seconds."""

_INTERVAL = timedelta(minutes=1)
PROVED_WITHIN = timedelta(minutes=10)
"""How long a late one may stay unseen. To count all, the embedded server takes 6 microseconds each,
and 75 to read one."""

_ANEW = timedelta(days=1)
"""How long one may be missed that joined a project while the server's clock had gone back."""

_ON_THE_WAY = timedelta(seconds=30)
"""What a change may take from the server's clock to where others see it; far more than it does."""

_SLACK = timedelta(minutes=10)
"""How far apart the clocks of those who look may be."""

_FIELDS = {"projects": 1, "code": 1, "cpu_seconds": 1, "created_at": 1, "origin": 1, "_id": 0}


@dataclass(frozen=True)
class Recent:
    """Calculations that were run, and recorded in the same minute."""

    count: int
    first: datetime


@dataclass
class Sum:
    """Completed calculations of one code that are filed under the same projects.

    Parameters
    ----------
    cpu_seconds
        As far as they state it.
    recent
        Those that were run lately, by the minute since 1970 in which they were recorded.
    """

    projects: tuple[str, ...]
    code: str
    count: int = 0
    cpu_seconds: float = 0.0
    recent: dict[int, Recent] = field(default_factory=dict)

    def add(self, row: Document, since: datetime) -> None:
        """Add one calculation."""
        self.count += 1
        self.cpu_seconds += row.get("cpu_seconds") or 0.0
        created = as_utc(row["created_at"])
        if row.get("origin") == "run" and created >= since:
            minute = int(created.timestamp()) // 60
            had = self.recent.get(minute, Recent(0, created))
            self.recent[minute] = Recent(had.count + 1, min(had.first, created))


class Sums:
    """Sums by projects and code.

    Parameters
    ----------
    since
        Whatever was recorded before is not recent.
    """

    def __init__(self, since: datetime, parts: Iterable[Sum] = ()) -> None:
        self.since = since
        self.parts = {(part.projects, part.code): part for part in parts}

    def __iter__(self) -> Iterator[Sum]:
        return iter(self.parts.values())

    @property
    def count(self) -> int:
        """How many calculations were summed."""
        return sum(part.count for part in self)

    def plus(self, rows: Iterable[Document]) -> Sums:
        """Return these with more calculations."""
        copy = Sums(self.since, (replace(part, recent=dict(part.recent)) for part in self))
        for row in rows:
            key = (tuple(row.get("projects") or ()), str(row["code"]))
            copy.parts.setdefault(key, Sum(*key)).add(row, self.since)
        return copy


@dataclass(frozen=True)
class _Kept:
    """The sums as they lie in the database.

    Parameters
    ----------
    through
        They are of all completed calculations that say they were recorded before.
    read_at
        When that was so, by the server's clock.
    proved_at
        When it was last known that none came late.
    anew_at
        When all were last read.
    """

    through: datetime
    read_at: datetime
    proved_at: datetime
    anew_at: datetime
    sums: Sums

    @classmethod
    def load(cls, database: MongoDatabase) -> Self | None:
        """Return what is there."""
        stored = database[COLLECTION].find_one({"_id": COMPLETED})
        if stored is None:
            return None
        parts = [
            Sum(
                tuple(part["projects"]),
                part["code"],
                part["count"],
                part["cpu_seconds"],
                {m: Recent(count, as_utc(first)) for m, count, first in part["recent"]},
            )
            for part in stored["parts"]
        ]
        return cls(
            through=as_utc(stored["through"]),
            read_at=as_utc(stored["read_at"]),
            proved_at=as_utc(stored["proved_at"]),
            anew_at=as_utc(stored["anew_at"]),
            sums=Sums(as_utc(stored["since"]), parts),
        )

    def save(self, database: MongoDatabase) -> None:
        """Put it there; who may only read goes without."""
        parts: list[dict[str, Any]] = [
            {
                "projects": list(part.projects),
                "code": part.code,
                "count": part.count,
                "cpu_seconds": part.cpu_seconds,
                "recent": [
                    [minute, recent.count, recent.first]
                    for minute, recent in part.recent.items()
                    if recent.first >= self.sums.since
                ],
            }
            for part in self.sums
        ]
        stored = {
            "through": self.through,
            "read_at": self.read_at,
            "proved_at": self.proved_at,
            "anew_at": self.anew_at,
            "since": self.sums.since,
            "parts": parts,
        }
        try:
            database[COLLECTION].replace_one({"_id": COMPLETED}, stored, upsert=True)
        except OperationFailure:
            return


def completed(
    database: MongoDatabase,
    since: datetime,
    project: str | None = None,
    *,
    proved_within: timedelta = PROVED_WITHIN,
) -> Sums:
    """Return what is completed, with what was run and recorded since some moment.

    Parameters
    ----------
    project
        Who asks for this one alone does not sum the others, if nobody has.
    proved_within
        How long ago it may be that none was known to have come late.
    """
    kept, at = _Kept.load(database), server_time(database)
    if kept is None and project is not None:
        its = {"projects": project, "state": COMPLETED}
        return Sums(since).plus(database["calculations"].find(its, _FIELDS))
    if kept is None or kept.sums.since > since or not kept.read_at <= at < kept.anew_at + _ANEW:
        return _all_anew(database, since, at)
    to_prove = at - kept.proved_at >= proved_within
    if at - kept.read_at < _INTERVAL and not to_prove:
        return kept.sums.plus(_young(database, kept))
    if _joined_later(database, kept):
        return _all_anew(database, since, at)
    young = _proved(database, kept) if to_prove else _young(database, kept)
    if young is None:
        return _all_anew(database, since, at)
    summed = replace(kept, read_at=at, proved_at=at if to_prove else kept.proved_at)
    return _go_on(database, summed, young, since, at)


def _all_anew(database: MongoDatabase, since: datetime, at: datetime) -> Sums:
    rows = list(database["calculations"].find({"state": COMPLETED}, _FIELDS))
    nothing = _Kept(datetime.min.replace(tzinfo=UTC), at, at, at, Sums(since))
    return _go_on(database, nothing, rows, since, at)


def _go_on(
    database: MongoDatabase, kept: _Kept, rows: list[Document], since: datetime, at: datetime
) -> Sums:
    """Add to the sums what is old enough, and return those of everything."""
    through = max(kept.through, at - _OLD)
    old = [row for row in rows if as_utc(row["created_at"]) < through]
    sums = Sums(since - _SLACK, kept.sums).plus(old)
    replace(kept, through=through, sums=sums).save(database)
    return sums.plus(row for row in rows if as_utc(row["created_at"]) >= through)


def _proved(database: MongoDatabase, kept: _Kept) -> list[Document] | None:
    """Return what is completed and not in the sums; None if their number is wrong."""
    calculations = database["calculations"]
    for _ in range(2):  # one that failed may complete between two of these questions
        before = calculations.estimated_document_count()
        failed = sum(1 for each in FAILED for _ in calculations.find({"state": each}, {"_id": 1}))
        young = _young(database, kept)
        found = kept.sums.count + failed + len(young)
        if before == found or before < found <= calculations.estimated_document_count():
            return young
    return None


def _joined_later(database: MongoDatabase, kept: _Kept) -> bool:
    filed = {"filed_at": {"$gte": kept.read_at - _ON_THE_WAY}}
    found = database["calculations"].find(filed, {"state": 1, "created_at": 1})
    return any(
        row["state"] == COMPLETED and as_utc(row["created_at"]) < kept.through for row in found
    )


def _young(database: MongoDatabase, kept: _Kept) -> list[Document]:
    """Return what is completed and not in the sums."""
    recorded = {"state": COMPLETED, "created_at": {"$gte": kept.through}}
    return list(database["calculations"].find(recorded, _FIELDS))
