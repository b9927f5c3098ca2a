"""Take finished calculations, of whatever origin, into the same documents as our own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from jobflow.core.job import job
from jobflow.core.maker import Maker
from pydantic import BaseModel, ConfigDict
from pymatgen.core.structure import Structure

from nearedge.codes import get_code
from nearedge.codes.base import BadRun, FinishedRun, InputSet, KnownRun
from nearedge.errors import SpectrumError, StructureError
from nearedge.makers.average import SiteShare, average_document
from nearedge.makers.documents import Site, completed_record, parameters_id_of
from nearedge.schemas import SourceRef, SpectrumDoc, StructureDoc
from nearedge.schemas.calculation import calculation_id
from nearedge.schemas.spectrum import site_spectrum_id
from nearedge.settings import get_settings
from nearedge.store.connection import connect
from nearedge.store.ledger import IngestLedger
from nearedge.store.queries import SpectrumQuery
from nearedge.store.records import Record
from nearedge.store.spectra_store import SpectraStore
from nearedge.structures.absorbers import Absorber, unique_absorbers
from nearedge.structures.checks import check_structure

BATCH = 200
"""Calculations that are held in memory and written together; a material is never split."""

Progress = Callable[[int, float], None]
"""Called with the number of calculations seen, and the share of the archive that has been read."""


@dataclass
class IngestSummary:
    """What came of a folder or archive.

    Parameters
    ----------
    new, known
        Calculations that were added, and that were there already.
    bad
        Label and reason of everything that gave no calculation.
    """

    new: int = 0
    known: int = 0
    bad: list[tuple[str, str]] = field(default_factory=list)


class IngestOutcome(BaseModel):
    """What an `IngestMaker`'s job returns: the counts, and the reasons of what was bad."""

    model_config = ConfigDict(extra="forbid")

    new: int
    known: int
    bad: list[tuple[str, str]]


@dataclass
class IngestMaker(Maker):
    """Ingest a folder or archive that the worker can read.

    Parameters
    ----------
    name
        The job's name.
    code
        Which code made the calculations.
    project
        Name that the documents are filed under.
    """

    name: str = "ingest"
    code: str = "feff"
    project: str | None = None

    @job(output_schema=IngestOutcome)
    def make(self, path: str) -> IngestOutcome:
        """Return the summary; as a job, when called on a maker.

        Parameters
        ----------
        path
            Folder or archive, as the worker sees it.
        """
        store = SpectraStore(connect(get_settings()))
        summary = ingest_path(Path(path), self.code, store, self.project)
        return IngestOutcome(new=summary.new, known=summary.known, bad=summary.bad)


def ingest_path(
    path: Path,
    code: str,
    store: SpectraStore,
    project: str | None = None,
    progress: Progress | None = None,
) -> IngestSummary:
    """Store every finished calculation under `path`, and the averages that they make possible.

    May be interrupted at any moment and repeated: the final state is the same. Files that were
    ingested before are recognised by their content and not read again. What cannot be read is
    listed in the summary and stops nothing.

    Parameters
    ----------
    path
        Folder or archive.
    code
        Which code made the calculations.
    store
        Where they go.
    project
        Name that the documents are filed under, those that are known already included.
    progress
        See `Progress`.

    Raises
    ------
    IngestError
        If `path` is neither folder nor archive.
    InputRefused
        If no code has that name.
    """
    simulation = get_code(code)
    ledger = IngestLedger(store.database)
    earlier = _Earlier(store, ledger, project)
    batch = _Batch(store, ledger, project, simulation.name)
    bad: list[tuple[str, str]] = []
    known = 0
    share = 0.0

    def note_share(fraction: float) -> None:
        nonlocal share
        share = fraction

    runs = simulation.finished(path, known=earlier.recognises, progress=note_share)
    for seen, run in enumerate(runs, start=1):
        if isinstance(run, BadRun):
            bad.append((run.label, run.reason))
        elif isinstance(run, KnownRun):
            known += 1
        else:
            try:
                batch.add(run)
            except StructureError as error:
                bad.append((run.label, str(error)))
        if progress is not None:
            progress(seen, share)
    earlier.flush()
    batch.flush()
    return IngestSummary(batch.new, known + batch.known, bad + batch.bad)


class _Earlier:
    """Files that were ingested before: recognised, and filed under this project too."""

    def __init__(self, store: SpectraStore, ledger: IngestLedger, project: str | None) -> None:
        self._store = store
        self._ledger = ledger
        self._project = project
        self._to_file: dict[str, str] = {}

    def recognises(self, fingerprint: str) -> bool:
        """Return whether files with this fingerprint need not be read."""
        entry = self._ledger.entry(fingerprint)
        if entry is None:
            return False
        if self._project is not None and self._project not in entry.projects:
            self._to_file[fingerprint] = entry.calculation_id
            if len(self._to_file) >= BATCH:
                self.flush()
        return True

    def flush(self) -> None:
        """Add the project to what was recognised."""
        if self._project is not None and self._to_file:
            self._store.add_project(list(self._to_file.values()), self._project)
            self._ledger.add(self._to_file, self._project)
        self._to_file = {}


@dataclass
class _Material:
    """A structure with the runs on it that are waiting to be written."""

    structure: Structure
    document: StructureDoc
    absorbers: dict[str, list[Absorber]] = field(default_factory=dict)
    sites: list[Site] = field(default_factory=list)

    def orbit(self, element: str, index: int) -> Absorber:
        """Return the symmetry-unique absorber that site `index` is equivalent to."""
        if element not in self.absorbers:
            self.absorbers[element] = unique_absorbers(self.structure, element)
        return next(each for each in self.absorbers[element] if index in each.equivalent)


class _Batch:
    """Runs that are written together: records, then averages, then the ledger."""

    def __init__(
        self, store: SpectraStore, ledger: IngestLedger, project: str | None, code: str
    ) -> None:
        self._store = store
        self._ledger = ledger
        self._project = project
        self._code = code
        self._materials: list[_Material] = []
        self._records: list[Record] = []
        self._fingerprints: dict[str, str] = {}
        self._last: tuple[InputSet, str] | None = None
        self.new = 0
        self.known = 0
        self.bad: list[tuple[str, str]] = []

    def add(self, run: FinishedRun) -> None:
        """Take a run; writes what has gathered when a material begins and there is enough.

        Raises
        ------
        StructureError
            If the structure is refused.
        """
        material = self._material(run)
        inputs = InputSet(
            code=self._code,
            code_version=run.code_version,
            protocol=run.protocol,
            files=run.inputs,
            parameters=run.parameters,
        )
        site = Site(
            structure=material.document,
            absorber=run.absorber,
            absorbing_index=run.absorbing_index,
            multiplicity=material.orbit(run.absorber, run.absorbing_index).multiplicity,
            edge=run.edge,
            inputs=inputs,
            parameters_id=self._parameters_id(inputs),
        )
        record = completed_record(
            site, run.result, project=self._project, origin=f"ingest:{run.label}"
        )
        material.sites.append(site)
        self._records.append(record)
        self._fingerprints[run.fingerprint] = site.calculation_id

    def flush(self) -> None:
        """Write what has gathered, in an order in which it may be interrupted anywhere."""
        counts = self._store.record_many(self._records)
        self.new += counts.new
        self.known += counts.known
        here = {r.calculation.calculation_id: r.spectrum for r in self._records if r.spectrum}
        self._store.put_averages(list(self._averages(here)))
        self._ledger.add(self._fingerprints, self._project)
        self._materials, self._records, self._fingerprints = [], [], {}

    def _averages(self, here: dict[str, SpectrumDoc]) -> Iterator[SpectrumDoc]:
        """Yield the averages that can be made; site spectra that do not fit together give none."""
        for material in self._materials:
            for sites in _comparable(material.sites):
                try:
                    yield self._average(material, sites, here)
                except SpectrumError as error:
                    label = material.document.source.label
                    self.bad.append((f"{label}, average of {sites[0].absorber}", str(error)))

    def _parameters_id(self, inputs: InputSet) -> str:
        # Thousands of runs with the same parameters follow each other; to hash them takes longer
        # than to compare them.
        if self._last is not None:
            last, identifier = self._last
            if last.code_version == inputs.code_version and last.parameters == inputs.parameters:
                return identifier
        identifier = parameters_id_of(inputs)
        self._last = (inputs, identifier)
        return identifier

    def _material(self, run: FinishedRun) -> _Material:
        # The runs of a material share one structure object and come one after the other.
        if self._materials and self._materials[-1].structure is run.structure:
            return self._materials[-1]
        if len(self._records) >= BATCH:
            self.flush()
        source = SourceRef(kind="file", label=run.structure_label)
        check_structure(run.structure, run.absorber, label=run.structure_label)
        material = _Material(run.structure, StructureDoc.from_structure(run.structure, source))
        self._materials.append(material)
        return material

    def _average(
        self, material: _Material, sites: Sequence[Site], here: dict[str, SpectrumDoc]
    ) -> SpectrumDoc:
        """Return the average over the absorbers, those that were ingested earlier included."""
        first = sites[0]
        absorbers = material.absorbers[first.absorber]
        of_orbit = {material.orbit(s.absorber, s.absorbing_index).index: s for s in reversed(sites)}
        spectra = dict(here)
        shares = []
        if len(of_orbit) < len(absorbers):
            spectra |= self._stored_before(first, absorbers)
        for absorber in absorbers:
            ids = {index: self._id(first, index) for index in absorber.equivalent}
            chosen = next((index for index, each in ids.items() if each in spectra), absorber.index)
            shares.append(
                SiteShare(
                    calculation_id=ids[chosen],
                    parameters_id=first.parameters_id,
                    absorbing_index=chosen,
                    multiplicity=absorber.multiplicity,
                )
            )
        wanted = {share.calculation_id for share in shares}
        present = {each: spectrum for each, spectrum in spectra.items() if each in wanted}
        return average_document(shares, present, {}, self._project)

    def _stored_before(self, site: Site, absorbers: Iterable[Absorber]) -> dict[str, SpectrumDoc]:
        ids = [self._id(site, index) for each in absorbers for index in each.equivalent]
        completed = self._store.completed(ids)
        query = SpectrumQuery(spectrum_ids=[site_spectrum_id(each) for each in sorted(completed)])
        return {each.calculation_ids[0]: each for each in self._store.spectra(query)}

    @staticmethod
    def _id(site: Site, index: int) -> str:
        return calculation_id(
            site.structure.structure_key, site.absorber, index, site.edge, site.parameters_id
        )


def _comparable(sites: Sequence[Site]) -> Iterator[list[Site]]:
    """Group sites by absorber, edge and parameters: only those may be averaged."""
    groups: dict[tuple[str, str, str], list[Site]] = {}
    for site in sorted(sites, key=lambda each: each.absorbing_index):
        groups.setdefault((site.absorber, site.edge, site.parameters_id), []).append(site)
    yield from groups.values()
