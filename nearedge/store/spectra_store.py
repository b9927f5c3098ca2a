"""Structures, calculations and spectra: recorded once, found by what people know of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from itertools import chain, islice
from typing import Self, TypeVar

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
from nearedge.store.walking import Walk

__all__ = ["Record", "RecordCounts", "Restart", "SpectraStore", "SpectrumRow"]

D = TypeVar("D", bound=Document)

_WRITE_BATCH = 200
_WRITE_POINTS = 1_000_000
"""Energies of the spectra of one batch: 16 MB of arrays in the database's form."""


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

    def listing(
        self, query: SpectrumQuery, *, limit: int | None = None, skip: int = 0
    ) -> list[SpectrumRow]:
        """Return what is known of the spectra without their arrays, in a stable order.

        The order is that of `nearedge.store.walking`: the sites of a crystal stand together, the
        crystals by their `structure_key`, so that a page need not read all that is found.
        `nearedge.store.records.by_formula` puts a complete listing into an order for people.
        """
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
        for batch in batches(structure_keys):
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

    def count(self, query: SpectrumQuery | CalculationQuery, *, most: int | None = None) -> int:
        """Return how many spectra, or calculations, answer the query.

        Parameters
        ----------
        most
            Count no further: a number that answers whether there are so many costs no more.
        """
        cls = SpectrumDoc if isinstance(query, SpectrumQuery) else CalculationDoc
        condition = query.filter()
        if not condition and most is None:
            return self._all(cls)
        return Walk(self.database[cls.collection], condition, wanted=most).count()

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

    @operation
    def _all(self, cls: type[Document]) -> int:
        return self.database[cls.collection].estimated_document_count()

    def _many(self, cls: type[D], query: Query, *, limit: int | None, skip: int) -> Iterator[D]:
        found = self._find(cls, query, None, limit=limit, skip=skip)
        for batch in batches(found):
            yield from self._unpacked(cls, batch)

    @operation
    def _unpacked(self, cls: type[D], found: Sequence[Stored]) -> list[D]:
        return unpack(cls, found, self.blobs, texts=False)

    @operation
    def _batch(self, cls: type[D], identifiers: Sequence[str]) -> list[D]:
        found = {
            str(stored["_id"]): stored
            for stored in self.database[cls.collection].find({"_id": {"$in": list(identifiers)}})
        }
        inorder = [found[name] for name in identifiers if name in found]
        return unpack(cls, inorder, self.blobs, texts=False)

    def _find(
        self,
        cls: type[Document],
        query: Query,
        fields: Iterable[str] | None,
        *,
        limit: int | None,
        skip: int,
    ) -> Iterator[Stored]:
        end = None if limit is None else skip + max(limit, 0)
        if end == skip:
            return iter(())
        walk = Walk(self.database[cls.collection], query.filter(), fields, end)
        return islice(chain.from_iterable(walk.pieces()), skip, end)


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
