"""Converging: look at the steps that are recorded, and ask for the next one until they agree."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from jobflow.core.flow import Flow
from jobflow.core.job import Job, Response, job
from jobflow.core.maker import Maker
from monty.json import jsanitize
from pydantic import BaseModel, ConfigDict, Field
from pymatgen.core.structure import Structure

from nearedge.launch.fireworks import SPEC_KEY
from nearedge.launch.queue_state import JobKind
from nearedge.makers.convergence import Pending, Question, so_far
from nearedge.makers.simulation import SimulationMaker, SiteOutcome, multiplicity_of
from nearedge.schemas import SourceRef, StructureDoc
from nearedge.schemas.convergence import RaisedParameter, SettingValue, Thresholds
from nearedge.store.connection import connect
from nearedge.store.convergences import ConvergenceStore
from nearedge.store.spectra_store import SpectraStore

PRIORITY = 1
"""Decisions take milliseconds and go before calculations."""


class ConvergeOutcome(BaseModel):
    """What a decision returns: where the document is, and what is computed next, if anything."""

    model_config = ConfigDict(extra="forbid")

    convergence_id: str
    state: str
    next_step: str | None = Field(None, description="A protocol: `balanced@1+fms_radius=7.0`.")
    chosen: dict[str, SettingValue] = Field(default_factory=dict)


@dataclass
class ConvergeMaker(Maker):
    """Decide which step of a convergence is next, and detour to it and to the next decision.

    Parameters
    ----------
    name
        The job's name.
    site_maker
        Computes the steps: its code, edge, protocol and project are the convergence's.
    parameters
        What is raised, in order.
    thresholds
        When two successive spectra agree.
    window
        Width in eV of what is compared, from the onset.
    """

    name: str = "converge"
    site_maker: SimulationMaker = field(default_factory=SimulationMaker)
    parameters: list[RaisedParameter] = field(default_factory=list)
    thresholds: Thresholds = field(default_factory=lambda: Thresholds(spearman=0.99, mse=3e-3))
    window: float = 35.0

    def as_dict(self) -> dict[str, Any]:
        """Return the maker with its options as dictionaries: FireWorks would store them as text."""
        sanitized: dict[str, Any] = jsanitize(super().as_dict(), strict=True, enum_values=True)
        return sanitized

    @job(output_schema=ConvergeOutcome)
    def make(
        self,
        structure: Structure,
        absorbing_index: int,
        source: SourceRef | None = None,
        retry: list[str] | None = None,
        after: SiteOutcome | None = None,
    ) -> Response[ConvergeOutcome]:
        """Return what is known, with a detour to the next step; as a job, when called on a maker.

        Parameters
        ----------
        structure
            An ordered structure.
        absorbing_index
            Index of the absorbing site in it.
        source
            Where the structure came from.
        retry
            Calculations that failed by name and are to be computed again.
        after
            The step before. It makes this job wait for that step's; what counts is what the store
            holds, so that a step computed elsewhere costs nothing.
        """
        retry = [each for each in retry or [] if after is None or each != after.calculation_id]
        database = connect()
        project = self.site_maker.project
        question = self.question(structure, absorbing_index, source)
        found = so_far(SpectraStore(database), question, project=project, retry=retry)
        document = found.document
        ConvergenceStore(database).put(document)
        answer = ConvergeOutcome(
            convergence_id=document.convergence_id, state=document.state, chosen=document.chosen
        )
        if found.pending is None:
            return Response(output=answer)
        answer.next_step = found.pending.protocol
        step = self._step(found.pending, document.convergence_id, retry)
        again = self.make(structure, absorbing_index, source, retry, step.output)
        describe_decision(again, question, document.convergence_id, project)
        return Response(output=answer, detour=Flow([step, again], name=found.pending.label))

    def question(
        self, structure: Structure, absorbing_index: int, source: SourceRef | None = None
    ) -> Question:
        """Return what this maker would converge on a site."""
        source = source or SourceRef(kind="object", label=structure.composition.reduced_formula)
        return Question(
            structure=StructureDoc.from_structure(structure, source),
            absorbing_index=absorbing_index,
            multiplicity=multiplicity_of(structure, absorbing_index),
            edge=self.site_maker.edge,
            code=self.site_maker.code,
            protocol=self.site_maker.protocol,
            parameters=self.parameters,
            thresholds=self.thresholds,
            window=self.window,
        )

    def _step(self, pending: Pending, convergence_id: str, retry: list[str]) -> Job:
        """Return the job of a step: an ordinary calculation."""
        site = pending.site
        maker = replace(
            self.site_maker,
            protocol=pending.protocol,
            rerun_failed=site.calculation_id in retry,
        )
        step: Job = maker.make(
            site.structure.to_structure(), site.absorbing_index, site.structure.source
        )
        step.name = f"{step.name} {pending.label}"
        about = {
            "kind": JobKind.SITE.value,
            "label": pending.label,
            "project": self.site_maker.project,
            "calculation_id": site.calculation_id,
            "code": self.site_maker.code,
            "convergence_id": convergence_id,
        }
        step.update_metadata({SPEC_KEY: about}, dynamic=False)
        return step


def describe_decision(
    decision: Job, question: Question, convergence_id: str, project: str | None
) -> None:
    """Say in the job's metadata, and so in its Firework's spec, what it is about."""
    label = f"{question.structure.source.label} site {question.absorbing_index} {question.edge}"
    decision.name = f"{decision.name} {label}"
    decision.config.manager_config = {"_priority": PRIORITY}
    about = {
        "kind": JobKind.CONVERGE.value,
        "label": label,
        "project": project,
        "convergence_id": convergence_id,
    }
    decision.update_metadata({SPEC_KEY: about}, dynamic=False)
