"""What `nearedge benchmark` does: plan, compute what is missing, compare, write."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from jobflow.managers.fireworks import flow_to_workflow

from nearedge.cli.benchmark_files import GivenReference, placed
from nearedge.cli.console import counted
from nearedge.cli.files import written_whole
from nearedge.cli.running import Display, Worked, work_the_queue
from nearedge.cli.submitting import read_structures, refuse_missing_program
from nearedge.codes import get_code
from nearedge.errors import StructureError
from nearedge.launch.fireworks import ensure_launchpad_indexes, launchpad
from nearedge.launch.submission import add_workflows
from nearedge.makers.benchmark import BenchmarkPlan, compare_stored
from nearedge.makers.compared import Compared
from nearedge.plots.benchmark import benchmark_report
from nearedge.plots.figure import unique_labels
from nearedge.plots.report import report_html
from nearedge.schemas.benchmark import BenchmarkColumn
from nearedge.settings import Settings
from nearedge.store.benchmarks import BenchmarkStore
from nearedge.store.operations import database_errors
from nearedge.store.spectra_store import SpectraStore
from nearedge.structures.source import LoadedStructure, Refusal
from nearedge.workflows import campaign
from nearedge.workflows.benchmark import BenchmarkFlowMaker, code_columns, plan_benchmark


@dataclass(frozen=True)
class Wanted:
    """A benchmark as the user asked for it, with structures and references read.

    Parameters
    ----------
    structures
        Labels, all different, and structures.
    codes
        The columns of codes.
    """

    plan: BenchmarkPlan
    structures: list[tuple[str, LoadedStructure]]
    codes: list[BenchmarkColumn]


@dataclass
class Computed:
    """What was done before the comparison; numbers of sites."""

    new: int = 0
    known: int = 0
    cpu_seconds: float = 0.0
    failures: dict[str, int] = field(default_factory=dict)
    messages: tuple[str, ...] = ()
    interrupted: bool = False


def requested_columns(codes: Sequence[str], protocols: Sequence[str]) -> list[BenchmarkColumn]:
    """Return the columns of ``--codes`` and ``--protocol``.

    Parameters
    ----------
    codes
        ``CODE``, or ``CODE:PROTOCOL``.
    protocols
        ``PROTOCOL`` for all codes, and ``CODE:PROTOCOL`` for one; a code that is named twice is
        compared with itself.

    Raises
    ------
    InputRefused
        If a code or protocol is unknown, or named twice.
    """
    plain = [each for each in protocols if ":" not in each]
    own: dict[str, list[str]] = {}
    for each in protocols:
        code, colon, protocol = each.partition(":")
        if colon:
            own.setdefault(code.strip(), []).append(protocol.strip())
    wanted: list[tuple[str, str]] = []
    for each in codes:
        code, colon, protocol = each.partition(":")
        these = [protocol] if colon else own.pop(code, []) or plain or ["fast"]
        wanted += [(code, protocol) for protocol in these]
    for code in own:
        get_code(code)
        raise StructureError(f"--protocol names {code}, which --codes does not: name it there too.")
    return code_columns(wanted)


def read_wanted(
    files: Sequence[str],
    columns: list[BenchmarkColumn],
    references: Sequence[GivenReference],
    *,
    absorber: str,
    edge: str,
    window: float,
    broadening: str | None,
    project: str,
    relaxed: Callable[[list[LoadedStructure]], list[LoadedStructure]] = list,
) -> Wanted:
    """Read the structures and plan the benchmark.

    `relaxed` is what they are compared as; they keep their labels.

    Raises
    ------
    StructureError
        If a structure cannot be used; the others would be compared without it.
    """
    structures: list[LoadedStructure] = []
    for each in read_structures(files, absorber):
        if isinstance(each, Refusal):
            raise StructureError(f"{each.label} cannot be used: {each.reason}")
        structures.append(each)
    labels = unique_labels([each.source.label for each in structures])
    named = list(zip(labels, relaxed(structures), strict=True))
    plan = plan_benchmark(
        named,
        columns,
        absorber=absorber,
        edge=edge,
        references=placed(references, labels),
        window=window,
        broadening=broadening,
        project=project,
    )
    return Wanted(plan, named, columns)


def refuse_absent_codes(store: SpectraStore, wanted: Wanted) -> None:
    """Raise if something is to be computed by a code that is not on this machine.

    Raises
    ------
    LaunchError
        Saying how to get it; nothing was started then.
    """
    for structure in wanted.plan.structures:
        for column, planned in zip(wanted.codes, structure.spectra, strict=True):
            ids = planned.calculation_ids
            if ids and len(store.completed(ids)) == len(ids):
                continue
            refuse_missing_program(column.code or "", "compare what is there with --no-run")


def compute(
    wanted: Wanted,
    settings: Settings,
    display: Display,
    *,
    workers: int | None,
    rerun_failed: bool,
    tell: Callable[[str], None],
) -> Computed:
    """Submit what is neither known nor queued, and work the queue until it is empty."""
    done = Computed()
    for column in wanted.codes:
        report = campaign.submit(
            [loaded for _, loaded in wanted.structures],
            absorber=wanted.plan.absorber,
            edge=wanted.plan.edge,
            codes=[column.code or ""],
            protocol=column.protocol or "",
            project=wanted.plan.project,
            rerun_failed=rerun_failed,
            settings=settings,
        )
        done.new += report.new + report.queued
        done.known += report.known
    tell(f"{counted(done.new, 'site')} to compute, {done.known} known.")
    about = {"project": wanted.plan.project} if wanted.plan.project else None
    worked: Worked = work_the_queue(settings, workers or settings.workers, display, about=about)
    done.cpu_seconds, done.failures = worked.cpu_seconds, worked.failures
    done.messages, done.interrupted = worked.messages, worked.interrupted
    return done


def enqueue(wanted: Wanted, settings: Settings) -> int:
    """Add one workflow that ends with the benchmark's document; return its number of jobs."""
    pad = launchpad(settings)
    ensure_launchpad_indexes(pad)
    flow = BenchmarkFlowMaker().make(wanted.plan, wanted.structures)
    workflow = flow_to_workflow(flow)
    with database_errors():
        add_workflows(pad, [workflow])
    return len(workflow.fws)


def compare_and_store(store: SpectraStore, plan: BenchmarkPlan) -> Compared:
    """Compare what the store holds, and store the document if anything could be compared."""
    result = compare_stored(store, plan)
    if result.document.means:
        BenchmarkStore(store.database).put(result.document)
    return result


def write_report(result: Compared, target: Path, notices: Sequence[str] = ()) -> None:
    """Write the page.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    spectra = {crystal.label: crystal.spectra for crystal in result.crystals}
    page = report_html(benchmark_report(result.document, spectra, notices=notices))
    with written_whole(target) as draft:
        draft.write_text(page, encoding="utf-8")
