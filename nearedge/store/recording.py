"""How a batch of calculations gets into the database so that any of it may be repeated.

The order is blobs, structures, spectra, calculations: whoever finds a completed calculation finds
all that belongs to it, and whoever is killed on the way leaves nothing that a repetition would not
complete. A completed calculation is never replaced, whoever comes late.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from pymongo import UpdateOne
from pymongo.collection import Collection

from nearedge.schemas.calculation import COMPLETED, CalculationDoc
from nearedge.schemas.spectrum import SpectrumDoc, site_spectrum_id
from nearedge.schemas.structure import StructureDoc
from nearedge.store.blobs import BlobStore
from nearedge.store.operations import Document, MongoDatabase
from nearedge.store.packing import all_references, pack
from nearedge.store.records import Record, RecordCounts
from nearedge.store.writing import insert_missing

_COVERED_TOLERANCE = 1e-9
"""Rounding of a covered fraction that was summed in another order."""


FILED_NOW: Document = {"$currentDate": {"filed_at": True}}
"""Goes with every change of a calculation's projects: `nearedge.store.sums` finds it by that."""


class Recorder:
    """Writes records, structures and averages."""

    def __init__(self, database: MongoDatabase, blobs: BlobStore) -> None:
        self._structures = database["structures"]
        self._calculations = database["calculations"]
        self._spectra = database["spectra"]
        self._blobs = blobs

    def record(self, records: Sequence[Record]) -> RecordCounts:
        """Write a batch whose calculations all differ."""
        present = {
            str(found["_id"]): found
            for found in self._calculations.find(
                {"_id": {"$in": [r.calculation.calculation_id for r in records]}},
                {"state": 1, "projects": 1},
            )
        }
        fresh: list[Record] = []
        known: list[Record] = []
        for record in records:
            found = present.get(record.calculation.calculation_id)
            is_known = found is not None and found["state"] == COMPLETED
            (known if is_known else fresh).append(record)
        self._join_projects(known, present)
        new = self._write(fresh, present)
        return RecordCounts(new, len(records) - new)

    def conclude(
        self, records: Sequence[Record], seen: Mapping[str, CalculationDoc], attempt: str
    ) -> set[str]:
        """Write what one attempt gave; see `SpectraStore.conclude`."""
        self.put_structures(r.structure for r in records if r.structure is not None)
        packed = {each.name: each for each in map(_Packed.of, records)}
        blobs: dict[str, bytes] = {}
        for each in packed.values():
            blobs |= each.blobs
        self._blobs.put_many(blobs, attempt=attempt)
        _put(self._spectra, [each.spectrum for each in packed.values() if each.spectrum])
        late = self._put_calculations({n: each.calculation for n, each in packed.items()}, seen)
        refused = {name for name in late if self._refused(packed[name], attempt)}
        kept = [each for name, each in packed.items() if name not in refused]
        self._drop_spectra_of_failures([each.name for each in kept if each.spectrum is None])
        self._restore(each.spectrum for each in kept if each.spectrum is not None)
        return refused

    def _refused(self, packed: _Packed, attempt: str) -> bool:
        """Return whether another attempt has recorded its own; take away what this one left."""
        stored = self._calculations.find_one({"_id": packed.name}) or {}
        # It may be our own: the answer to a first try was lost on the way.
        refused = _attempt(stored) != _attempt(packed.calculation)
        if refused:
            self._drop_spectra_of_failures([packed.name])
        self._blobs.withdraw(set(packed.blobs) - self._named(packed.name), attempt)
        return refused

    def _restore(self, spectra: Iterable[Document]) -> None:
        """Write what a late failure elsewhere has removed between spectrum and calculation."""
        written = {str(each["_id"]): each for each in spectra}
        found = self._spectra.find({"_id": {"$in": list(written)}}, {"_id": 1})
        for each in [str(stored["_id"]) for stored in found]:
            del written[each]
        _bulk(self._spectra, [_insert(each) for each in written.values()])

    def _put_calculations(
        self, calculations: Mapping[str, Document], seen: Mapping[str, CalculationDoc]
    ) -> set[str]:
        """Write those of which nothing, or what was seen, is recorded; return the others."""
        fresh = [stored for name, stored in calculations.items() if name not in seen]
        late = {str(each["_id"]) for each in insert_missing(self._calculations, fresh)}
        for name in calculations.keys() & seen.keys():
            if not self._replace_seen(calculations[name], seen[name]):
                late.add(name)
        return late

    def _replace_seen(self, calculation: Document, seen: CalculationDoc) -> bool:
        """Write a calculation if what is recorded of it is what was seen; return whether it was."""
        as_seen = {"_id": calculation["_id"], **_attempt(seen.model_dump())}
        content = {k: v for k, v in calculation.items() if k not in ("_id", "projects")}
        return self._calculations.update_one(as_seen, {"$set": content}).matched_count == 1

    def _named(self, name: str) -> set[str]:
        """Return the blobs that what is recorded of a calculation names."""
        blobs: set[str] = set()
        for collection, identifier in (
            (self._calculations, name),
            (self._spectra, site_spectrum_id(name)),
        ):
            stored = collection.find_one({"_id": identifier})
            if stored is not None:
                blobs |= set(all_references(collection.name, stored))
        return blobs

    def put_structures(self, structures: Iterable[StructureDoc]) -> None:
        """Write the structures that are not there yet."""
        wanted = {structure.structure_key: structure for structure in structures}
        found = self._structures.find({"_id": {"$in": list(wanted)}}, {"_id": 1})
        for known in [str(stored["_id"]) for stored in found]:
            del wanted[known]
        blobs: dict[str, bytes] = {}
        fresh = []
        for structure in wanted.values():
            stored, large = pack(structure)
            blobs |= large
            fresh.append(stored)
        self._blobs.put_many(blobs)
        _put(self._structures, fresh)

    def put_averages(self, averages: Iterable[SpectrumDoc]) -> None:
        """Write averages; a more complete one replaces a less complete one, never the reverse."""
        blobs: dict[str, bytes] = {}
        inserted, replaced = [], []
        for average in averages:
            stored, large = pack(average)
            blobs |= large
            inserted.append(stored)
            content = {
                key: value for key, value in stored.items() if key not in ("_id", "projects")
            }
            lesser = {
                "_id": average.spectrum_id,
                "state": "incomplete",
                "covered": {"$lte": average.covered + _COVERED_TOLERANCE},
            }
            replaced.append((average.spectrum_id, UpdateOne(lesser, {"$set": content})))
        self._blobs.put_many(blobs)
        new = _put(self._spectra, inserted)
        _bulk(self._spectra, [update for name, update in replaced if name not in new])

    def _write(self, records: Sequence[Record], present: dict[str, Document]) -> int:
        """Write records not known as completed; return how many changed what is known."""
        if not records:
            return 0
        self.put_structures(r.structure for r in records if r.structure is not None)
        blobs: dict[str, bytes] = {}
        spectra, calculations = {}, {}
        for calculation, spectrum, _ in records:
            stored, large = pack(calculation)
            calculations[calculation.calculation_id] = stored
            blobs |= large
            if spectrum is not None:
                spectra[calculation.calculation_id], large = pack(spectrum)
                blobs |= large
        self._blobs.put_many(blobs)
        _put(self._spectra, list(spectra.values()))
        inserted = _put(self._calculations, list(calculations.values()))
        replaced = [name for name in calculations if name not in inserted]
        self._replace_failures([calculations[name] for name in replaced])
        # A late failure on another machine may have removed the spectrum between the two writes.
        _bulk(self._spectra, [_insert(spectra[name]) for name in replaced if name in spectra])
        self._drop_spectra_of_failures([name for name in calculations if name not in spectra])
        # Neither inserted nor a failure before: somebody else was faster.
        before = {name: present[name]["state"] for name in replaced if name in present}
        return len(inserted) + sum(
            1 for name, state in before.items() if state != calculations[name]["state"]
        )

    def _replace_failures(self, calculations: Sequence[Document]) -> None:
        _bulk(
            self._calculations,
            [
                UpdateOne(
                    {"_id": stored["_id"], "state": {"$ne": COMPLETED}},
                    {"$set": {k: v for k, v in stored.items() if k not in ("_id", "projects")}},
                )
                for stored in calculations
            ],
        )

    def _drop_spectra_of_failures(self, names: Sequence[str]) -> None:
        """Remove what a run left that wrote its spectrum, was killed, and now fails.

        Somebody else may be completing the same calculation at this moment: then the spectrum goes
        back, and that writer looks for it once more after its calculation (see `_write`).
        """
        for name in names:
            if self._is_completed(name):
                continue
            spectrum = {"_id": site_spectrum_id(name)}
            # Asked first, because the embedded server reads every spectrum to delete a found one.
            if self._spectra.find_one(spectrum, {"_id": 1}) is None:
                continue
            removed = self._spectra.find_one_and_delete(spectrum)
            if removed is not None and self._is_completed(name):
                _bulk(self._spectra, [_insert(removed)])

    def _is_completed(self, name: str) -> bool:
        return (
            self._calculations.find_one({"_id": name, "state": COMPLETED}, {"_id": 1}) is not None
        )

    def _join_projects(self, records: Sequence[Record], present: dict[str, Document]) -> None:
        calculations, spectra = [], []
        for record in records:
            name = record.calculation.calculation_id
            missing = set(record.calculation.projects) - set(present[name].get("projects", ()))
            if missing:
                update = {"$addToSet": {"projects": {"$each": sorted(missing)}}}
                calculations.append(UpdateOne({"_id": name}, {**update, **FILED_NOW}))
                spectra.append(UpdateOne({"_id": site_spectrum_id(name)}, update))
        _bulk(self._spectra, spectra)
        _bulk(self._calculations, calculations)


@dataclass(frozen=True)
class _Packed:
    """A record as it is stored."""

    name: str
    calculation: Document
    spectrum: Document | None
    blobs: dict[str, bytes]

    @classmethod
    def of(cls, record: Record) -> Self:
        calculation, blobs = pack(record.calculation)
        spectrum = None
        if record.spectrum is not None:
            spectrum, large = pack(record.spectrum)
            blobs |= large
        return cls(record.calculation.calculation_id, calculation, spectrum, blobs)


def _attempt(calculation: Mapping[str, object]) -> Document:
    """Return what tells two attempts at a calculation apart."""
    fields = ("state", "host", "run_dir", "wall_seconds", "cpu_seconds")
    return {field: calculation.get(field) for field in fields}


def _insert(stored: Document) -> UpdateOne:
    """Return the update that writes a document, or adds its projects to the one that is there."""
    content = {key: value for key, value in stored.items() if key not in ("_id", "projects")}
    projects = stored.get("projects")
    update: Document = {"$setOnInsert": content}
    if projects:
        update["$addToSet"] = {"projects": {"$each": projects}}
        if content.pop("filed_at", FILED_NOW) is None:  # only calculations say so of themselves
            update |= FILED_NOW
    elif projects is not None:
        content["projects"] = []
    return UpdateOne({"_id": stored["_id"]}, update, upsert=True)


def _put(collection: Collection[Document], documents: Sequence[Document]) -> set[str]:
    """Write the documents that are not there yet, and add the others' projects to what is there.

    Returns
    -------
    set of str
        The ids of the documents that were not there before.
    """
    present = insert_missing(collection, documents)
    # One that was removed in between, as the spectrum of a failure is, is written after all.
    restored = _bulk(collection, [_insert(document) for document in present])
    known = {str(document["_id"]) for document in present} - restored
    return {str(document["_id"]) for document in documents} - known


def _bulk(collection: Collection[Document], updates: Sequence[UpdateOne]) -> set[str]:
    """Write in one round trip; return the ids of the documents that were not there before."""
    if not updates:
        return set()
    result = collection.bulk_write(updates, ordered=False)
    return {str(identifier) for identifier in (result.upserted_ids or {}).values()}
