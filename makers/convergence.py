"""What a convergence has found so far, read from the calculations in the store.

Nothing is remembered between two looks: the steps that are recorded say which is the next, so a
convergence goes on wherever it was stopped, and one that is known costs nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from nearedge.codes import get_code
from nearedge.codes.protocols import Setting, load_protocol
from nearedge.errors import SpectrumError
from nearedge.makers.documents import Site, describe_site
from nearedge.makers.ladder import Change, Rung, Taken, next_rung, outcome
from nearedge.schemas import CalculationDoc, SpectrumDoc, StructureDoc
from nearedge.schemas.convergence import (
    ConvergenceDoc,
    ConvergenceStep,
    ParameterConvergence,
    RaisedParameter,
    StepComparison,
    Thresholds,
    convergence_id,
)
from nearedge.spectra.likeness import likeness
from nearedge.store.spectra_store import SpectraStore


@dataclass(frozen=True)
class Question:
    """What is to be converged.

    Parameters
    ----------
    structure, absorbing_index, multiplicity, edge
        The site; `multiplicity` counts the sites of the cell that are equivalent to it.
    code, protocol
        The code, and the protocol that everything else is left at.
    parameters
        What is raised, in order.
    thresholds
        When two successive spectra agree.
    window
        Width in eV of what is compared, from the onset.
    """

    structure: StructureDoc
    absorbing_index: int
    multiplicity: int
    edge: str
    code: str
    protocol: str
    parameters: Sequence[RaisedParameter]
    thresholds: Thresholds
    window: float = 35.0

    @cached_property
    def start(self) -> Site:
        """The calculation with the protocol as it is."""
        return self.site()

    @cached_property
    def convergence_id(self) -> str:
        """The id of the document."""
        return convergence_id(
            self.structure.structure_key,
            self.start.absorber,
            self.absorbing_index,
            self.edge,
            self.code,
            self.start.inputs.code_version,
            self.start.inputs.protocol,
            list(self.parameters),
            self.thresholds,
            self.window,
        )

    def site(self, changes: dict[str, Setting] | None = None) -> Site:
        """Return the calculation with these settings in place of the protocol's.

        Raises
        ------
        InputRefused
            If the protocol has no such setting.
        """
        protocol = load_protocol(self.code, self.protocol).changed(changes or {})
        return describe_site(
            get_code(self.code),
            self.structure,
            self.absorbing_index,
            self.multiplicity,
            edge=self.edge,
            protocol=protocol.label,
        )


@dataclass(frozen=True)
class Pending:
    """The step to take next."""

    rung: Rung
    site: Site

    @property
    def protocol(self) -> str:
        """The protocol with the step's settings."""
        return self.site.inputs.protocol

    @property
    def label(self) -> str:
        """What a person calls it: the site and the value."""
        return f"{self.site.label} {self.rung.parameter}={self.rung.value}"


@dataclass(frozen=True)
class SoFar:
    """The document as it stands, and the step to take next; None when all is said."""

    document: ConvergenceDoc
    pending: Pending | None


@dataclass
class _Look:
    """Steps as they are read, with what the next one is compared with."""

    store: SpectraStore
    question: Question
    steps: dict[str, list[ConvergenceStep]] = field(default_factory=dict)
    taken: list[Taken] = field(default_factory=list)
    before: dict[str, tuple[ConvergenceStep, SpectrumDoc]] = field(default_factory=dict)

    def add(self, rung: Rung, site: Site, calculation: CalculationDoc) -> None:
        """Add a step that was taken."""
        failure = calculation.failure
        step = ConvergenceStep(
            value=rung.value,
            protocol=site.inputs.protocol,
            calculation_id=site.calculation_id,
            state=calculation.state,
            message="" if failure is None else failure.message,
            cpu_seconds=calculation.cpu_seconds,
        )
        change = Change.FAILED
        spectrum = self.store.site_spectrum(site.calculation_id)
        if spectrum is not None:
            step.spectrum_id = spectrum.spectrum_id
            step.edge_energy = spectrum.energy_reference.edge_energy
            step.fermi_energy = spectrum.energy_reference.fermi_energy
            change = self._compare(rung.parameter, step, spectrum)
            self.before[rung.parameter] = (step, spectrum)
        self.steps.setdefault(rung.parameter, []).append(step)
        self.taken.append(Taken(rung.parameter, rung.value, change))

    def _compare(self, parameter: str, step: ConvergenceStep, spectrum: SpectrumDoc) -> Change:
        if parameter not in self.before:
            return Change.FIRST
        earlier, other = self.before[parameter]
        thresholds = self.question.thresholds
        try:
            found = likeness(
                spectrum.to_spectrum(), other.to_spectrum(), window=self.question.window
            )
        except SpectrumError as error:
            step.message = str(error)
            return Change.LARGE
        agrees = found.within(spearman=thresholds.spearman, mse=thresholds.mse)
        step.comparison = StepComparison(
            with_value=earlier.value,
            spearman=found.spearman,
            pearson=found.pearson,
            mse=found.mse,
            shift=found.shift,
            edge_change=_difference(step.edge_energy, earlier.edge_energy),
            fermi_change=_difference(step.fermi_energy, earlier.fermi_energy),
            agrees=agrees,
            identical=found.identical,
        )
        if found.identical:
            return Change.NONE
        return Change.SMALL if agrees else Change.LARGE


def so_far(
    store: SpectraStore,
    question: Question,
    *,
    project: str | None = None,
    retry: Collection[str] = (),
) -> SoFar:
    """Return what the store knows of a convergence, and what is to be computed next.

    Parameters
    ----------
    project
        Name that the document is filed under.
    retry
        Calculations that failed by name and are to be computed again.
    """
    look = _Look(store, question)
    pending = None
    while (rung := next_rung(question.parameters, look.taken)) is not None:
        site = question.site(dict(rung.changes))
        calculation = store.calculation(site.calculation_id)
        if calculation is None or (not calculation.completed and site.calculation_id in retry):
            pending = Pending(rung, site)
            break
        look.add(rung, site, calculation)
    return SoFar(_document(look, finished=pending is None, project=project), pending)


def _document(look: _Look, *, finished: bool, project: str | None) -> ConvergenceDoc:
    question, structure = look.question, look.question.structure
    start = question.start
    parameters = []
    for each in question.parameters:
        found = outcome(each, look.taken)
        parameters.append(
            ParameterConvergence(
                name=each.name,
                unit=each.unit,
                values=each.values,
                verdict=found.verdict,
                chosen=found.chosen,
                steps=look.steps.get(each.name, []),
            )
        )
    seconds = {
        step.calculation_id: step.cpu_seconds or 0.0
        for steps in look.steps.values()
        for step in steps
    }
    return ConvergenceDoc(
        convergence_id=question.convergence_id,
        structure_key=structure.structure_key,
        structure_id=structure.structure_id,
        formula=structure.formula,
        elements=structure.elements,
        label=structure.source.label,
        absorber=start.absorber,
        absorbing_index=question.absorbing_index,
        edge=question.edge,
        code=question.code,
        code_version=start.inputs.code_version,
        protocol=start.inputs.protocol,
        thresholds=question.thresholds,
        window=question.window,
        parameters=parameters,
        state="finished" if finished else "running",
        cpu_seconds=sum(seconds.values()),
        projects=[] if project is None else [project],
    )


def _difference(later: float | None, earlier: float | None) -> float | None:
    return None if later is None or earlier is None else later - earlier
