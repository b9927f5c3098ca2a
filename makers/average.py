"""The spectrum of a crystal: the weighted average over its symmetry-unique absorbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jobflow.core.job import job
from jobflow.core.maker import Maker
from pydantic import BaseModel, ConfigDict

from nearedge.errors import SpectrumError
from nearedge.makers.simulation import SiteOutcome
from nearedge.schemas import COMPLETED, SpectrumDoc, SpectrumKind
from nearedge.schemas.document import content_hash
from nearedge.schemas.spectrum import (
    Broadening,
    Contribution,
    EnergyReference,
    average_spectrum_id,
    site_spectrum_id,
)
from nearedge.settings import get_settings
from nearedge.spectra.alignment import shifted
from nearedge.spectra.averaging import weighted_average
from nearedge.spectra.spectrum import Spectrum
from nearedge.store.connection import connect
from nearedge.store.queries import CalculationQuery, SpectrumQuery
from nearedge.store.spectra_store import SpectraStore

MISSING = "missing"
"""State of a site that nothing is recorded of yet."""

LARGEST_SHIFT = 15.0
"""eV between sites of a crystal; more means that their cells are not of one size."""
_NO_COMMON_ZERO = (
    "The sites' spectra count from energies that the code does not relate to each other; they are "
    "averaged as they are."
)
_CELLS_DIFFER = (
    "The sites were computed in cells of different sizes, whose energies do not relate their "
    "zeros to each other; their spectra are averaged as they are."
)

NO_SITE_COMPLETED = "no_site_completed"
"""State of an average that cannot be made."""


class SiteShare(BaseModel):
    """A symmetry-unique absorber and how many sites of the cell it stands for."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    calculation_id: str
    parameters_id: str
    absorbing_index: int
    multiplicity: int


class AverageOutcome(BaseModel):
    """What an average's job returns.

    Parameters
    ----------
    spectrum_id
        The average's, or None where no site completed.
    state
        ``completed``, ``incomplete`` (some absorbers are missing) or ``no_site_completed``.
    covered
        Fraction of the absorbers that the average covers.
    """

    model_config = ConfigDict(extra="forbid")

    spectrum_id: str | None
    state: str
    covered: float


@dataclass
class AverageMaker(Maker):
    """Average the sites of a crystal that are there, and say which fraction that is.

    Parameters
    ----------
    name
        The job's name.
    project
        Name that the average is filed under, besides those it has.
    """

    name: str = "average"
    project: str | None = None

    @job(output_schema=AverageOutcome)
    def make(
        self, sites: list[SiteShare], outcomes: list[SiteOutcome | None] | None = None
    ) -> AverageOutcome:
        """Return where the average is; as a job, when called on a maker.

        Parameters
        ----------
        sites
            All symmetry-unique absorbers of the crystal.
        outcomes
            The sites' outcomes. They make this job wait for the sites' jobs; what counts is what
            the store holds, so that a site computed elsewhere, or later, is covered as well.
        """
        return average_sites(SpectraStore(connect(get_settings())), sites, self.project)


def average_sites(
    store: SpectraStore, sites: Sequence[SiteShare], project: str | None = None
) -> AverageOutcome:
    """Make and store the average over `sites` from what the store holds.

    Repeating it is harmless. Should a site be recorded while this runs, the average is made again,
    so that of two jobs that average at once the later one never leaves the lesser result.
    """
    ids = [site.calculation_id for site in sites]
    completed = store.completed(ids)
    while True:
        outcome = _average_of(store, sites, completed, project)
        later = store.completed(ids)
        if later == completed:
            return outcome
        completed = later


def _average_of(
    store: SpectraStore, sites: Sequence[SiteShare], completed: set[str], project: str | None
) -> AverageOutcome:
    if not completed:
        return AverageOutcome(spectrum_id=None, state=NO_SITE_COMPLETED, covered=0.0)
    query = SpectrumQuery(spectrum_ids=[site_spectrum_id(each) for each in sorted(completed)])
    spectra = {spectrum.calculation_ids[0]: spectrum for spectrum in store.spectra(query)}
    average = average_document(sites, spectra, _states(store, sites), project)
    store.put_average(average)
    return AverageOutcome(
        spectrum_id=average.spectrum_id, state=average.state, covered=average.covered
    )


def average_document(
    sites: Sequence[SiteShare],
    spectra: Mapping[str, SpectrumDoc],
    states: Mapping[str, str],
    project: str | None = None,
) -> SpectrumDoc:
    """Return the average over the sites that have a spectrum.

    Weights are multiplicities divided by the number of absorbers covered, so that they sum to one
    however many sites are missing; `covered` says how many are not.

    Parameters
    ----------
    sites
        All symmetry-unique absorbers of the crystal.
    spectra
        Site spectra by calculation id; at least one.
    states
        States of calculations by id; those not listed are missing.
    project
        Name that the average is filed under.

    Raises
    ------
    SpectrumError
        If none of the sites has a spectrum, or the spectra are not comparable.
    """
    present = [site for site in sites if site.calculation_id in spectra]
    if not present:
        raise SpectrumError("No site of the crystal has a spectrum: there is nothing to average.")
    documents = [spectra[site.calculation_id] for site in present]
    absorbers = sum(site.multiplicity for site in present)
    weights = [site.multiplicity / absorbers for site in present]
    covered = absorbers / sum(site.multiplicity for site in sites)
    spectra_of_sites, doubts = _on_one_zero(documents, weights)
    averaged = weighted_average(spectra_of_sites, weights)
    first = documents[0]
    return SpectrumDoc(
        spectrum_id=average_id(sites, first.structure_key, first.absorber, first.edge),
        kind=SpectrumKind.AVERAGE,
        structure_key=first.structure_key,
        structure_id=first.structure_id,
        formula=first.formula,
        elements=first.elements,
        absorber=first.absorber,
        edge=first.edge,
        code=first.code,
        code_version=first.code_version,
        protocol=first.protocol,
        parameters_id=common_parameters(sites),
        contributions=_contributions(sites, spectra, states),
        covered=covered,
        state="completed" if len(present) == len(sites) else "incomplete",
        calculation_ids=[site.calculation_id for site in present],
        energy=averaged.energy.tolist(),
        absorption=averaged.absorption.tolist(),
        unit=averaged.unit,
        normalization=averaged.normalization,
        energy_reference=_mean_reference(documents, weights),
        broadening=_without_repetition([b for each in documents for b in each.broadening]),
        warnings=list(
            dict.fromkeys([*(text for each in documents for text in each.warnings), *doubts])
        ),
        projects=[] if project is None else [project],
    )


def _on_one_zero(
    documents: Sequence[SpectrumDoc], weights: Sequence[float]
) -> tuple[list[Spectrum], list[str]]:
    """Return the sites' spectra on axes that count from the same energy, and what is doubtful.

    Codes with a core hole in a cell count from that cell's Fermi level, which differs from site to
    site, and so does the core level. An electron lifted from the core to the axis's zero costs the
    `cell_energy`, less the energy of the cell without a hole, which all sites share. The average
    counts from the weighted mean of the sites' zeros.
    """
    spectra = [document.to_spectrum() for document in documents]
    references = [document.energy_reference for document in documents]
    if len(documents) == 1 or any(each.kind == "absolute" for each in references):
        return spectra, []
    zeros = [each.cell_energy for each in references if each.cell_energy is not None]
    if len(zeros) < len(spectra):
        return spectra, [_NO_COMMON_ZERO]
    if max(zeros) - min(zeros) > LARGEST_SHIFT:
        return spectra, [_CELLS_DIFFER]
    mean = sum(weight * zero for weight, zero in zip(weights, zeros, strict=True))
    return [shifted(each, zero - mean) for each, zero in zip(spectra, zeros, strict=True)], []


def _contributions(
    sites: Sequence[SiteShare], spectra: Mapping[str, SpectrumDoc], states: Mapping[str, str]
) -> list[Contribution]:
    absorbers = sum(site.multiplicity for site in sites if site.calculation_id in spectra)
    return [
        Contribution(
            calculation_id=site.calculation_id,
            absorbing_index=site.absorbing_index,
            multiplicity=site.multiplicity,
            weight=site.multiplicity / absorbers if site.calculation_id in spectra else 0.0,
            state=COMPLETED
            if site.calculation_id in spectra
            else states.get(site.calculation_id, MISSING),
        )
        for site in sites
    ]


def average_id(sites: Sequence[SiteShare], structure_key: str, absorber: str, edge: str) -> str:
    """Return the id of the average over `sites`, the same before and after sites complete."""
    return average_spectrum_id(structure_key, absorber, edge, common_parameters(sites))


def common_parameters(sites: Sequence[SiteShare]) -> str:
    """Return the `parameters_id` that all sites have, or one id of the set of theirs."""
    different = sorted({site.parameters_id for site in sites})
    return different[0] if len(different) == 1 else content_hash(["parameters", different])


def _states(store: SpectraStore, sites: Sequence[SiteShare]) -> dict[str, str]:
    query = CalculationQuery(calculation_ids=[site.calculation_id for site in sites])
    return {each.calculation_id: each.state for each in store.calculations(query)}


def _mean_reference(documents: Sequence[SpectrumDoc], weights: Sequence[float]) -> EnergyReference:
    """Return the weighted mean of the sites' edges and Fermi levels, where all state one."""

    def mean(values: list[float | None]) -> float | None:
        stated = [value for value in values if value is not None]
        if len(stated) < len(values):
            return None
        return sum(weight * value for weight, value in zip(weights, stated, strict=True))

    references = [document.energy_reference for document in documents]
    return EnergyReference(
        kind=references[0].kind,
        cell_energy=mean([reference.cell_energy for reference in references]),
        edge_energy=mean([reference.edge_energy for reference in references]),
        fermi_energy=mean([reference.fermi_energy for reference in references]),
    )


def _without_repetition(broadening: Sequence[Broadening]) -> list[Broadening]:
    return [each for number, each in enumerate(broadening) if each not in broadening[:number]]
