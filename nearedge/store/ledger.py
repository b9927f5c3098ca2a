"""Which files have been ingested, so that nobody reads them twice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from nearedge.schemas.document import SCHEMA_VERSION, utc_now
from nearedge.store.operations import Document, MongoDatabase, operation
from nearedge.store.writing import insert_missing

LEDGER = "ingested"

HELD = 200_000
"""Entries up to which the whole ledger is held in memory: some 50 MB."""


@dataclass(frozen=True)
class LedgerEntry:
    """The calculation that files gave, and the projects that all of it is filed under."""

    calculation_id: str
    projects: frozenset[str]


class IngestLedger:
    """Fingerprints of finished calculations' files, and the calculations they are.

    An entry is written after everything that comes of the files is stored: whoever is killed
    before reads them again, which changes nothing.
    """

    def __init__(self, database: MongoDatabase) -> None:
        self._entries = database[LEDGER]
        self._held: dict[str, LedgerEntry] = {}
        self._holds_all: bool | None = None

    @operation
    def entry(self, fingerprint: str) -> LedgerEntry | None:
        """Return what files with this fingerprint gave, or None.

        A ledger of ordinary size is read once, at the first question: a question a file costs the
        embedded server as much as the file's ingestion.
        """
        if self._holds_all is None:
            fits = self._entries.estimated_document_count() <= HELD
            if fits:
                for stored in self._entries.find({}, _FIELDS):
                    self._held[str(stored["_id"])] = _entry(stored)
            # Only now: a connection that is lost on the way means reading it again.
            self._holds_all = fits
        if self._holds_all:
            return self._held.get(fingerprint)
        found = self._entries.find_one({"_id": fingerprint}, _FIELDS)
        return None if found is None else _entry(found)

    @operation
    def add(self, calculation_ids: Mapping[str, str], project: str | None = None) -> None:
        """Enter fingerprints with their calculations; entering one again adds the project."""
        documents: list[Document] = [
            {
                "_id": fingerprint,
                "schema_version": SCHEMA_VERSION,
                "created_at": utc_now(),
                "calculation_id": calculation_id,
                "projects": [] if project is None else [project],
            }
            for fingerprint, calculation_id in calculation_ids.items()
        ]
        present = insert_missing(self._entries, documents)
        if present and project is not None:
            self._entries.update_many(
                {"_id": {"$in": [document["_id"] for document in present]}},
                {"$addToSet": {"projects": project}},
            )


_FIELDS = {"calculation_id": 1, "projects": 1}


def _entry(stored: Document) -> LedgerEntry:
    return LedgerEntry(str(stored["calculation_id"]), frozenset(stored.get("projects", ())))
