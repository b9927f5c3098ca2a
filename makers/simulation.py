"""The maker that every simulation code shares: one absorbing site, one job."""

from __future__ import annotations

from dataclasses import dataclass

import jobflow
from jobflow.core.job import job
from jobflow.core.maker import Maker
from jobflow.core.state import CURRENT_JOB
from pydantic import BaseModel, ConfigDict
from pymatgen.core.structure import Structure

from nearedge.codes import get_code
from nearedge.errors import StructureError
from nearedge.launch.fireworks import refuse_memory_store
from nearedge.makers.attempt import attempt
from nearedge.makers.documents import Site, describe_site
from nearedge.makers.leftover import save_leftover
from nearedge.makers.storing import Repeats, clear_leftover, store_patiently
from nearedge.schemas import COMPLETED, CalculationDoc, SourceRef, StructureDoc
from nearedge.schemas.spectrum import site_spectrum_id
from nearedge.settings import Settings, get_settings
from nearedge.store.claims import Claims
from nearedge.store.connection import connect
from nearedge.store.records import Record
from nearedge.store.spectra_store import SpectraStore
from nearedge.structures.absorbers import unique_absorbers
from nearedge.structures.checks import check_structure


class SiteOutcome(BaseModel):
    """What a site's job returns: where its documents are, and how it ended.

    Plain numbers and strings, so that it can be stored whatever the code gave.
    """

    model_config = ConfigDict(extra="forbid")

    calculation_id: str
    spectrum_id: str | None
    absorbing_index: int
    multiplicity: int
    state: str

    @property
    def completed(self) -> bool:
        """Whether the site has a spectrum."""
        return self.state == COMPLETED


@dataclass
class SimulationMaker(Maker):
    """Compute the spectrum of one absorbing site, unless it is known.

    Parameters
    ----------
    name
        The job's name.
    code
        The simulation code; see `nearedge.codes.code_names`.
    edge
        Absorption edge: ``K``, ``L1``, ``L2`` or ``L3``.
    protocol
        Named parameter set of the code, such as ``fast`` or ``fast@1``.
    project
        Name that the documents are filed under, besides those they have.
    rerun_failed
        Compute again what is known to have failed by name, for example after a longer
        ``stage_timeout``.
    patience
        Seconds to keep trying to store a finished result while the database is away.
    """

    name: str = "simulation"
    code: str = "feff"
    edge: str = "K"
    protocol: str = "fast"
    project: str | None = None
    rerun_failed: bool = False
    patience: float = 600.0

    @job(output_schema=SiteOutcome)
    def make(
        self,
        structure: Structure,
        absorbing_index: int,
        source: SourceRef | None = None,
        instead_of: str | None = None,
    ) -> SiteOutcome:
        """Return the outcome for one site; as a job, when called on a maker.

        A failure that has a name is recorded and returned, so that the crystal's other sites and
        its average go on.

        Parameters
        ----------
        structure
            An ordered structure.
        absorbing_index
            Index of the absorbing site in it.
        source
            Where the structure came from.
        instead_of
            The failed calculation that this one repeats with other parameters, for its provenance.

        Raises
        ------
        StructureError
            If no code could use the structure.
        ResourceError
            If the machine is at fault: run the job again.
        DatabaseUnavailable
            If the database is away, or stays away for longer than `patience` after the run.
        LaunchError
            If a worker would lose the outcome.
        LaunchGivenUp
            If the job was put back and is another launch's by now; nothing was stored.
        """
        refuse_lost_outcome()
        settings = get_settings()
        site = self._site(structure, absorbing_index, source)
        return self.outcome_of(site, settings, instead_of)

    def outcome_of(
        self,
        site: Site,
        settings: Settings,
        instead_of: str | None = None,
        repeats: Repeats | None = None,
    ) -> SiteOutcome:
        """Return the outcome for a site, whoever computes it; see `make`.

        Parameters
        ----------
        repeats
            Which recorded calculations are computed again; default: as `rerun_failed` says.
        """
        repeats = repeats or self._repeats
        while (outcome := self._once(site, settings, instead_of, repeats)) is None:
            pass
        return outcome

    def _repeats(self, found: CalculationDoc) -> bool:
        return self.rerun_failed and not found.completed

    def _once(
        self, site: Site, settings: Settings, instead_of: str | None, repeats: Repeats
    ) -> SiteOutcome | None:
        """Return what is known of the site, or compute and store it.

        None where another attempt has stored something meanwhile, or is about to.
        """
        database = connect(settings)
        if known := self._known(SpectraStore(database), site, repeats, settings):
            return known
        with Claims(database).hold(site.calculation_id) as claim:
            # Whoever held the claim before us may have finished it.
            if known := self._known(SpectraStore(database), site, repeats, settings):
                return known
            seen = SpectraStore(database).calculation(site.calculation_id)
            record = attempt(site, seen, settings, self.project, claim.progress)
            if instead_of is not None:
                name_parent(record, instead_of)
            save_leftover(settings.runs / site.calculation_id, record)
            refused = store_patiently(
                [record],
                {} if seen is None else {site.calculation_id: seen},
                claim,
                settings,
                project=self.project,
                patience=self.patience,
                repeats=repeats,
            )
        return None if refused else outcome_of_site(site, record.calculation)

    def _site(self, structure: Structure, absorbing_index: int, source: SourceRef | None) -> Site:
        formula = structure.composition.reduced_formula
        source = source or SourceRef(kind="object", label=formula)
        check_structure(structure, label=source.label)
        if not 0 <= absorbing_index < len(structure):
            raise StructureError(
                f"{source.label} has no site {absorbing_index}: its sites are 0 to "
                f"{len(structure) - 1}."
            )
        return describe_site(
            get_code(self.code),
            StructureDoc.from_structure(structure, source),
            absorbing_index,
            multiplicity_of(structure, absorbing_index),
            edge=self.edge,
            protocol=self.protocol,
        )

    def _known(
        self, store: SpectraStore, site: Site, repeats: Repeats, settings: Settings
    ) -> SiteOutcome | None:
        """Return the outcome of a recorded calculation, after filing it under the project."""
        calculation = store.calculation(site.calculation_id)
        if calculation is None or repeats(calculation):
            return None
        clear_leftover(site.calculation_id, settings)
        if self.project is not None and self.project not in calculation.projects:
            store.add_project([site.calculation_id], self.project)
        return outcome_of_site(site, calculation)


def multiplicity_of(structure: Structure, index: int) -> int:
    """Return how many sites of the cell are equivalent to site `index`, itself included."""
    for absorber in unique_absorbers(structure, structure[index].specie.symbol):
        if index in absorber.equivalent:
            return absorber.multiplicity
    raise AssertionError("every site of an element is in one of its orbits")


def name_parent(record: Record, failed: str) -> None:
    """Note which failed calculation a record repeats with other parameters."""
    if failed not in record.calculation.parents:
        record.calculation.parents.append(failed)


def outcome_of_site(site: Site, calculation: CalculationDoc) -> SiteOutcome:
    """Return what a site's job returns whose calculation is recorded."""
    return SiteOutcome(
        calculation_id=site.calculation_id,
        spectrum_id=site_spectrum_id(site.calculation_id) if calculation.completed else None,
        absorbing_index=site.absorbing_index,
        multiplicity=site.multiplicity,
        state=calculation.state,
    )


def refuse_lost_outcome() -> None:
    """Raise if this job runs under FireWorks and its output would end with the worker."""
    current = CURRENT_JOB.job
    if current is not None and "fw_id" in current.metadata:
        refuse_memory_store(jobflow.SETTINGS.JOB_STORE)
