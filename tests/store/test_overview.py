"""The overview counts what is there."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from nearedge.store.claims import Claims
from nearedge.store.operations import MongoDatabase
from nearedge.store.overview import overview
from nearedge.store.records import Record
from nearedge.store.spectra_store import SpectraStore

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def test_the_overview_counts_by_code_and_state(
    memory_database: MongoDatabase, make_record: Callable[..., Record]
) -> None:
    failed = make_record(2, state="scf_not_converged")
    SpectraStore(memory_database).record_many([make_record(0), make_record(1), failed])
    with Claims(memory_database).hold("c"):
        found = overview(memory_database, NOW)
    assert found.calculations.states() == {
        ("feff", "completed"): 2,
        ("feff", "scf_not_converged"): 1,
    }
    assert (found.spectra, found.incomplete_averages) == (2, 0)
    assert [(claim.calculation_id, claim.owner) for claim in found.claims] == [("c", "alive")]
