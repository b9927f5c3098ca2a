"""How far the projects are, and what failed, counted by the database."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass
from datetime import datetime, timedelta

from nearedge.schemas.calculation import COMPLETED
from nearedge.schemas.document import as_utc
from nearedge.store.batches import batches
from nearedge.store.operations import Document, MongoDatabase, operation
from nearedge.store.sums import FAILED, PROVED_WITHIN, Sums, completed

NO_PROJECT = ""
"""Stands for calculations that are filed under no project."""


@dataclass(frozen=True)
class Tally:
    """Calculations of one project, code and state together.

    Parameters
    ----------
    cpu_seconds
        As far as the calculations state it.
    recent
        How many of them were run, not ingested, and recorded since the moment asked for.
    first_recent
        When the earliest of those was recorded.
    """

    project: str
    code: str
    state: str
    count: int
    cpu_seconds: float
    recent: int
    first_recent: datetime | None


@dataclass(frozen=True)
class FailureGroup:
    """Calculations of one code that failed by one name.

    Parameters
    ----------
    count, cpu_seconds
        How many there are, and what they cost together as far as they state it.
    first, last
        When the earliest and the latest were recorded.
    example
        Id of the latest.
    """

    code: str
    name: str
    count: int
    cpu_seconds: float
    first: datetime
    last: datetime
    example: str


@dataclass(frozen=True)
class Recorded:
    """All calculations: the completed ones as sums, the failed ones each."""

    completed: Sums
    failed: list[Document]
    since: datetime

    def states(self) -> dict[tuple[str, str], int]:
        """Count by code and state."""
        counts: Counter[tuple[str, str]] = Counter()
        for part in self.completed:
            counts[part.code, COMPLETED] += part.count
        counts.update((str(row["code"]), str(row["state"])) for row in self.failed)
        return dict(counts)

    def tallies(self, project: str | None = None) -> list[Tally]:
        """Count by project, code and state; one in two projects counts in both."""
        counted: dict[tuple[str, str, str], _Counted] = {}

        def into(name: str, code: str, state: str) -> _Counted:
            return counted.setdefault((name, code, state), _Counted())

        for part in self.completed:
            recent = [each for each in part.recent.values() if each.first >= self.since]
            for name in _names(part.projects, project):
                into(name, part.code, COMPLETED).add(
                    part.count,
                    part.cpu_seconds,
                    sum(each.count for each in recent),
                    min((each.first for each in recent), default=None),
                )
        for row in self.failed:
            created = as_utc(row["created_at"])
            ran = row.get("origin") == "run" and created >= self.since
            for name in _names(row.get("projects") or (), project):
                into(name, str(row["code"]), str(row["state"])).add(
                    1, row.get("cpu_seconds") or 0.0, int(ran), created if ran else None
                )
        return [Tally(*key, *astuple(counts)) for key, counts in counted.items()]


@operation
def all_recorded(
    database: MongoDatabase,
    since: datetime,
    project: str | None = None,
    *,
    proved_within: timedelta = PROVED_WITHIN,
) -> Recorded:
    """Return what is recorded; of what is completed, only what is new is read.

    Parameters
    ----------
    since
        Tallies count as recent what was recorded since.
    project
        Its failures alone; the sums may have others' too.
    proved_within
        See `nearedge.store.sums.completed`.
    """
    sums = completed(database, since, project, proved_within=proved_within)
    return Recorded(sums, list(_failed(database, project=project)), since)


@dataclass
class _Counted:
    """What a `Tally` says; see there."""

    count: int = 0
    cpu_seconds: float = 0.0
    recent: int = 0
    first_recent: datetime | None = None

    def add(self, count: int, cpu_seconds: float, recent: int, first: datetime | None) -> None:
        self.count += count
        self.cpu_seconds += cpu_seconds
        self.recent += recent
        firsts = [each for each in (self.first_recent, first) if each is not None]
        self.first_recent = min(firsts, default=None)


@operation
def failure_groups(
    database: MongoDatabase,
    *,
    project: str | None = None,
    code: str | None = None,
    since: datetime | None = None,
) -> list[FailureGroup]:
    """Group failed calculations by code and name, the most frequent first."""
    return grouped(
        row
        for row in _failed(database, project=project, code=code)
        if since is None or as_utc(row["created_at"]) >= since
    )


def grouped(failed: Iterable[Document]) -> list[FailureGroup]:
    """Group these by code and name, the most frequent first."""
    alike: dict[tuple[str, str], list[Document]] = {}
    for row in failed:
        alike.setdefault((str(row["code"]), str(row["state"])), []).append(row)
    groups = []
    for (code, name), rows in alike.items():
        rows.sort(key=lambda row: as_utc(row["created_at"]))
        groups.append(
            FailureGroup(
                code=code,
                name=name,
                count=len(rows),
                cpu_seconds=sum(row.get("cpu_seconds") or 0.0 for row in rows),
                first=as_utc(rows[0]["created_at"]),
                last=as_utc(rows[-1]["created_at"]),
                example=str(rows[-1]["_id"]),
            )
        )
    return sorted(groups, key=lambda group: (-group.count, group.code, group.name))


@operation
def how_many_recorded(database: MongoDatabase, calculation_ids: Sequence[str]) -> int:
    """Return how many of these calculations are recorded, completed or failed by name."""
    calculations = database["calculations"]
    return sum(
        calculations.count_documents({"_id": {"$in": batch}}) for batch in batches(calculation_ids)
    )


def _failed(
    database: MongoDatabase, *, project: str | None, code: str | None = None
) -> Iterator[Document]:
    """Yield what failed, and nothing else is read for it."""
    fields = {"projects": 1, "code": 1, "state": 1, "cpu_seconds": 1, "created_at": 1, "origin": 1}
    of = {} if project is None else {"projects": project}
    # The state before the code: the embedded server takes the first that has an index.
    also = {} if code is None else {"code": code}
    for state in FAILED:
        yield from database["calculations"].find({**of, "state": state, **also}, fields)


def _names(projects: Sequence[str], wanted: str | None) -> Sequence[str]:
    """Return where it counts: in each of its projects, as far as that is wanted."""
    if wanted is None:
        return projects or (NO_PROJECT,)
    return (wanted,) if wanted in projects else ()
