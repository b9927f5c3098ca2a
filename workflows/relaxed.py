"""What is done with structures once they are relaxed: flows that are made of the results."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from jobflow.core.flow import Flow
from jobflow.core.maker import Maker
from monty.json import jsanitize

from nearedge.errors import StructureError
from nearedge.makers.convergence import so_far
from nearedge.schemas.benchmark import ReferenceSpectrum
from nearedge.store.connection import connect
from nearedge.store.spectra_store import SpectraStore
from nearedge.structures.source import LoadedStructure, Refusal
from nearedge.workflows.benchmark import BenchmarkFlowMaker, code_columns, plan_benchmark
from nearedge.workflows.converge import ConvergeFlowMaker, failed_steps
from nearedge.workflows.spectrum import Crystal, SpectrumFlowMaker, flow_of, plan_crystals


@dataclass
class SpectraOfRelaxed(Maker):
    """The spectra of relaxed structures, by one code or several.

    Parameters
    ----------
    name
        The flow's name.
    absorber, edge
        Absorbing element and edge.
    spectrum_makers
        One for each code.
    """

    name: str = "spectra of relaxed"
    absorber: str = ""
    edge: str = "K"
    spectrum_makers: list[SpectrumFlowMaker] = field(default_factory=list)

    def make(self, structures: Mapping[str, LoadedStructure]) -> Flow:
        """Return the flow; absorbers are listed as the relaxed structure has them.

        Raises
        ------
        StructureError
            If a code computes nothing of any of them.
        """
        planned = [
            each
            for loaded in structures.values()
            for each in plan_crystals(loaded, self.spectrum_makers, self.absorber, self.edge)
        ]
        crystals = [each for each in planned if isinstance(each, Crystal)]
        if not crystals:
            reasons = [each.reason for each in planned if isinstance(each, Refusal)]
            raise StructureError(f"Nothing can be computed of what was relaxed: {reasons[0]}")
        flows = [flow_of(each.maker, each.sites, each.sites) for each in crystals]
        return Flow(list(flows), name=self.name)


@dataclass
class ConvergenceOfRelaxed(Maker):
    """The convergence of a code on a site of a relaxed structure.

    Parameters
    ----------
    name
        The flow's name.
    converge_flow_maker
        What is converged.
    absorbing_index
        The site; relaxing leaves the sites in their order.
    retry
        Calculations that failed by name and are to be computed again.
    rerun_failed
        The same for all steps of the relaxed structure that are known to have failed.
    """

    name: str = "convergence of relaxed"
    converge_flow_maker: ConvergeFlowMaker = field(default_factory=ConvergeFlowMaker)
    absorbing_index: int = 0
    retry: list[str] = field(default_factory=list)
    rerun_failed: bool = False

    def make(self, structures: Mapping[str, LoadedStructure]) -> Flow:
        """Return the flow."""
        flows = [
            self.converge_flow_maker.make(each, self.absorbing_index, self._retry(each))
            for each in structures.values()
        ]
        return Flow(list(flows), name=self.name)

    def _retry(self, relaxed: LoadedStructure) -> list[str]:
        """Return what is computed again; which steps failed is known once it is relaxed."""
        if not self.rerun_failed:
            return self.retry
        maker = self.converge_flow_maker.converge_maker
        question = maker.question(relaxed.structure, self.absorbing_index, relaxed.source)
        found = so_far(SpectraStore(connect()), question)
        return [*self.retry, *failed_steps(found.document)]


@dataclass
class BenchmarkOfRelaxed(Maker):
    """Relaxed structures by several codes, then the comparison.

    Parameters
    ----------
    name
        The flow's name.
    labels
        What each structure is called, by its `structure_key` before it was relaxed.
    codes
        Code and protocol of each column.
    absorber, edge, references, window, broadening, project
        As in `plan_benchmark`.
    """

    name: str = "benchmark of relaxed"
    labels: dict[str, str] = field(default_factory=dict)
    codes: list[list[str]] = field(default_factory=list)
    absorber: str = ""
    edge: str = "K"
    references: list[ReferenceSpectrum] = field(default_factory=list)
    window: float = 35.0
    broadening: str | None = None
    project: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the maker with references as dictionaries: FireWorks would store them as text."""
        sanitized: dict[str, Any] = jsanitize(super().as_dict(), strict=True, enum_values=True)
        return sanitized

    def make(self, structures: Mapping[str, LoadedStructure]) -> Flow:
        """Return the flow; what could not be relaxed is left out, with its references."""
        named = [(self.labels[origin], each) for origin, each in structures.items()]
        there = {label for label, _ in named}
        plan = plan_benchmark(
            named,
            code_columns([(code, protocol) for code, protocol in self.codes]),
            absorber=self.absorber,
            edge=self.edge,
            references=[each for each in self.references if each.structure in there],
            window=self.window,
            broadening=self.broadening,
            project=self.project,
        )
        return BenchmarkFlowMaker().make(plan, named)
