"""Benchmarks: one document for each set of spectra that was compared."""

from __future__ import annotations

from pymongo import DESCENDING

from nearedge.errors import DatabaseError
from nearedge.schemas.benchmark import BenchmarkDoc
from nearedge.store.abbreviated import whole_id
from nearedge.store.blobs import BlobStore
from nearedge.store.operations import MongoDatabase, operation
from nearedge.store.packing import pack, unpack


class BenchmarkStore:
    """Benchmarks. An id is a hash of what was compared, so a document never changes."""

    def __init__(self, database: MongoDatabase) -> None:
        self._documents = database[BenchmarkDoc.collection]
        self._blobs = BlobStore(database)

    @operation
    def put(self, benchmark: BenchmarkDoc) -> None:
        """Store a benchmark; storing it again adds its projects only."""
        stored, _ = pack(benchmark)
        identifier, projects = stored.pop("_id"), stored.pop("projects")
        self._documents.update_one(
            {"_id": identifier},
            {"$setOnInsert": stored, "$addToSet": {"projects": {"$each": projects}}},
            upsert=True,
        )

    @operation
    def get(self, benchmark_id: str) -> BenchmarkDoc:
        """Return a benchmark by its id, or by the first digits of it.

        Raises
        ------
        DatabaseError
            If there is none, or several begin so.
        """
        wanted = whole_id(self._documents, benchmark_id, "benchmarks", "nearedge benchmark --list")
        found = self._documents.find_one({"_id": wanted})
        if found is None:
            raise DatabaseError(f"Benchmark {wanted} was removed meanwhile.")
        return unpack(BenchmarkDoc, [found], self._blobs)[0]

    @operation
    def listing(self, *, project: str | None = None) -> list[BenchmarkDoc]:
        """Return those of a project, or all, the newest first."""
        condition = {} if project is None else {"projects": str(project)}
        found = list(self._documents.find(condition).sort("created_at", DESCENDING))
        return unpack(BenchmarkDoc, found, self._blobs)
