"""Several crystals in one job: where a site takes seconds, many share what the queue costs."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from jobflow.core.job import job
from jobflow.core.maker import Maker
from pydantic import BaseModel, ConfigDict
from pymatgen.core.structure import Structure

from nearedge.codes import get_code
from nearedge.errors import DatabaseError, DatabaseUnavailable, LaunchGivenUp, NearEdgeError
from nearedge.launch.token import note_progress, refuse_given_up
from nearedge.makers.average import (
    AverageMaker,
    AverageOutcome,
    SiteShare,
    average_document,
    average_sites,
)
from nearedge.makers.documents import Site, describe_site
from nearedge.makers.leftover import save_leftover
from nearedge.makers.simulation import (
    SimulationMaker,
    SiteOutcome,
    clear_away,
    outcome_of_site,
    refuse_lost_outcome,
)
from nearedge.makers.storing import discard, patiently
from nearedge.schemas import CalculationDoc, SourceRef, SpectrumDoc, StructureDoc
from nearedge.settings import Settings, get_settings
from nearedge.store.claims import Claim, Claims
from nearedge.store.connection import connect
from nearedge.store.queries import CalculationQuery
from nearedge.store.records import Record
from nearedge.store.spectra_store import SpectraStore
from nearedge.structures.checks import check_structure

log = logging.getLogger(__name__)

STORE_SECONDS = 20.0
"""Results are stored so long after the first of them is there, at the latest after the next one."""

STORE_RECORDS = 50
"""Results that are stored together at most."""

KEEP_SECONDS = 1.0
"""A result that took less is not kept on the disk until it is stored: to compute it is as fast."""


class PackOutcome(BaseModel):
    """What a pack's job returns: each site's outcome and each crystal's average."""

    model_config = ConfigDict(extra="forbid")

    sites: list[SiteOutcome]
    averages: list[AverageOutcome]


@dataclass
class PackMaker(Maker):
    """Compute the sites of several crystals one after the other, then the crystals' averages.

    What it leaves is the same as of a job for each site and each average. Of a pack that is
    interrupted, what is done is stored, and is not computed again.

    Parameters
    ----------
    name
        The job's name.
    site_maker
        Computes each site.
    average_maker
        Averages each crystal.
    submitted
        When the job was made, in seconds since 1970. With `rerun_failed` a failure that was
        recorded later is not computed again: the job itself did, before it was interrupted. The
        clocks of who submits and who computes are taken to agree.
    """

    name: str = "pack"
    site_maker: SimulationMaker = field(default_factory=SimulationMaker)
    average_maker: AverageMaker = field(default_factory=AverageMaker)
    submitted: float = field(default_factory=time.time)

    @job(output_schema=PackOutcome)
    def make(
        self,
        structures: list[Structure],
        sources: list[SourceRef],
        indices: list[list[int]],
        shares: list[list[SiteShare]],
    ) -> PackOutcome:
        """Return what became of all sites; as a job, when called on a maker.

        Failures that have names are recorded, as `SimulationMaker.make` does. The same errors end
        the job: those of one site only after the others had their turn, and the crystals that
        they leave whole their averages.

        Parameters
        ----------
        structures, sources
            The crystals, and where they came from.
        indices
            The sites that are to be computed in each.
        shares
            All symmetry-unique absorbers of each, for its average.
        """
        refuse_lost_outcome()
        sites = [
            site
            for structure, source, wanted, of_crystal in zip(
                structures, sources, indices, shares, strict=True
            )
            for site in self._sites(structure, source, wanted, of_crystal)
        ]
        work = _Work(self.site_maker, get_settings(), self.submitted)
        work.do(sites)
        averages = _averages(work, shares, self.average_maker.project)
        work.errors.raise_first()
        return PackOutcome(
            sites=[work.outcomes[site.calculation_id] for site in sites], averages=averages
        )

    def _sites(
        self,
        structure: Structure,
        source: SourceRef,
        wanted: Sequence[int],
        shares: Sequence[SiteShare],
    ) -> list[Site]:
        check_structure(structure, label=source.label)
        document = StructureDoc.from_structure(structure, source)
        multiplicities = {share.absorbing_index: share.multiplicity for share in shares}
        maker = self.site_maker
        return [
            describe_site(
                get_code(maker.code),
                document,
                index,
                multiplicities[index],
                edge=maker.edge,
                protocol=maker.protocol,
            )
            for index in wanted
        ]


class _Errors:
    """The errors that single sites and averages ended by, while the others went on."""

    def __init__(self) -> None:
        self.of: list[str] = []
        self._first: Exception | None = None

    @contextmanager
    def kept(self, name: str) -> Iterator[None]:
        """Keep an error of what is called `name`, unless the others would meet it as well."""
        try:
            yield
        except (DatabaseUnavailable, LaunchGivenUp):
            raise
        except Exception as error:
            log.warning("%s ended by an error: %s", name, error)
            self.of.append(name)
            # Only one: each keeps alive what its run had in memory.
            self._first = self._first or error

    def raise_first(self) -> None:
        """Raise the first error, if there is one, and say of how many it is one."""
        if self._first is None:
            return
        more = f" and {len(self.of) - 10} more" if len(self.of) > 10 else ""
        self._first.add_note(
            f"Of this pack {len(self.of)} ended by an error, this one first: "
            f"{', '.join(self.of[:10])}{more}. The others are stored."
        )
        raise self._first


class _Work:
    """The sites of a pack: what is known of them, and what is computed and not stored yet.

    Attributes
    ----------
    outcomes
        Of the sites that are over, by calculation.
    spectra
        Of the sites that were computed here, by calculation.
    errors
        Of the sites that are not recorded because of one; by their calculations.
    """

    def __init__(self, maker: SimulationMaker, settings: Settings, submitted: float) -> None:
        self.settings = settings
        self.outcomes: dict[str, SiteOutcome] = {}
        self.spectra: dict[str, SpectrumDoc] = {}
        self.errors = _Errors()
        self._maker = maker
        self._submitted = submitted
        self._gathered: list[tuple[Site, Record]] = []
        self._since = 0.0

    def do(self, sites: Sequence[Site]) -> None:
        """Compute what is not known; what others compute now is waited for at the end."""
        database = connect(self.settings)
        open_ones = self._unrecorded(SpectraStore(database), sites)
        with Claims(database).hold_free([site.calculation_id for site in open_ones]) as claim:
            mine = [site for site in open_ones if site.calculation_id in claim.calculation_ids]
            # Whoever held a claim before us may have finished it.
            self._compute(self._unrecorded(SpectraStore(database), mine), claim)
        for site in sites:
            this = site.calculation_id
            if this not in self.outcomes and this not in self.errors.of:
                with self.errors.kept(this):
                    self.outcomes[this] = self._maker.outcome_of(site, self.settings)

    def _unrecorded(self, store: SpectraStore, sites: Sequence[Site]) -> list[Site]:
        """Return the sites of which nothing is recorded; note the outcomes of the others.

        Failures that are to be computed again are neither: one by one, after all others.
        """
        ids = [site.calculation_id for site in sites]
        recorded = {
            each.calculation_id: each
            for each in store.calculations(CalculationQuery(calculation_ids=ids))
        }
        to_file: list[str] = []
        project = self._maker.project
        for site in sites:
            found = recorded.get(site.calculation_id)
            if found is None or self._to_repeat(found):
                continue
            self.outcomes[site.calculation_id] = outcome_of_site(site, found)
            if project is not None and project not in found.projects:
                to_file.append(site.calculation_id)
        if project is not None and to_file:
            store.add_project(to_file, project)
        return [site for site in sites if site.calculation_id not in recorded]

    def _to_repeat(self, found: CalculationDoc) -> bool:
        earlier = found.created_at.timestamp() < self._submitted
        return self._maker.rerun_failed and not found.completed and earlier

    def _compute(self, sites: Sequence[Site], claim: Claim) -> None:
        store = SpectraStore(connect(self.settings))
        try:
            for site in sites:
                self._since = self._since if self._gathered else time.monotonic()
                began = time.monotonic()
                with self.errors.kept(site.calculation_id):
                    record = self._maker.attempt(store, site, self.settings, claim.progress)
                    self._gathered.append((site, record))
                    if time.monotonic() - began > KEEP_SECONDS:
                        save_leftover(self.settings.runs / site.calculation_id, record)
                waited = time.monotonic() - self._since
                if waited > STORE_SECONDS or len(self._gathered) >= STORE_RECORDS:
                    self._store(claim, self._maker.patience)
            self._store(claim, self._maker.patience)
        except BaseException:
            # What is done is stored before what ends the job goes on its way.
            with suppress(NearEdgeError):
                self._store(claim, 0.0)
            raise

    def _store(self, claim: Claim, patience: float) -> None:
        """Store what has gathered; where that cannot be, all of it that can be stored."""
        try:
            self._store_first(len(self._gathered), claim, patience)
        except (DatabaseUnavailable, LaunchGivenUp):
            raise
        except Exception:
            while self._gathered:
                site, record = self._gathered[0]
                with self.errors.kept(site.calculation_id):
                    self._store_first(1, claim, patience)
                if site.calculation_id in self.errors.of:
                    save_leftover(self.settings.runs / site.calculation_id, record)
                    self._gathered = self._gathered[1:]

    def _store_first(self, number: int, claim: Claim, patience: float) -> None:
        """Store the first that have gathered, as a single site's result (`store_patiently`)."""
        gathered = self._gathered[:number]
        if not gathered:
            return
        refused: set[str] = set()

        def conclude() -> None:
            refused.update(self._conclude([record for _, record in gathered], claim))

        try:
            patiently(conclude, patience)
        except LaunchGivenUp:
            for _, record in self._gathered:
                discard(record, self.settings)
            self._gathered = []
            raise
        except DatabaseUnavailable:
            for site, record in self._gathered:
                save_leftover(self.settings.runs / site.calculation_id, record)
            raise
        self._gathered = self._gathered[number:]
        for site, record in gathered:
            if site.calculation_id in refused:
                log.warning("The result of %s came late and is not kept.", site.label)
                discard(record, self.settings)
                continue
            clear_away(record, self.settings)
            self.outcomes[site.calculation_id] = outcome_of_site(site, record.calculation)
            if record.spectrum is not None:
                self.spectra[site.calculation_id] = record.spectrum
        # Others may wait for them. Where the database is away, all are released at the end.
        with suppress(DatabaseError):
            claim.release_some([site.calculation_id for site, _ in gathered])

    def _conclude(self, records: Sequence[Record], claim: Claim) -> set[str]:
        """Write records; return the calculations whose results are not kept."""
        # Connected anew each time: an embedded server may come back on another port.
        database = connect(self.settings)
        refuse_given_up(database.client[self.settings.launchpad_database])
        store = SpectraStore(database)
        held = claim.held()
        kept = [record for record in records if record.calculation.calculation_id in held]
        refused = {record.calculation.calculation_id for record in records} - held
        refused |= store.conclude_many(kept, claim.owner)
        if len(refused) < len(records):
            note_progress()
        project = self._maker.project
        # A result left over from another project's job is this one's as well.
        other = [r.calculation for r in kept if project not in r.calculation.projects]
        if project is not None and other:
            store.add_project([each.calculation_id for each in other], project)
        return refused


def _averages(
    work: _Work, crystals: Sequence[Sequence[SiteShare]], project: str | None
) -> list[AverageOutcome]:
    """Average each crystal; those whose sites are all of this pack are stored together.

    One of whose sites an error is kept has its average when that site has been computed.
    """
    store = SpectraStore(connect(work.settings))
    whole: list[SpectrumDoc] = []
    outcomes: list[AverageOutcome] = []
    failed = set(work.errors.of)
    for shares in crystals:
        ids = [share.calculation_id for share in shares]
        if failed.intersection(ids):
            continue
        with work.errors.kept(f"the average of {ids[0]}"):
            if not all(each in work.spectra for each in ids):
                outcomes.append(average_sites(store, shares, project))
                continue
            average = average_document(shares, work.spectra, {}, project)
            whole.append(average)
            outcomes.append(
                AverageOutcome(
                    spectrum_id=average.spectrum_id, state=average.state, covered=average.covered
                )
            )
    store.put_averages(whole)
    return outcomes
