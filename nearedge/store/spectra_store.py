"""Structures, calculations and spectra: recorded once, found by what people know of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Self, TypeVar

from pymongo import ASCENDING

from nearedge.schemas.calculation import COMPLETED, CalculationDoc
from nearedge.schemas.document import Document
from nearedge.schemas.spectrum import SpectrumDoc, site_spectrum_id
from nearedge.schemas.structure import StructureDoc
from nearedge.settings import Settings
from nearedge.store.abbreviated import whole_id
from nearedge.store.batches import batches
from nearedge.store.blobs import PREFIX, BlobStore
from nearedge.store.connection import connect
from nearedge.store.indexes import ensure_indexes
from nearedge.store.operations import Document as Stored
from nearedge.store.operations import MongoDatabase, operation
from nearedge.store.packing import all_references, checked_version, large_fields, unpack
from nearedge.store.queries import CalculationQuery, Query, SpectrumQuery
from nearedge.store.recording import FILED_NOW, Recorder
from nearedge.store.records import Record, RecordCounts, Restart, SpectrumRow

__all__ = ["Record", "RecordCounts", "Restart", "SpectraStore", "SpectrumRow"]

D = TypeVar("D", bound=Document)

_WRITE_BATCH = 200
_WRITE_POINTS = 1_000_000
"""Energies of the spectra of one batch: 16 MB of arrays in the database's form."""
_READ_BATCH = 200
_ORDER = ("formula", "structure_key", "absorber", "edge", "code", "protocol", "absorbing_index")
"""What listings are sorted by, then by id: stable, and the sites of a crystal stay together."""


class SpectraStore:
    """The store of structures, calculations and spectra.

    Parameters
    ----------
    database
        A database that `nearedge.store.connection.connect` returned.
    """

    def __init__(self, database: MongoDatabase) -> None:
        self.database = database
        self.blobs = BlobStore(database)
        self._recorder = Recorder(database, self.blobs)

    @classmethod
    def from_settings(cls, settings: Settings | None = None) -> Self:
        """Connect to the configured database."""
        return cls(connect(settings))

    def ensure_indexes(self) -> None:
        """Create the indexes that are missing; `nearedge up` does."""
        ensure_indexes(self.database)

    # ---- writing

    @operation
    def put_structure(self, structure: StructureDoc) -> None:
        """Store a structure; storing it again changes nothing."""
        self._recorder.put_structures([structure])

    def record(
        self,
        calculation: CalculationDoc,
        spectrum: SpectrumDoc | None,
        structure: StructureDoc | None = None,
    ) -> bool:
        """Store a calculation and the spectrum it gave; return whether it was new.

        May be repeated at any moment. A completed calculation is never replaced: a repetition only
        adds its projects. A failure is replaced by a completion or by a later failure.

        Raises
        ------
        DatabaseError
            If the documents do not belong together.
        """
        return self.record_many([Record(calculation, spectrum, structure)]).new == 1

    def conclude(
        self, records: Iterable[Record], seen: Mapping[str, CalculationDoc], attempt: str
    ) -> set[str]:
        """Store what an attempt gave, where nothing was recorded of a calculation meanwhile.

        Parameters
        ----------
        records
            Results, and failures that have names, each of another calculation.
        seen
            What was recorded when the attempt began, by calculation: failures that it is to
            replace. Nothing was recorded of the others.
        attempt
            A name that no other attempt has.

        Returns
        -------
        set of str
            The calculations that another attempt was faster on: of this one nothing is left there.
        """
        refused: set[str] = set()
        for batch in _write_batches(records):
            refused |= self._conclude_batch(batch, seen, attempt)
        return refused

    def record_many(self, records: Iterable[Record]) -> RecordCounts:
        """Store many calculations in batches; see `record`."""
        counts = RecordCounts()
        for batch in _write_batches(records):
            counts += self._record_batch(batch)
        return counts

    def put_average(self, average: SpectrumDoc) -> None:
        """Store a crystal's average; it replaces an incomplete one that covers no more sites."""
        self.put_averages([average])

    def put_averages(self, averages: Iterable[SpectrumDoc]) -> None:
        """Store many averages in batches; see `put_average`."""
        for batch in batches(averages):
            self._put_averages(batch)

    @operation
    def add_project(self, calculation_ids: Sequence[str], project: str) -> None:
        """Add calculations, and every spectrum made from them, to a project."""
        update = {"$addToSet": {"projects": project}}
        for batch in batches(calculation_ids):
            self.database["spectra"].update_many({"calculation_ids": {"$in": batch}}, update)
            others = {"_id": {"$in": batch}, "projects": {"$ne": project}}
            self.database["calculations"].update_many(others, {**update, **FILED_NOW})

    # ---- reading one

    def calculation(self, calculation_id: str) -> CalculationDoc | None:
        """Return a calculation with its input files, or None."""
        return self._one(CalculationDoc, calculation_id)

    def spectrum(self, spectrum_id: str) -> SpectrumDoc | None:
        """Return a spectrum, or None."""
        return self._one(SpectrumDoc, spectrum_id)

    def site_spectrum(self, calculation_id: str) -> SpectrumDoc | None:
        """Return the spectrum that a calculation gave, or None."""
        return self._one(SpectrumDoc, site_spectrum_id(calculation_id))

    def structure(self, structure_key: str) -> StructureDoc | None:
        """Return an exact structure, or None."""
        return self._one(StructureDoc, structure_key)

    @operation
    def restart(
        self,
        restart_key: str,
        *,
        structure_key: str,
        absorbing_index: int,
        edge: str,
        code: str,
        code_version: str,
    ) -> Restart | None:
        """Return what a calculation of that key left for others on its site, or None.

        Raises
        ------
        DatabaseError
            If what it left is damaged.
        """
        found = self.database["calculations"].find_one(
            {
                "restart_key": restart_key,
                "structure_key": structure_key,
                "absorbing_index": absorbing_index,
                "edge": edge,
                "code": code,
                "code_version": code_version,
                "state": COMPLETED,
                # A list of pairs: not empty.
                "restart.0": {"$exists": True},
            },
            {"restart": 1},
        )
        if found is None:
            return None
        blobs = {name: str(held).removeprefix(PREFIX) for name, held in found["restart"]}
        contents = self.blobs.get_many(list(blobs.values()))
        return Restart(str(found["_id"]), {name: contents[each] for name, each in blobs.items()})

    # ---- reading many

    def completed(self, calculation_ids: Iterable[str]) -> set[str]:
        """Return those of the calculations that are completed."""
        found: set[str] = set()
        for batch in batches(calculation_ids):
            found.update(self._completed(batch))
        return found

    @operation
    def listing(
        self, query: SpectrumQuery, *, limit: int | None = None, skip: int = 0
    ) -> list[SpectrumRow]:
        """Return what is known of the spectra without their arrays, in a stable order."""
        fields = SpectrumRow.projection()
        found = self._find(SpectrumDoc, query, fields, limit=limit, skip=skip)
        return [SpectrumRow.from_stored(checked_version(SpectrumDoc, row)) for row in found]

    def spectra(
        self, query: SpectrumQuery, *, limit: int | None = None, skip: int = 0
    ) -> Iterator[SpectrumDoc]:
        """Iterate over spectra with their arrays, in the order of `listing`, in bounded memory."""
        return self._many(SpectrumDoc, query, limit=limit, skip=skip)

    def calculations(
        self, query: CalculationQuery, *, limit: int | None = None, skip: int = 0
    ) -> Iterator[CalculationDoc]:
        """Iterate over calculations; long inputs stay ``blob:<sha256>`` (see `calculation`)."""
        return self._many(CalculationDoc, query, limit=limit, skip=skip)

    def structures(self, structure_keys: Iterable[str]) -> dict[str, StructureDoc]:
        """Return exact structures by key; those that are not there are left out."""
        found: dict[str, StructureDoc] = {}
        for batch in batches(structure_keys, _READ_BATCH):
            found |= {s.structure_key: s for s in self._batch(StructureDoc, batch)}
        return found

    @operation
    def whole_ids(self, begun: Sequence[str]) -> list[str]:
        """Return the ids of the spectra whose ids begin so.

        Raises
        ------
        DatabaseError
            If of one there is none, or several.
        """
        spectra = self.database[SpectrumDoc.collection]
        return [whole_id(spectra, each, "spectra", "nearedge query") for each in begun]

    @operation
    def count(self, query: SpectrumQuery | CalculationQuery) -> int:
        """Return how many spectra, or calculations, answer the query."""
        cls = SpectrumDoc if isinstance(query, SpectrumQuery) else CalculationDoc
        collection = self.database[cls.collection]
        condition = query.filter()
        # Counting all by a filter reads all: seconds on the embedded server.
        if not condition:
            return collection.estimated_document_count()
        return collection.count_documents(condition)

    @operation
    def orphans(self, *, older_than: timedelta = timedelta(hours=1)) -> set[str]:
        """Return blobs that no document names, left by writers that were killed.

        Parameters
        ----------
        older_than
            Leave younger ones alone: their documents may be on their way.
        """
        found = self.blobs.ids(older_than=older_than)
        for collection in ("spectra", "calculations", "structures", "datasets"):
            fields = dict.fromkeys(large_fields(collection), 1)
            for stored in self.database[collection].find({}, fields):
                found.difference_update(all_references(collection, stored))
        named = (
            ("models", "weights_blob"),
            ("models", "left_out_blob"),
            ("styles", "weights_blob"),
            ("features", "blob"),
        )
        for collection, field in named:
            for stored in self.database[collection].find({}, {field: 1}):
                found.discard(str(stored.get(field)))
        return found

    # ---- inside

    @operation
    def _conclude_batch(
        self, records: Sequence[Record], seen: Mapping[str, CalculationDoc], attempt: str
    ) -> set[str]:
        return self._recorder.conclude(records, seen, attempt)

    @operation
    def _put_averages(self, averages: Sequence[SpectrumDoc]) -> None:
        self._recorder.put_averages(averages)

    @operation
    def _record_batch(self, records: Sequence[Record]) -> RecordCounts:
        different: dict[str, Record] = {}
        for record in records:
            name = record.calculation.calculation_id
            earlier = different.get(name)
            if earlier is None or not earlier.calculation.completed:
                different[name] = record
        counts = self._recorder.record(list(different.values()))
        return counts + RecordCounts(known=len(records) - len(different))

    @operation
    def _completed(self, calculation_ids: Sequence[str]) -> list[str]:
        condition = {"_id": {"$in": calculation_ids}, "state": COMPLETED}
        return [str(c["_id"]) for c in self.database["calculations"].find(condition, {"_id": 1})]

    @operation
    def _one(self, cls: type[D], identifier: str) -> D | None:
        found = self.database[cls.collection].find_one({"_id": str(identifier)})
        return None if found is None else unpack(cls, [found], self.blobs)[0]

    def _many(self, cls: type[D], query: Query, *, limit: int | None, skip: int) -> Iterator[D]:
        # Ids first, documents in batches: a slow reader holds no cursor that the server forgets.
        for batch in batches(self._ids(cls, query, limit=limit, skip=skip), _READ_BATCH):
            yield from self._batch(cls, batch)

    @operation
    def _ids(self, cls: type[D], query: Query, *, limit: int | None, skip: int) -> list[str]:
        fields = dict.fromkeys(_ORDER, 1)
        return [str(f["_id"]) for f in self._find(cls, query, fields, limit=limit, skip=skip)]

    @operation
    def _batch(self, cls: type[D], identifiers: Sequence[str]) -> list[D]:
        found = {
            str(stored["_id"]): stored
            for stored in self.database[cls.collection].find({"_id": {"$in": list(identifiers)}})
        }
        inorder = [found[name] for name in identifiers if name in found]
        return unpack(cls, inorder, self.blobs, texts=False)

    def _find(
        self, cls: type[D], query: Query, fields: dict[str, int], *, limit: int | None, skip: int
    ) -> list[Stored]:
        cursor = self.database[cls.collection].find(query.filter(), fields)
        if limit is not None:
            order = [(name, ASCENDING) for name in (*_ORDER, "_id")]
            return list(cursor.sort(order).skip(skip).limit(limit)) if limit > 0 else []
        # All of them: sorted here, because a server sorts whole documents and has a limit for it.
        return sorted(cursor, key=_order)[skip:]


def _order(stored: Stored) -> tuple[object, ...]:
    # The database sorts what is missing first, as an average's site index is.
    values = [stored.get(name) for name in _ORDER]
    return (
        *((value is not None, value if value is not None else 0) for value in values),
        stored["_id"],
    )


def _write_batches(records: Iterable[Record]) -> Iterator[list[Record]]:
    """Yield checked records in batches that are bounded in number and in points."""
    batch: list[Record] = []
    points = 0
    for item in records:
        record = Record(*item).checked()
        batch.append(record)
        points += len(record.spectrum.energy) if record.spectrum is not None else 0
        if len(batch) == _WRITE_BATCH or points > _WRITE_POINTS:
            yield batch
            batch, points = [], 0
    if batch:
        yield batch
