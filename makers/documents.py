"""From a site and what a code made of it to the documents of the store.

Runs and ingested calculations come through here alike, so that equal calculations get equal
documents whoever computed them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from pymatgen.core.structure import Structure

from nearedge.codes.base import Code, CodeResult, InputSet
from nearedge.codes.finished.sidecar import sidecar_text
from nearedge.errors import CodeError, InputRefused
from nearedge.schemas import (
    COMPLETED,
    CalculationDoc,
    Failure,
    Parameter,
    SpectrumDoc,
    SpectrumKind,
    StructureDoc,
)
from nearedge.schemas.calculation import calculation_id, parameters_id
from nearedge.schemas.spectrum import site_spectrum_id
from nearedge.store.packing import held_files
from nearedge.store.records import Record


@dataclass(frozen=True)
class Site:
    """One absorbing site with everything that identifies a calculation on it.

    Parameters
    ----------
    structure
        The exact structure, described.
    absorber, absorbing_index
        Element and index of the site.
    multiplicity
        How many sites of the cell are equivalent to it, itself included.
    edge
        Absorption edge, such as ``K``.
    inputs
        What the code reads; without files where the code refused to make them.
    parameters_id
        One value for the code and its physical parameters; see `parameters_id_of`.
    refusal
        Why the code refused, or None.
    """

    structure: StructureDoc
    absorber: str
    absorbing_index: int
    multiplicity: int
    edge: str
    inputs: InputSet
    parameters_id: str
    refusal: InputRefused | None = None

    @cached_property
    def calculation_id(self) -> str:
        """The id of the calculation on this site."""
        return calculation_id(
            self.structure.structure_key,
            self.absorber,
            self.absorbing_index,
            self.edge,
            self.parameters_id,
        )

    @property
    def label(self) -> str:
        """What a person calls it: material, element, index and edge."""
        return f"{self.structure.source.label} {self.absorber}{self.absorbing_index} {self.edge}"

    def sidecar(self, *, ran: bool) -> str:
        """Return the text of the `nearedge.json` that lies beside the input files."""
        return sidecar_text(
            self.inputs,
            self.structure.to_structure(),
            self.absorbing_index,
            self.edge,
            label=self.structure.source.label,
            ran=ran,
        )


@dataclass(frozen=True)
class Cost:
    """What the programs of a run cost that gave no result."""

    wall_seconds: float
    cpu_seconds: float


def describe_site(
    code: Code,
    structure: StructureDoc,
    absorbing_index: int,
    multiplicity: int,
    *,
    edge: str,
    protocol: str,
) -> Site:
    """Make the input set of a site, and with it the calculation's id; see `describe_sites`."""
    wanted = {absorbing_index: multiplicity}
    (site,) = describe_sites(code, structure, wanted, edge=edge, protocol=protocol)
    return site


def describe_sites(
    code: Code,
    structure: StructureDoc,
    multiplicities: Mapping[int, int],
    *,
    edge: str,
    protocol: str,
) -> list[Site]:
    """Make the input sets of a crystal's sites, and with them the calculations' ids.

    A site that the code refuses is described too: its calculation is recorded as failed by the
    refusal's name.

    Parameters
    ----------
    multiplicities
        How many sites of the cell are equivalent to each that is wanted, by its index.
    """
    exact = structure.to_structure()
    sites = []
    for index, multiplicity in multiplicities.items():
        inputs, refusal = _inputs_or_refusal(code, exact, index, edge, protocol)
        sites.append(
            Site(
                structure=structure,
                absorber=exact[index].specie.symbol,
                absorbing_index=index,
                multiplicity=multiplicity,
                edge=edge,
                inputs=inputs,
                parameters_id=parameters_id_of(inputs),
                refusal=refusal,
            )
        )
    return sites


def _inputs_or_refusal(
    code: Code, exact: Structure, index: int, edge: str, protocol: str
) -> tuple[InputSet, InputRefused | None]:
    try:
        return code.inputs(exact, index, edge, protocol), None
    except InputRefused as error:
        # Without input there are no parameters; the protocol's name tells one refusal from another.
        inputs = InputSet(
            code=code.name,
            code_version=code.version(),
            protocol=protocol,
            files={},
            parameters={"protocol": Parameter(value=protocol)},
        )
        return inputs, error


def parameters_id_of(inputs: InputSet) -> str:
    """Return one value for all input sets that differ in structure, absorber and edge only."""
    return parameters_id(inputs.code, inputs.code_version, inputs.parameters)


def completed_record(
    site: Site,
    result: CodeResult,
    *,
    project: str | None = None,
    origin: str = "run",
    host: str | None = None,
    run_dir: str | None = None,
    parents: Sequence[str] = (),
) -> Record:
    """Return the documents of a calculation that gave a spectrum.

    `parents` are the calculations that it was made from, without their expensive part, or that it
    repeats with other parameters.
    """
    calculation = _calculation(site, COMPLETED, project=project, origin=origin, host=host)
    calculation.results = result.results
    calculation.warnings = list(result.warnings)
    calculation.attempts = result.attempts
    calculation.wall_seconds = result.wall_seconds
    calculation.cpu_seconds = result.cpu_seconds
    calculation.run_dir = run_dir
    calculation.parents = list(parents)
    if site.inputs.restart_key is not None:
        calculation.restart_key = site.inputs.restart_key
        calculation.restart = held_files(result.restart)
    return Record(calculation, _site_spectrum(site, result, project), site.structure)


def failed_record(
    site: Site,
    error: CodeError,
    *,
    project: str | None = None,
    host: str | None = None,
    run_dir: str | None = None,
    cost: Cost | None = None,
) -> Record:
    """Return the documents of a calculation that failed by name."""
    calculation = _calculation(site, error.name, project=project, origin="run", host=host)
    if cost is not None:
        calculation.wall_seconds = cost.wall_seconds
        calculation.cpu_seconds = cost.cpu_seconds
    calculation.failure = Failure(name=error.name, message=error.message, log_tail=error.log_tail)
    calculation.run_dir = run_dir
    return Record(calculation, None, site.structure)


def _calculation(
    site: Site, state: str, *, project: str | None, origin: str, host: str | None
) -> CalculationDoc:
    return CalculationDoc(
        calculation_id=site.calculation_id,
        structure_key=site.structure.structure_key,
        structure_id=site.structure.structure_id,
        formula=site.structure.formula,
        elements=site.structure.elements,
        absorber=site.absorber,
        absorbing_index=site.absorbing_index,
        edge=site.edge,
        code=site.inputs.code,
        code_version=site.inputs.code_version,
        protocol=site.inputs.protocol,
        parameters_id=site.parameters_id,
        parameters=site.inputs.parameters,
        state=state,
        inputs=dict(site.inputs.files),
        host=host,
        origin=origin,
        projects=_projects(project),
    )


def _site_spectrum(site: Site, result: CodeResult, project: str | None) -> SpectrumDoc:
    spectrum = result.spectrum
    return SpectrumDoc(
        spectrum_id=site_spectrum_id(site.calculation_id),
        kind=SpectrumKind.SITE,
        structure_key=site.structure.structure_key,
        structure_id=site.structure.structure_id,
        formula=site.structure.formula,
        elements=site.structure.elements,
        absorber=site.absorber,
        edge=site.edge,
        code=site.inputs.code,
        code_version=site.inputs.code_version,
        protocol=site.inputs.protocol,
        parameters_id=site.parameters_id,
        absorbing_index=site.absorbing_index,
        multiplicity=site.multiplicity,
        calculation_ids=[site.calculation_id],
        energy=spectrum.energy.tolist(),
        absorption=spectrum.absorption.tolist(),
        unit=spectrum.unit,
        normalization=spectrum.normalization,
        energy_reference=result.energy_reference,
        broadening=list(result.broadening),
        warnings=list(result.warnings),
        projects=_projects(project),
    )


def _projects(project: str | None) -> list[str]:
    return [] if project is None else [project]
