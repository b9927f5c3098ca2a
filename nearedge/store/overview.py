"""What is in the database, and who works on it, for `nearedge status`."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from nearedge.store.claims import ClaimInfo, Claims
from nearedge.store.operations import MongoDatabase, operation


@dataclass(frozen=True)
class Overview:
    """Counts by what they are of; calculations by (code, state), spectra by (code, kind, state)."""

    structures: int
    calculations: dict[tuple[str, str], int]
    spectra: dict[tuple[str, str, str], int]
    datasets: int
    models: int
    claims: list[ClaimInfo]


@operation
def overview(database: MongoDatabase) -> Overview:
    """Count what is stored and list the claims."""
    calculations = _counted(database, "calculations", ("code", "state"))
    spectra = _counted(database, "spectra", ("code", "kind", "state"))
    return Overview(
        structures=database["structures"].estimated_document_count(),
        calculations={(code, state): n for (code, state), n in calculations.items()},
        spectra={(code, kind, state): n for (code, kind, state), n in spectra.items()},
        datasets=database["datasets"].estimated_document_count(),
        models=database["models"].estimated_document_count(),
        claims=Claims(database).live(),
    )


def _counted(
    database: MongoDatabase, collection: str, fields: tuple[str, ...]
) -> Counter[tuple[str, ...]]:
    stages = [
        {"$group": {"_id": {field: f"${field}" for field in fields}, "count": {"$sum": 1}}},
    ]
    counts: Counter[tuple[str, ...]] = Counter()
    for group in database[collection].aggregate(stages):
        counts[tuple(str(group["_id"].get(field)) for field in fields)] = int(group["count"])
    return counts
