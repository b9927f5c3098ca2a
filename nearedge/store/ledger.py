"""Which files have been ingested, so that nobody reads them twice."""

from __future__ import annotations

from collections.abc import Mapping

from pymongo import UpdateOne

from nearedge.schemas.document import SCHEMA_VERSION, utc_now
from nearedge.store.operations import MongoDatabase, operation

LEDGER = "ingested"

HELD = 200_000
"""Entries up to which the whole ledger is held in memory: some 50 MB."""


class IngestLedger:
    """Fingerprints of finished calculations' files, and the calculations they are.

    An entry is written after everything that comes of the files is stored: whoever is killed
    before reads them again, which changes nothing.
    """

    def __init__(self, database: MongoDatabase) -> None:
        self._entries = database[LEDGER]
        self._held: dict[str, str] = {}
        self._holds_all: bool | None = None

    @operation
    def calculation(self, fingerprint: str) -> str | None:
        """Return the calculation that files with this fingerprint gave, or None.

        A ledger of ordinary size is read once, at the first question: a question a file costs the
        embedded server as much as the file's ingestion.
        """
        if self._holds_all is None:
            self._holds_all = self._entries.estimated_document_count() <= HELD
            if self._holds_all:
                for entry in self._entries.find({}, {"calculation_id": 1}):
                    self._held[str(entry["_id"])] = str(entry["calculation_id"])
        if self._holds_all:
            return self._held.get(fingerprint)
        found = self._entries.find_one({"_id": fingerprint}, {"calculation_id": 1})
        return None if found is None else str(found["calculation_id"])

    @operation
    def add(self, calculation_ids: Mapping[str, str]) -> None:
        """Enter fingerprints with their calculations; entering one again changes nothing."""
        entries = [
            UpdateOne(
                {"_id": fingerprint},
                {
                    "$setOnInsert": {
                        "schema_version": SCHEMA_VERSION,
                        "created_at": utc_now(),
                        "calculation_id": calculation_id,
                    }
                },
                upsert=True,
            )
            for fingerprint, calculation_id in calculation_ids.items()
        ]
        if entries:
            self._entries.bulk_write(entries, ordered=False)
