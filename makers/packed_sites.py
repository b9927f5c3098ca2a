"""The sites of a pack: computed one by one, stored together, and an error of one kept for later."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

from nearedge.errors import (
    DatabaseError,
    DatabaseUnavailable,
    LaunchGivenUp,
    NearEdgeError,
    ResourceError,
)
from nearedge.makers.attempt import attempt
from nearedge.makers.documents import Site
from nearedge.makers.leftover import save_leftover
from nearedge.makers.simulation import (
    SimulationMaker,
    SiteOutcome,
    name_parent,
    outcome_of_site,
)
from nearedge.makers.storing import Repeats, clear_leftover, store_patiently
from nearedge.schemas import CalculationDoc, SpectrumDoc
from nearedge.settings import Settings
from nearedge.store.batches import batches
from nearedge.store.claims import Claim, Claims
from nearedge.store.connection import connect
from nearedge.store.queries import CalculationQuery
from nearedge.store.records import Record
from nearedge.store.spectra_store import SpectraStore

log = logging.getLogger(__name__)

STORE_SECONDS = 20.0
"""Results are stored so long after the first of them is there, at the latest after the next one."""

STORE_RECORDS = 50
"""Results that are stored together at most."""

KEEP_SECONDS = 1.0
"""A result that took less is not kept on the disk until it is stored: to compute it is as fast."""


class Errors:
    """The errors that single sites and averages ended by, while the others went on.

    Attributes
    ----------
    of
        What ended by one: calculations, averages, and crystals by their labels.
    """

    def __init__(self) -> None:
        self.of: list[str] = []
        self._one: Exception | None = None

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
            # Only one: each keeps alive what its run had in memory. Rather the machine's fault,
            # for which the job is put back without a person.
            if self._one is None or not isinstance(self._one, ResourceError):
                self._one = error if isinstance(error, ResourceError) else self._one or error

    def raise_one(self) -> None:
        """Raise one of the errors, if there are any, and say of how many."""
        if self._one is None:
            return
        more = f" and {len(self.of) - 10} more" if len(self.of) > 10 else ""
        self._one.add_note(
            f"Of this pack {len(self.of)} ended by such errors: {', '.join(self.of[:10])}{more}. "
            "The others are stored."
        )
        raise self._one


class PackedSites:
    """The sites of a pack: what is known of them, and what is computed and not stored yet.

    Parameters
    ----------
    maker
        Computes a site.
    settings
        Where, and which database.
    repeats
        Which recorded calculations are computed again.
    instead_of
        The failed calculations that some repeat with other parameters, for their provenance.

    Attributes
    ----------
    outcomes
        Of the sites that are over, by calculation.
    spectra
        Of the sites that were computed here, by calculation.
    errors
        Of the sites that are not recorded because of one; by their calculations.
    """

    def __init__(
        self,
        maker: SimulationMaker,
        settings: Settings,
        repeats: Repeats,
        instead_of: Mapping[str, str],
    ) -> None:
        self.settings = settings
        self.outcomes: dict[str, SiteOutcome] = {}
        self.spectra: dict[str, SpectrumDoc] = {}
        self.errors = Errors()
        self._maker = maker
        self._repeats = repeats
        self._instead_of = instead_of
        self._seen: dict[str, CalculationDoc] = {}
        self._gathered: list[tuple[Site, Record]] = []
        self._since = 0.0

    def do(self, sites: Sequence[Site]) -> None:
        """Compute what is not known; what others compute now is waited for at the end."""
        database = connect(self.settings)
        open_ones = self._open(SpectraStore(database), sites)
        with Claims(database).hold_free([site.calculation_id for site in open_ones]) as claim:
            mine = [site for site in open_ones if site.calculation_id in claim.calculation_ids]
            # Whoever held a claim before us may have finished it.
            self._compute(self._open(SpectraStore(database), mine), claim)
        for site in sites:
            this = site.calculation_id
            if this not in self.outcomes and this not in self.errors.of:
                with self.errors.kept(this):
                    self.outcomes[this] = self._maker.outcome_of(
                        site, self.settings, self._instead_of.get(this), self._repeats
                    )

    def _open(self, store: SpectraStore, sites: Sequence[Site]) -> list[Site]:
        """Return the sites that are to be computed; note the outcomes of the others."""
        recorded: dict[str, CalculationDoc] = {}
        for batch in batches(site.calculation_id for site in sites):
            query = CalculationQuery(calculation_ids=batch)
            recorded |= {each.calculation_id: each for each in store.calculations(query)}
        self._seen = {name: each for name, each in recorded.items() if self._repeats(each)}
        known = recorded.keys() - self._seen.keys()
        for site in sites:
            if site.calculation_id in known:
                clear_leftover(site.calculation_id, self.settings)
                self.outcomes[site.calculation_id] = outcome_of_site(
                    site, recorded[site.calculation_id]
                )
        project = self._maker.project
        to_file = [each for each in sorted(known) if project not in recorded[each].projects]
        if project is not None and to_file:
            store.add_project(to_file, project)
        return [site for site in sites if site.calculation_id not in known]

    def _compute(self, sites: Sequence[Site], claim: Claim) -> None:
        try:
            for site in sites:
                self._since = self._since if self._gathered else time.monotonic()
                with self.errors.kept(site.calculation_id):
                    self._attempt(site, claim)
                waited = time.monotonic() - self._since
                if waited > STORE_SECONDS or len(self._gathered) >= STORE_RECORDS:
                    self._store(claim, self._maker.patience)
            self._store(claim, self._maker.patience)
        except BaseException:
            # What is done is stored before what ends the job goes on its way.
            with suppress(NearEdgeError):
                self._store(claim, 0.0)
            raise

    def _attempt(self, site: Site, claim: Claim) -> None:
        began = time.monotonic()
        seen = self._seen.get(site.calculation_id)
        record = attempt(site, seen, self.settings, self._maker.project, claim.progress)
        if (failed := self._instead_of.get(site.calculation_id)) is not None:
            name_parent(record, failed)
        self._gathered.append((site, record))
        if time.monotonic() - began > KEEP_SECONDS:
            save_leftover(self.settings.runs / site.calculation_id, record)

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
        """Store the first that have gathered; see `store_patiently`."""
        if not self._gathered:
            return
        refused = store_patiently(
            [record for _, record in self._gathered[:number]],
            self._seen,
            claim,
            self.settings,
            project=self._maker.project,
            patience=patience,
            repeats=self._repeats,
        )
        # Only now: of what a signal interrupts before, all is stored and cleared away once more.
        stored, self._gathered = self._gathered[:number], self._gathered[number:]
        for site, record in stored:
            if site.calculation_id in refused:
                continue
            self.outcomes[site.calculation_id] = outcome_of_site(site, record.calculation)
            if record.spectrum is not None:
                self.spectra[site.calculation_id] = record.spectrum
        # Others may wait for them. Where the database is away, all are released at the end.
        with suppress(DatabaseError):
            claim.release_some([site.calculation_id for site, _ in stored])
