"""What is in the database, and who works on it, for `nearedge status`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from nearedge.store.claims import ClaimInfo, Claims
from nearedge.store.operations import MongoDatabase, operation
from nearedge.store.progress import Recorded, all_recorded


@dataclass(frozen=True)
class Overview:
    """Counts by what they are of.

    Parameters
    ----------
    incomplete_averages
        How many of the spectra are averages that lack a site.
    """

    structures: int
    calculations: Recorded
    spectra: int
    incomplete_averages: int
    datasets: int
    models: int
    claims: list[ClaimInfo]


@operation
def overview(database: MongoDatabase, since: datetime) -> Overview:
    """Count what is stored, with what was recorded since some moment, and list the claims."""
    incomplete = {"state": "incomplete", "kind": "average"}
    return Overview(
        structures=database["structures"].estimated_document_count(),
        calculations=all_recorded(database, since, proved_within=timedelta(0)),
        spectra=database["spectra"].estimated_document_count(),
        incomplete_averages=database["spectra"].count_documents(incomplete),
        datasets=database["datasets"].estimated_document_count(),
        models=database["models"].estimated_document_count(),
        claims=Claims(database).live(),
    )
