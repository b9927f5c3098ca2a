"""How far the projects are, and what failed, counted by the database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from nearedge.schemas.calculation import COMPLETED
from nearedge.schemas.document import as_utc
from nearedge.store.operations import Document, MongoDatabase, operation

NO_PROJECT = ""
"""Stands for calculations that are filed under no project."""

_BATCH = 100
"""Ids per question: of many, the embedded server takes the square of their number."""


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
    """

    code: str
    name: str
    count: int
    cpu_seconds: float
    first: datetime
    last: datetime


@operation
def tallies(database: MongoDatabase, since: datetime, project: str | None = None) -> list[Tally]:
    """Count calculations by project, code and state; one in two projects counts in both."""
    ran = {"$and": [{"$gte": ["$created_at", since]}, {"$eq": ["$origin", "run"]}]}
    found = database["calculations"].aggregate(
        [
            *_of_project(project),
            {"$unwind": {"path": "$projects", "preserveNullAndEmptyArrays": True}},
            *_of_project(project),
            {
                "$group": {
                    "_id": {"project": "$projects", "code": "$code", "state": "$state"},
                    "count": {"$sum": 1},
                    "cpu_seconds": {"$sum": "$cpu_seconds"},
                    "recent": {"$sum": {"$cond": [ran, 1, 0]}},
                    "first_recent": {"$min": {"$cond": [ran, "$created_at", None]}},
                }
            },
        ]
    )
    return [
        Tally(
            project=str(group["_id"].get("project") or NO_PROJECT),
            code=str(group["_id"]["code"]),
            state=str(group["_id"]["state"]),
            count=int(group["count"]),
            cpu_seconds=float(group["cpu_seconds"]),
            recent=int(group["recent"]),
            first_recent=None if group["first_recent"] is None else as_utc(group["first_recent"]),
        )
        for group in found
    ]


@operation
def failure_groups(
    database: MongoDatabase,
    *,
    project: str | None = None,
    code: str | None = None,
    since: datetime | None = None,
) -> list[FailureGroup]:
    """Group failed calculations by code and name, the most frequent first."""
    wanted: Document = {"state": {"$ne": COMPLETED}}
    if project is not None:
        wanted["projects"] = project
    if code is not None:
        wanted["code"] = code
    if since is not None:
        wanted["created_at"] = {"$gte": since}
    found = database["calculations"].aggregate(
        [
            {"$match": wanted},
            {
                "$group": {
                    "_id": {"code": "$code", "state": "$state"},
                    "count": {"$sum": 1},
                    "cpu_seconds": {"$sum": "$cpu_seconds"},
                    "first": {"$min": "$created_at"},
                    "last": {"$max": "$created_at"},
                }
            },
        ]
    )
    groups = [
        FailureGroup(
            code=str(group["_id"]["code"]),
            name=str(group["_id"]["state"]),
            count=int(group["count"]),
            cpu_seconds=float(group["cpu_seconds"]),
            first=as_utc(group["first"]),
            last=as_utc(group["last"]),
        )
        for group in found
    ]
    return sorted(groups, key=lambda group: (-group.count, group.code, group.name))


@operation
def recorded(database: MongoDatabase, calculation_ids: Sequence[str]) -> int:
    """Return how many of these calculations are recorded, completed or failed by name."""
    batches = (
        calculation_ids[start : start + _BATCH] for start in range(0, len(calculation_ids), _BATCH)
    )
    calculations = database["calculations"]
    return sum(calculations.count_documents({"_id": {"$in": list(each)}}) for each in batches)


def _of_project(project: str | None) -> list[Document]:
    return [] if project is None else [{"$match": {"projects": project}}]
