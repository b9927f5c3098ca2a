"""Relaxing first: what is known is taken, what is not becomes a job before the others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

from fireworks.core.launchpad import LaunchPad
from jobflow.core.flow import Flow
from jobflow.core.job import Job
from jobflow.core.maker import Maker
from jobflow.managers.fireworks import flow_to_workflow
from monty.json import jsanitize

from nearedge.launch.fireworks import SPEC_KEY, ensure_launchpad_indexes, launchpad
from nearedge.launch.queue_state import PENDING, JobKind
from nearedge.launch.submission import add_workflows, withdraw_torn
from nearedge.makers.relax import ContinueMaker, RelaxMaker, relaxed_structures
from nearedge.models.potential import M3GNetCalculator, outside_of_m3gnet
from nearedge.schemas import StructureDoc
from nearedge.schemas.document import content_hash
from nearedge.schemas.relaxation import RelaxationDoc
from nearedge.settings import Settings, get_settings
from nearedge.store.connection import connect
from nearedge.store.operations import operation
from nearedge.store.relaxations import RelaxationStore
from nearedge.store.spectra_store import SpectraStore
from nearedge.structures.source import LoadedStructure, Refusal
from nearedge.workflows import campaign
from nearedge.workflows.campaign import SubmissionReport
from nearedge.workflows.relaxed import SpectraOfRelaxed
from nearedge.workflows.spectrum import SpectrumFlowMaker, plan_crystals


@dataclass(frozen=True)
class Unrelaxed:
    """A structure that nobody has relaxed so yet.

    Parameters
    ----------
    loaded
        The structure as it was given.
    origin
        Its `structure_key`.
    relaxation_id
        What its relaxation will be stored as.
    """

    loaded: LoadedStructure
    origin: str
    relaxation_id: str


def look_up(
    structures: Sequence[LoadedStructure | Refusal],
    maker: RelaxMaker,
    settings: Settings,
) -> list[LoadedStructure | Unrelaxed | Refusal]:
    """Return what is known of relaxing `structures`, in their order.

    That is the relaxed structure; or the structure itself, where it is not relaxed yet; or the
    reason why it is not relaxed: a failure that is recorded, unless the maker tries those again, or
    one that can be told before.

    Raises
    ------
    WeightsError
        If the potential's weights are missing or wrong.
    DatabaseUnavailable, ForeignDatabase
        If the database is not there or not NearEdge's.
    """
    database = connect(settings)
    looked: list[LoadedStructure | Unrelaxed | Refusal] = []
    for each in structures:
        if isinstance(each, Refusal):
            looked.append(each)
        elif (reason := outside_of_m3gnet(each.structure)) is not None:
            looked.append(Refusal(each.source.given_as, reason))
        else:
            origin = _key(each)
            how = maker.settings_for(_weights_sha256(settings.model_path))
            looked.append(Unrelaxed(each, origin, how.relaxation_id(origin)))
    ids = [each.relaxation_id for each in looked if isinstance(each, Unrelaxed)]
    known = RelaxationStore(database).get_many(ids)
    results = relaxed_structures(database, list(known.values()))
    if maker.project is not None:
        RelaxationStore(database).add_project(known, maker.project)
    for number, asked in enumerate(looked):
        found = known.get(asked.relaxation_id) if isinstance(asked, Unrelaxed) else None
        if found is None or not isinstance(asked, Unrelaxed):
            continue
        if found.completed:
            looked[number] = results[found.origin]
        elif not maker.rerun_failed:
            said = "" if found.failure is None else found.failure.message
            looked[number] = Refusal(asked.loaded.source.given_as, f"{found.state}: {said}")
    return looked


@dataclass
class RelaxFlowMaker(Maker):
    """Relax structures, each in a job, then go on with what they have become.

    Parameters
    ----------
    name
        The flow's name.
    relax_maker
        Relaxes a structure.
    weights_sha256
        Of the potential's weights: what the jobs are found by.
    then
        What `ContinueMaker` goes on with; None: the flow ends with the relaxations.
    priority
        Of what `ContinueMaker` goes on with. The relaxations have what they are enqueued with.
    """

    name: str = "relaxed"
    relax_maker: RelaxMaker = field(default_factory=RelaxMaker)
    weights_sha256: str = ""
    then: Maker | None = None
    priority: int = 0

    def make(self, structures: Sequence[LoadedStructure]) -> Flow:
        """Return the flow."""
        label = ", ".join(each.source.label for each in structures[:3])
        how = self.relax_maker.settings_for(self.weights_sha256)
        identifier = self.continuation_id(structures)
        jobs: list[Flow | Job] = []
        for each in structures:
            job = self.relax_maker.make(each.structure, each.source)
            about = {"relaxation_id": how.relaxation_id(_key(each))}
            if self.then is None:
                about["continuation_id"] = identifier
            self._describe(job, JobKind.RELAX, each.source.label, about)
            jobs.append(job)
        if self.then is not None:
            outcomes = [job.output for job in jobs]
            after = ContinueMaker(then=self.then, priority=self.priority).make(outcomes)
            self._describe(after, JobKind.CONTINUE, label, {"continuation_id": identifier})
            jobs.append(after)
        return Flow(jobs, name=f"{self.name} {label}")

    def continuation_id(self, structures: Sequence[LoadedStructure]) -> str:
        """Return one value for relaxing these structures and all that is done with them then."""
        makers = [self.relax_maker.as_dict(), None if self.then is None else self.then.as_dict()]
        plain = jsanitize(makers, strict=True, enum_values=True)
        return content_hash(["continuation", plain, [_key(each) for each in structures]])

    def _describe(self, job: Job, kind: JobKind, label: str, more: Mapping[str, str]) -> None:
        job.name = f"{job.name} {label}"
        about = {"kind": kind.value, "label": label, "project": self.relax_maker.project, **more}
        job.update_metadata({SPEC_KEY: about}, dynamic=False)


@lru_cache(maxsize=1)
def _weights_sha256(model_path: Path | None) -> str:
    """Return what names the potential's weights: reading and checking them takes seconds."""
    return M3GNetCalculator(model_path).weights_sha256


def _key(loaded: LoadedStructure) -> str:
    return StructureDoc.from_structure(loaded.structure, loaded.source).structure_key


def submit_relaxed(
    structures: Sequence[LoadedStructure | Refusal],
    maker: RelaxMaker,
    *,
    absorber: str,
    edge: str = "K",
    codes: Sequence[str] = ("feff",),
    protocol: str = "fast",
    priority: int = 0,
    settings: Settings | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> SubmissionReport:
    """Add to the queue what is neither known nor queued, of structures relaxed by `maker`.

    What is relaxed already is submitted as `campaign.submit` does. Each of the others becomes a
    workflow that relaxes it, and then lists its absorbers and computes them.

    Parameters
    ----------
    maker
        How structures are relaxed; its `project` and `rerun_failed` are those of all jobs.
    structures, absorber, edge, codes, protocol, priority, settings, progress
        As in `campaign.submit`; the priority is that of relaxing as well, and not part of what
        finds a flow that is queued.

    Raises
    ------
    WeightsError
        If the potential's weights are missing or wrong; nothing is submitted then.
    DatabaseUnavailable, ForeignDatabase
        If the database is not there or not NearEdge's; nothing is submitted then.
    """
    settings = settings or get_settings()
    looked = look_up(structures, maker, settings)
    report = campaign.submit(
        [each for each in looked if not isinstance(each, Unrelaxed)],
        absorber=absorber,
        edge=edge,
        codes=codes,
        protocol=protocol,
        project=maker.project,
        rerun_failed=maker.rerun_failed,
        priority=priority,
        settings=settings,
        progress=progress,
    )
    makers = [
        SpectrumFlowMaker.for_code(
            code, protocol=protocol, project=maker.project, rerun_failed=maker.rerun_failed
        )
        for code in codes
    ]
    then = SpectraOfRelaxed(absorber=absorber, edge=edge, spectrum_makers=makers)
    waiting = [each.loaded for each in looked if isinstance(each, Unrelaxed)]
    reasons = [_refusals(each, then) for each in waiting]
    fit = [each for each, against in zip(waiting, reasons, strict=True) if not against]
    added, already = enqueue_relaxations(
        [[each] for each in fit], maker, then, settings=settings, priority=priority
    )
    return replace(
        report,
        refused=(*report.refused, *(each for against in reasons for each in against)),
        relaxing=added,
        queued=report.queued + already,
    )


def _refusals(loaded: LoadedStructure, then: SpectraOfRelaxed) -> list[Refusal]:
    """Return what speaks against the spectra before anything is relaxed for them."""
    found = []
    for planned in plan_crystals(loaded, then.spectrum_makers, then.absorber, then.edge):
        if isinstance(planned, Refusal):
            found.append(planned)
        elif planned.refusal is not None:
            found.append(Refusal(loaded.source.given_as, planned.refusal.message))
    return found


def enqueue_relaxations(
    groups: Sequence[Sequence[LoadedStructure]],
    maker: RelaxMaker,
    then: Maker | None,
    *,
    settings: Settings,
    priority: int = 0,
) -> tuple[int, int]:
    """Add a flow for each group of structures, unless it is queued.

    Returns
    -------
    tuple[int, int]
        How many were added, or put back after they had fizzled, and how many were queued already.

    Raises
    ------
    WeightsError
        If the potential's weights are missing or wrong.
    """
    if not groups:
        return 0, 0
    flow_maker = RelaxFlowMaker(
        relax_maker=maker,
        weights_sha256=_weights_sha256(settings.model_path),
        then=then,
        priority=priority,
    )
    flows = {flow_maker.continuation_id(each): flow_maker.make(each) for each in groups}
    added = _enqueue(launchpad(settings), flows, priority)
    return added, len(flows) - added


def relax_again(
    failed: Sequence[RelaxationDoc], *, project: str | None, settings: Settings
) -> SubmissionReport:
    """Queue relaxations again that failed by name, as they were; nothing follows them.

    Parameters
    ----------
    failed
        Their documents, which are replaced when they end.
    project
        What the jobs are filed under; None: the first project of each relaxation.

    Raises
    ------
    WeightsError
        If the potential's weights are missing or wrong; no relaxation is queued then.
    """
    structures = SpectraStore(connect(settings)).structures({each.origin for each in failed})
    report = SubmissionReport(0, 0, 0)
    weights = _weights_sha256(settings.model_path)
    for each in failed:
        how = each.settings
        maker = RelaxMaker(
            mode=how.mode,
            pressure=how.pressure,
            force_tolerance=how.force_tolerance,
            steps=how.steps,
            project=project or next(iter(each.projects), None),
            rerun_failed=True,
        )
        origin = structures.get(each.origin)
        reason = None
        if origin is None:
            reason = "its structure is not in the database"
        elif maker.settings_for(weights) != how:
            reason = "it was made with other weights: what asked for it makes a new one of these"
        if origin is None or reason is not None:
            refused = (*report.refused, Refusal(each.label, str(reason)))
            report = replace(report, refused=refused)
            continue
        loaded = LoadedStructure(origin.to_structure(), origin.source)
        new, already = enqueue_relaxations([[loaded]], maker, None, settings=settings)
        report = replace(report, new=report.new + new, queued=report.queued + already)
    return report


@operation
def _enqueue(pad: LaunchPad, flows: Mapping[str, Flow], priority: int) -> int:
    ensure_launchpad_indexes(pad)
    withdraw_torn(pad)  # or what no worker can finish would count as queued
    name = f"spec.{SPEC_KEY}.continuation_id"
    states = {"state": {"$in": [*PENDING, "FIZZLED"]}}
    there = {
        str(found["spec"][SPEC_KEY]["continuation_id"]): found["fw_id"]
        for found in pad.fireworks.find(
            {name: {"$in": list(flows)}} | states, {"fw_id": 1, name: 1}
        )
    }
    new = [flow_to_workflow(flow) for identifier, flow in flows.items() if identifier not in there]
    for firework in (each for workflow in new for each in workflow.fws):
        firework.spec["_priority"] = firework.spec.get("_priority", 0) + priority
    add_workflows(pad, new)
    return len(new) + sum(_put_back(pad, fw_id) for fw_id in there.values())


def _put_back(pad: LaunchPad, fw_id: int) -> bool:
    """Make what has fizzled in a Firework's workflow ready again; return whether anything had."""
    workflow = pad.workflows.find_one({"nodes": fw_id}, {"nodes": 1})
    fizzled = {"fw_id": {"$in": workflow["nodes"]}, "state": "FIZZLED"}
    again = [each["fw_id"] for each in pad.fireworks.find(fizzled, {"fw_id": 1})]
    for each in again:
        pad.rerun_fw(each)
    return bool(again)
