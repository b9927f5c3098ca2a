"""The maker that every simulation code shares: one absorbing site, one job."""

from __future__ import annotations

import logging
import shutil
import socket
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import jobflow
from jobflow.core.job import job
from jobflow.core.maker import Maker
from jobflow.core.state import CURRENT_JOB
from pydantic import BaseModel, ConfigDict
from pymatgen.core.structure import Structure

from nearedge.codes import Code, get_code
from nearedge.codes.base import CodeResult
from nearedge.codes.execution.process import cpu_seconds_so_far
from nearedge.codes.finished.sidecar import SIDECAR, sidecar_text
from nearedge.codes.outputs import speaks_of_damage
from nearedge.errors import (
    CodeError,
    DatabaseError,
    DatabaseUnavailable,
    ResourceError,
    ResultRefused,
    StructureError,
)
from nearedge.launch.fireworks import refuse_memory_store
from nearedge.makers.documents import (
    Cost,
    Site,
    completed_record,
    describe_site,
    failed_record,
)
from nearedge.makers.leftover import load_leftover, remove_leftover, save_leftover
from nearedge.makers.storing import store_patiently
from nearedge.schemas import COMPLETED, CalculationDoc, SourceRef, StructureDoc
from nearedge.schemas.spectrum import site_spectrum_id
from nearedge.settings import Settings, get_settings
from nearedge.store.claims import Claims
from nearedge.store.connection import connect
from nearedge.store.records import Record, Restart
from nearedge.store.spectra_store import SpectraStore
from nearedge.structures.absorbers import unique_absorbers
from nearedge.structures.checks import check_structure

log = logging.getLogger(__name__)


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
        self, site: Site, settings: Settings, instead_of: str | None = None
    ) -> SiteOutcome:
        """Return the outcome for a site, whoever computes it; see `make`."""
        while True:
            try:
                return self._once(site, settings, instead_of)
            except ResultRefused as refused:
                log.warning("%s", refused)

    def _once(self, site: Site, settings: Settings, instead_of: str | None) -> SiteOutcome:
        """Return what is known of the site, or compute and store it.

        Raises
        ------
        ResultRefused
            If another attempt has stored something meanwhile, or is about to.
        """
        database = connect(settings)
        if known := self._known(SpectraStore(database), site):
            return known
        with Claims(database).hold(site.calculation_id) as claim:
            # Whoever held the claim before us may have finished it.
            if known := self._known(SpectraStore(database), site):
                return known
            seen = SpectraStore(database).calculation(site.calculation_id)
            record = self.attempt(SpectraStore(database), site, settings, claim.progress)
            if instead_of is not None and instead_of not in record.calculation.parents:
                record.calculation.parents.append(instead_of)
            save_leftover(settings.runs / site.calculation_id, record)
            store_patiently(record, seen, claim, settings, self.project, self.patience)
            clear_away(record, settings)
        return outcome_of_site(site, record.calculation)

    def attempt(
        self, store: SpectraStore, site: Site, settings: Settings, progress: Callable[[str], None]
    ) -> Record:
        """Return what an earlier attempt left on this machine's disk, or compute."""
        record = load_leftover(settings.runs / site.calculation_id, site.calculation_id)
        if record is None:
            restart, warnings = self._restart(store, site)
            record = self._run(site, settings, progress, restart, warnings)
        return record

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

    def _known(self, store: SpectraStore, site: Site) -> SiteOutcome | None:
        """Return the outcome of a recorded calculation, after filing it under the project."""
        calculation = store.calculation(site.calculation_id)
        if calculation is None or (self.rerun_failed and not calculation.completed):
            return None
        if self.project is not None and self.project not in calculation.projects:
            store.add_project([site.calculation_id], self.project)
        return outcome_of_site(site, calculation)

    def _restart(self, store: SpectraStore, site: Site) -> tuple[Restart | None, list[str]]:
        """Return what another calculation left for this one, if any, and what is to be known."""
        if site.inputs.restart_key is None or site.refusal is not None:
            return None, []
        try:
            left = store.restart(
                site.inputs.restart_key,
                structure_key=site.structure.structure_key,
                absorbing_index=site.absorbing_index,
                edge=site.edge,
                code=site.inputs.code,
                code_version=site.inputs.code_version,
            )
        except DatabaseUnavailable:
            raise
        except DatabaseError as error:
            warning = _in_full(str(error))
            log.warning("%s: %s", site.label, warning)
            return None, [warning]
        return left, []

    def _run(
        self,
        site: Site,
        settings: Settings,
        progress: Callable[[str], None],
        restart: Restart | None,
        warnings: list[str],
    ) -> Record:
        """Run the code in a fresh folder; a named failure gives a record like a result does."""
        host = socket.gethostname()
        spent = _Spent()
        if site.refusal is not None:
            return failed_record(site, site.refusal, project=self.project, host=host)
        # A folder of its own for each attempt: an earlier one may have left files behind.
        run_dir = settings.runs / site.calculation_id / uuid.uuid4().hex[:12]
        code = get_code(site.inputs.code)
        refuse_missing(code)
        kept = False
        try:
            result, parents = _computed(
                lambda files: code.run(
                    site.inputs,
                    run_dir,
                    stage_timeout=settings.stage_timeout,
                    progress=progress,
                    restart=files,
                ),
                run_dir,
                restart,
            )
            result = replace(result, warnings=[*result.warnings, *warnings])
            kept = settings.keep_runs
            return completed_record(
                site,
                result,
                project=self.project,
                host=host,
                run_dir=str(run_dir) if kept else None,
                parents=parents,
            )
        except CodeError as error:
            kept = True
            return failed_record(
                site,
                error,
                project=self.project,
                host=host,
                run_dir=str(run_dir),
                cost=spent.until_now(),
            )
        except OSError as error:
            raise ResourceError(f"{site.label} could not be run in {run_dir}: {error}.") from error
        finally:
            # Also after a full disk or a stop: files that nobody will read make neither better.
            if kept:
                _say_what_it_is(site, run_dir)
            else:
                shutil.rmtree(run_dir, ignore_errors=True)


class _Spent:
    """What the programs cost that this process starts from now on."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.monotonic(), cpu_seconds_so_far()

    def until_now(self) -> Cost:
        return Cost(time.monotonic() - self._wall, cpu_seconds_so_far() - self._cpu)


def _computed(
    run: Callable[[Mapping[str, bytes] | None], CodeResult],
    run_dir: Path,
    restart: Restart | None,
) -> tuple[CodeResult, list[str]]:
    """Return a code's result, and the ids of the calculations that it was made from.

    It is computed in full where there is none, or where what one left turns out to be damaged.
    """
    if restart is None:
        return run(None), []
    try:
        return run(restart.files), [restart.calculation_id]
    except CodeError as error:
        if not speaks_of_damage(error):
            raise
        warning = _in_full(f"that of {restart.calculation_id}: {error}")
    log.warning(warning)
    shutil.rmtree(run_dir, ignore_errors=True)
    result = run(None)
    return replace(result, warnings=[*result.warnings, warning]), []


def _in_full(why: str) -> str:
    why = why.removesuffix(".")
    return f"Computed in full, since what an earlier calculation left cannot be used ({why})."


def refuse_missing(code: Code) -> None:
    """Refuse to run a code here if what it starts is not there.

    Raises
    ------
    ResourceError
        Naming what is missing, and how to get it.
    """
    availability = code.availability()
    if not availability.found:
        raise ResourceError(
            f"{code.title} cannot run on {socket.gethostname()}: {availability.detail}; "
            f"{availability.remedy}."
        )


def _say_what_it_is(site: Site, run_dir: Path) -> None:
    """Put `nearedge.json` into a folder that is kept; without it, it is only harder to ingest."""
    text = sidecar_text(
        site.inputs,
        site.structure.to_structure(),
        site.absorbing_index,
        site.edge,
        label=site.structure.source.label,
        ran=True,
    )
    with suppress(OSError):
        (run_dir / SIDECAR).write_text(text, encoding="utf-8")


def multiplicity_of(structure: Structure, index: int) -> int:
    """Return how many sites of the cell are equivalent to site `index`, itself included."""
    for absorber in unique_absorbers(structure, structure[index].specie.symbol):
        if index in absorber.equivalent:
            return absorber.multiplicity
    raise AssertionError("every site of an element is in one of its orbits")


def clear_away(record: Record, settings: Settings) -> None:
    """Remove from this machine's disk what the database holds now."""
    folder = settings.runs / record.calculation.calculation_id
    remove_leftover(folder)
    if record.calculation.run_dir is None:
        shutil.rmtree(folder, ignore_errors=True)


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
