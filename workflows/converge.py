"""Converge a code on a site: one parameter at a time, one step at a time, no step twice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from jobflow.core.flow import Flow
from jobflow.core.maker import Maker

from nearedge.codes.convergence import load_convergence
from nearedge.codes.protocols import Setting
from nearedge.errors import StructureError
from nearedge.makers.converge import ConvergeMaker, describe_decision
from nearedge.makers.convergence import SoFar, so_far
from nearedge.schemas.convergence import ConvergenceDoc
from nearedge.settings import Settings, get_settings
from nearedge.store.connection import connect
from nearedge.store.convergences import ConvergenceStore
from nearedge.store.operations import MongoDatabase
from nearedge.store.spectra_store import SpectraStore
from nearedge.structures.absorbers import unique_absorbers
from nearedge.structures.checks import check_structure
from nearedge.structures.source import LoadedStructure
from nearedge.workflows.once import Submitted, submit_once
from nearedge.workflows.spectrum import SpectrumFlowMaker


@dataclass
class ConvergeFlowMaker(Maker):
    """Raise a code's parameters on one site until its spectrum stays as it is.

    The flow begins as a single decision; each decision detours to one calculation and to the next
    decision.

    Parameters
    ----------
    name
        The flow's name.
    converge_maker
        Decides, and computes the steps.
    """

    name: str = "converge"
    converge_maker: ConvergeMaker = field(default_factory=ConvergeMaker)

    @classmethod
    def for_code(
        cls,
        code: str,
        *,
        edge: str = "K",
        protocol: str = "balanced",
        names: Sequence[str] | None = None,
        values: Mapping[str, Sequence[Setting]] | None = None,
        project: str | None = None,
    ) -> ConvergeFlowMaker:
        """Return the maker for what a code lists in its ``convergence.yaml``.

        Parameters
        ----------
        code, edge
            Simulation code and absorption edge.
        protocol
            What is left alone has this protocol's values; its thresholds count.
        names
            Parameters to raise, in this order; None takes all that the code lists.
        values
            Other values than the listed ones, by parameter.
        project
            Name that all documents are filed under.

        Raises
        ------
        InputRefused
            If there is no such code, protocol or parameter.
        """
        site_maker = SpectrumFlowMaker.for_code(code, protocol=protocol, project=project).site_maker
        plan = load_convergence(code, protocol, names=names, values=values)
        return cls(
            converge_maker=ConvergeMaker(
                site_maker=replace(site_maker, edge=edge),
                parameters=plan.parameters,
                thresholds=plan.thresholds,
            )
        )

    def make(
        self, loaded: LoadedStructure, absorbing_index: int, retry: Sequence[str] = ()
    ) -> Flow:
        """Return the flow for one site.

        Parameters
        ----------
        loaded
            The structure and where it came from.
        absorbing_index
            Index of the absorbing site.
        retry
            Calculations that failed by name and are to be computed again.
        """
        decision = self.converge_maker.make(
            loaded.structure, absorbing_index, loaded.source, list(retry)
        )
        question = self.converge_maker.question(loaded.structure, absorbing_index, loaded.source)
        identifier = question.convergence_id
        describe_decision(decision, question, identifier, self.converge_maker.site_maker.project)
        return Flow([decision], name=f"{self.name} {loaded.source.label}")


@dataclass(frozen=True)
class ConvergenceSubmission:
    """What became of a request to converge.

    Parameters
    ----------
    document
        What is known now.
    state
        ``known``: everything, nothing will run; ``queued`` already; ``put_back`` into the queue
        after a step had fizzled; ``new`` in the queue.
    """

    document: ConvergenceDoc
    state: Literal["known"] | Submitted


def choose_site(loaded: LoadedStructure, absorber: str, site: int | None = None) -> int:
    """Return the site to converge on: the given one, or the first symmetry-unique absorber.

    Raises
    ------
    StructureError
        If the structure is refused, lacks the element, or has another one on the given site.
    """
    label = loaded.source.label
    check_structure(loaded.structure, absorber, label=label)
    if site is None:
        return unique_absorbers(loaded.structure, absorber)[0].index
    if not 0 <= site < len(loaded.structure):
        raise StructureError(
            f"{label} has no site {site}: its sites are 0 to {len(loaded.structure) - 1}."
        )
    found = loaded.structure[site].specie.symbol
    if found != absorber:
        raise StructureError(f"Site {site} of {label} is {found}, not {absorber}.")
    return site


def submit_convergence(
    maker: ConvergeFlowMaker,
    loaded: LoadedStructure,
    absorbing_index: int,
    *,
    rerun_failed: bool = False,
    settings: Settings | None = None,
) -> ConvergenceSubmission:
    """Add a convergence to the queue, unless it is known or queued.

    Parameters
    ----------
    maker
        What is converged.
    loaded, absorbing_index
        The structure and the absorbing site, as `choose_site` gives it.
    rerun_failed
        Compute the steps again that are known to have failed by name.
    settings
        Default: this process's.

    Raises
    ------
    DatabaseUnavailable, ForeignDatabase
        If the database is not there or not NearEdge's; nothing is submitted then.
    """
    settings = settings or get_settings()
    database = connect(settings)
    structure = loaded.structure
    question = maker.converge_maker.question(structure, absorbing_index, loaded.source)
    project = maker.converge_maker.site_maker.project
    store = SpectraStore(database)
    found = so_far(store, question, project=project)
    retry: list[str] = []
    if rerun_failed:
        retry = failed_steps(found.document)
        found = so_far(store, question, project=project, retry=retry)
    document = _file(database, found, project)
    if found.pending is None:
        return ConvergenceSubmission(document, "known")
    flow = maker.make(loaded, absorbing_index, retry)
    state = submit_once(flow, ("convergence_id", document.convergence_id), settings)
    return ConvergenceSubmission(document, state)


def failed_steps(document: ConvergenceDoc) -> list[str]:
    """Return the calculations of steps that failed by name."""
    return [step.calculation_id for each in document.parameters for step in each.failures]


def _file(database: MongoDatabase, found: SoFar, project: str | None) -> ConvergenceDoc:
    """Store what is known now, file its calculations under the project; return it as stored."""
    if project is not None:
        steps = [step for each in found.document.parameters for step in each.steps]
        SpectraStore(database).add_project([step.calculation_id for step in steps], project)
    return ConvergenceStore(database).put(found.document)
