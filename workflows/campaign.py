"""Submit many structures at once, computing nothing twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, replace

from fireworks import Workflow
from fireworks.core.launchpad import LaunchPad
from jobflow.core.flow import Flow
from jobflow.core.job import Job
from jobflow.managers.fireworks import flow_to_workflow

from nearedge.launch.fireworks import ensure_launchpad_indexes, launchpad
from nearedge.launch.queue_state import QueuedJob, averages_to_come, queued
from nearedge.launch.submission import add_workflows, withdraw_torn
from nearedge.makers.documents import Site
from nearedge.makers.pack import failure_told
from nearedge.schemas import SpectrumKind
from nearedge.settings import Settings, get_settings
from nearedge.store.batches import batches
from nearedge.store.operations import operation
from nearedge.store.queries import CalculationQuery, SpectrumQuery
from nearedge.store.spectra_store import SpectraStore
from nearedge.structures.source import LoadedStructure, Refusal
from nearedge.workflows.spectrum import (
    Crystal,
    SpectrumFlowMaker,
    flow_of,
    pack_of,
    plan_crystals,
)

_PACK_ATOMS = 20_000
"""Most atoms that share a job, unless one crystal has more: its document has 200 bytes for each (a
supercell of MgO), and MongoDB takes none above 16 MB."""


@dataclass(frozen=True)
class SubmissionReport:
    """What became of a submission; numbers of sites.

    Parameters
    ----------
    new
        Added to the queue, or put back into it after they had fizzled.
    known
        Recorded already, completed or failed by name; nothing will run.
    queued
        In the queue already.
    refused
        Structures of which nothing was submitted, with reasons.
    relaxing
        Structures that are relaxed first; their sites are listed and computed after.
    """

    new: int
    known: int
    queued: int
    refused: tuple[Refusal, ...] = ()
    relaxing: int = 0


def submit(
    structures: Sequence[LoadedStructure | Refusal],
    *,
    absorber: str,
    edge: str = "K",
    codes: Sequence[str] = ("feff",),
    protocol: str = "fast",
    project: str | None = None,
    rerun_failed: bool = False,
    priority: int = 0,
    pack: int = 1,
    settings: Settings | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> SubmissionReport:
    """Add to the queue what is neither known nor queued.

    Parameters
    ----------
    structures
        As `nearedge.structures.sources.load_structures` gives them; refusals are passed on.
    absorber, edge
        Absorbing element and edge.
    codes
        Simulation codes.
    protocol
        Parameter set, by name.
    project
        Name that all documents are filed under, those that are known already included.
    rerun_failed
        Compute again what is known to have failed by name.
    priority
        Of what is added: workers and batch jobs take the highest first.
    pack
        About how many sites share a job, for sites that take seconds; see `PackMaker`.
    settings
        Default: this process's.
    progress
        Called with the number of structures looked at and their total.

    Raises
    ------
    DatabaseUnavailable, ForeignDatabase
        If the database is not there or not NearEdge's; nothing is submitted then.
    """
    settings = settings or get_settings()
    store = SpectraStore.from_settings(settings)
    pad = launchpad(settings)
    ensure_launchpad_indexes(pad)
    makers = [
        SpectrumFlowMaker.for_code(
            code, protocol=protocol, project=project, rerun_failed=rerun_failed
        )
        for code in codes
    ]
    crystals: dict[str, Crystal] = {}
    refused: list[Refusal] = []
    for number, loaded in enumerate(structures, start=1):
        for planned in plan_crystals(loaded, makers, absorber, edge):
            if isinstance(planned, Refusal):
                refused.append(planned)
            elif planned.refusal is not None:
                label = planned.sites[0].structure.source.given_as
                by = f" by {planned.maker.site_maker.code}" if len(makers) > 1 else ""
                refused.append(Refusal(f"{label}{by}", planned.refusal.message))
            else:
                # The same structure given twice is one crystal.
                crystals.setdefault(planned.average_id, planned)
        if progress is not None:
            progress(number, len(structures))
    plan = list(crystals.values())
    known = known_of(store, plan, rerun_failed=rerun_failed)
    report = enqueue(pad, plan, known, priority=priority, pack=pack)
    if project is not None:
        store.add_project(sorted(known.calculations), project)
    return replace(report, refused=tuple(refused))


@dataclass(frozen=True)
class Known:
    """What the store holds of a plan.

    Parameters
    ----------
    calculations
        Those that need not run: completed, or failed and not to be computed again.
    completed
        All that are recorded so.
    failed
        The same of failures, each as `failure_told` gives it.
    averages
        Ids of the averages.
    """

    calculations: set[str]
    completed: set[str]
    failed: dict[str, str]
    averages: set[str]

    def lacks_average(self, crystal: Crystal) -> bool:
        """Whether every site is known, one at least completed, and nobody averaged them."""
        ids = crystal.calculation_ids
        return (
            ids <= self.calculations
            and bool(ids & self.completed)
            and crystal.average_id not in self.averages
        )


def known_of(store: SpectraStore, plan: Sequence[Crystal], *, rerun_failed: bool) -> Known:
    """Return what the store holds of a plan; failures count as unknown with `rerun_failed`."""
    ids = [site.calculation_id for crystal in plan for site in crystal.sites]
    completed = store.completed(ids)
    failed: dict[str, str] = {}
    for batch in batches(ids):
        query = CalculationQuery(calculation_ids=batch, failed=True)
        failed |= {each.calculation_id: failure_told(each) for each in store.calculations(query)}
    averages: set[str] = set()
    for batch in batches([crystal.average_id for crystal in plan]):
        query_averages = SpectrumQuery(spectrum_ids=batch, kind=SpectrumKind.AVERAGE)
        averages.update(row.spectrum_id for row in store.listing(query_averages))
    known = completed if rerun_failed else completed | failed.keys()
    return Known(known, completed, failed, averages)


@operation
def enqueue(
    pad: LaunchPad,
    plan: Sequence[Crystal],
    known: Known,
    *,
    wanted: Container[str] | None = None,
    instead_of: Mapping[str, str] | None = None,
    priority: int = 0,
    pack: int = 1,
    dry_run: bool = False,
) -> SubmissionReport:
    """Add flows for what is neither known nor queued, and put back what has fizzled.

    Parameters
    ----------
    wanted
        Look only at these calculations; None for all of the plan.
    instead_of
        The failed calculations that new ones repeat with other parameters.
    priority
        Of the new jobs; an average comes before the sites of the same priority.
    pack
        About how many sites share a job; a crystal is never divided. A crystal that lacks only its
        average counts as one.
    dry_run
        Count, and change nothing.
    """
    if not dry_run:
        withdraw_torn(pad)  # or what no worker can finish would count as queued
    ids = [site.calculation_id for crystal in plan for site in crystal.sites]
    unknown = [each for each in ids if each not in known.calculations]
    waiting, fizzled = queued(pad, unknown), queued(pad, unknown, states=["FIZZLED"])
    lacking = _lacking_averages(pad, plan, known)
    parts: list[_Part] = []
    put_back: list[int] = []
    counts: Counter[str] = Counter()
    for crystal in plan:
        project = crystal.maker.site_maker.project
        to_run: list[Site] = []
        for site in crystal.sites:
            this = site.calculation_id
            if wanted is not None and this not in wanted:
                continue
            if this in known.calculations:
                counts["known"] += 1
            elif _that_compute(this, waiting, known, project):
                counts["queued"] += 1
            else:
                counts["new"] += 1
                if again := _that_compute(this, fizzled, known, project):
                    put_back.append(again[0].fw_id)
                else:
                    to_run.append(site)
        if to_run or crystal.average_id in lacking:
            parts.append((crystal, to_run))
    flows: list[Flow | Job] = (
        _packs(parts, pack, known.failed, instead_of)
        if pack > 1
        else [flow_of(crystal.maker, crystal.sites, sites, instead_of) for crystal, sites in parts]
    )
    if not dry_run:
        for fw_id in dict.fromkeys(put_back):  # a pack is of many sites
            pad.rerun_fw(fw_id)
        add_workflows(pad, [_workflow(flow, priority) for flow in flows])
    return SubmissionReport(new=counts["new"], known=counts["known"], queued=counts["queued"])


_Part = tuple[Crystal, Sequence[Site]]
"""A crystal, and those of its sites that are to be computed."""


def _packs(
    parts: Sequence[_Part],
    size: int,
    failures: Mapping[str, str],
    instead_of: Mapping[str, str] | None,
) -> list[Flow | Job]:
    """Return a job for each group of crystals of one maker that have at least so many sites.

    Fewer have the last group of a maker, and those that would have too many atoms with the next
    one.
    """
    full: list[list[_Part]] = []
    groups: dict[tuple[str, str, str, str | None, bool], list[_Part]] = {}
    for crystal, sites in parts:
        maker = crystal.maker.site_maker
        kind = (maker.code, crystal.edge, maker.protocol, maker.project, maker.rerun_failed)
        group = groups.get(kind, [])
        if group and _atoms(group) + _atoms([(crystal, sites)]) > _PACK_ATOMS:
            full.append(groups.pop(kind))
        group = groups.setdefault(kind, [])
        group.append((crystal, sites))
        if sum(max(1, len(each)) for _, each in group) >= size:
            full.append(groups.pop(kind))
    return [pack_of(group, failures, instead_of) for group in (*full, *groups.values())]


def _atoms(group: Sequence[_Part]) -> int:
    return sum(crystal.sites[0].structure.nsites for crystal, _ in group)


def _lacking_averages(pad: LaunchPad, plan: Sequence[Crystal], known: Known) -> set[str]:
    """Return the averages that are missing and that no job makes which is still in the queue.

    A job of another project files them elsewhere, as `_of_project` says of sites. Two submissions
    at the same moment may both add one: the later job finds what the first has made.
    """
    lacking = {
        crystal.average_id: crystal.maker.site_maker.project
        for crystal in plan
        if known.lacks_average(crystal)
    }
    coming = averages_to_come(pad, lacking)
    return {
        name
        for name, project in lacking.items()
        if not (coming.get(name) if project is None else project in coming.get(name, ()))
    }


def _workflow(flow: Flow | Job, priority: int) -> Workflow:
    workflow = flow_to_workflow(flow)
    for firework in workflow.fws:
        firework.spec["_priority"] = firework.spec.get("_priority", 0) + priority
    return workflow


def _that_compute(
    calculation_id: str,
    jobs: Mapping[str, Sequence[QueuedJob]],
    known: Known,
    project: str | None,
) -> list[QueuedJob]:
    """Return the jobs of a project that compute a calculation, also where it failed before."""
    failure = known.failed.get(calculation_id)
    found = _of_project(jobs.get(calculation_id, []), project)
    return [job for job in found if failure is None or job.computes_again(failure)]


def _of_project(jobs: Sequence[QueuedJob], project: str | None) -> list[QueuedJob]:
    """Return the jobs that will file their documents under `project`, if it is given.

    A job of another project computes the same, but files it elsewhere; a second job is added, which
    finds the result and costs nothing.
    """
    return [job for job in jobs if project is None or job.project == project]
