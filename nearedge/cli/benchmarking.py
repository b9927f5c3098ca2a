"""`benchmark`: codes, and references, against each other."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nearedge.cli import options as opt
from nearedge.cli.console import counted, only_data_on_stdout, say, show, show_json, show_table
from nearedge.cli.relaxing import enqueue_relaxed, relaxation, relaxed_here
from nearedge.errors import StructureError

if TYPE_CHECKING:
    from collections.abc import Callable

    from nearedge.cli.benchmark_files import GivenReference
    from nearedge.cli.benchmark_steps import Computed, Wanted
    from nearedge.makers.compared import Compared
    from nearedge.makers.relax import RelaxMaker
    from nearedge.schemas.benchmark import BenchmarkDoc
    from nearedge.structures.source import LoadedStructure

Structures = Annotated[
    list[str] | None,
    typer.Argument(
        help="Structure files, folders of them, or Materials Project ids.",
        metavar="STRUCTURE...",
        show_default=False,
    ),
]
Reference = Annotated[
    list[str] | None,
    typer.Option(
        "--reference",
        metavar="LABEL=FILE",
        help="A spectrum from elsewhere, two columns or XDI; STRUCTURE:LABEL=FILE for several "
        "structures; FILE@lorentzian:0.9 broadens it first.",
    ),
]


def benchmark(
    structures: Structures = None,
    absorber: Annotated[str | None, typer.Option(help="Absorbing element, such as Ti.")] = None,
    edge: opt.Edge = "K",
    codes: Annotated[str, typer.Option(help="Codes as a,b or a:PROTOCOL.")] = "feff",
    protocol: Annotated[
        str, typer.Option(help="Protocol of all codes, or of each as a:fast,b:balanced.")
    ] = "fast",
    reference: Reference = None,
    window: Annotated[float, typer.Option(min=1.0, help="eV compared, from the onset.")] = 35.0,
    broaden: opt.Broaden = None,
    project: opt.ProjectName = "benchmark",
    output: Annotated[Path, opt.path_option("--output", "-o", help="The page.")] = Path(
        "benchmark.html"
    ),
    save: Annotated[
        Path | None,
        opt.path_option(
            "--save",
            metavar="<folder>",
            help="Write the computed spectra, thinned, as STRUCTURE/CODE.xdi.",
        ),
    ] = None,
    folder: Annotated[
        Path | None,
        opt.path_option(
            "--from",
            metavar="<folder>",
            help="Compare the spectra of such a folder; nothing runs, no database is asked.",
        ),
    ] = None,
    no_run: Annotated[
        bool, typer.Option("--no-run", help="Compare what is there; compute nothing.")
    ] = False,
    queue: Annotated[
        bool,
        typer.Option("--submit", help="Add one workflow that ends with the document, and end."),
    ] = False,
    workers: opt.Workers = None,
    rerun_failed: opt.RerunFailed = False,
    relax: opt.Relax = None,
    relax_mode: opt.RelaxModeOption = None,
    pressure: opt.Pressure = None,
    listed: Annotated[bool, typer.Option("--list", help="List the stored benchmarks.")] = False,
    stored: Annotated[
        str | None, typer.Option("--show", metavar="ID", help="Show a stored benchmark.")
    ] = None,
    as_json: opt.Json = False,
) -> None:
    """Compare codes, and references, on several structures; compute what is missing first."""
    modes = [listed, stored is not None, folder is not None, bool(structures)]
    if sum(modes) != 1:
        raise typer.BadParameter(
            "give structures to compare, or one of --from, --list and --show.",
            param_hint="STRUCTURE...",
        )
    if no_run and queue:
        raise typer.BadParameter("--no-run computes nothing and --submit will: choose one.")
    if listed or stored is not None:
        _stored(stored, as_json=as_json)
        return
    from nearedge.cli.benchmark_files import from_folder, given_reference
    from nearedge.cli.benchmark_files import save as save_spectra
    from nearedge.cli.benchmark_steps import write_report
    from nearedge.cli.files import refuse_folder
    from nearedge.schemas.broadened import BroadeningRequest

    refuse_folder(output)
    if broaden is not None:
        broaden = str(BroadeningRequest.parse(broaden))
    references = [given_reference(each, window) for each in reference or []]
    relaxing = relaxation(relax, relax_mode, pressure, project=project, rerun_failed=rerun_failed)
    done: Computed | None = None
    if folder is not None:
        result = from_folder(folder, references, window=window, broadening=broaden)
    else:
        wanted = _wanted(
            structures or [],
            absorber,
            edge,
            (codes, protocol),
            references,
            window=window,
            broadening=broaden,
            project=project,
            relaxed=_relaxed_by(None if queue else relaxing, workers, may_run=not no_run),
        )
        if queue and relaxing is not None:
            _enqueue_relaxed(wanted, relaxing, as_json=as_json)
            return
        if queue:
            _enqueue(wanted, as_json=as_json)
            return
        done, result = _run(wanted, no_run=no_run, workers=workers, rerun_failed=rerun_failed)
    write_report(result, output)
    saved = 0 if save is None else save_spectra(result, save)
    _tell(result, output, done, as_json=as_json)
    if saved:
        written = counted(saved, "spectrum", "spectra")
        say(f"{written} in {save}; `nearedge benchmark --from {save}` compares again.")
    _end(result, ran=folder is None and not no_run)


def _wanted(
    structures: list[str],
    absorber: str | None,
    edge: str,
    codes_and_protocols: tuple[str, str],
    references: list[GivenReference],
    *,
    window: float,
    broadening: str | None,
    project: str,
    relaxed: Callable[[list[LoadedStructure]], list[LoadedStructure]],
) -> Wanted:
    from nearedge.cli.benchmark_steps import read_wanted, requested_columns

    if absorber is None:
        raise typer.BadParameter("name the absorbing element.", param_hint="--absorber")
    codes = opt.named_codes(codes_and_protocols[0], "--codes")
    protocols = opt.separated(codes_and_protocols[1])
    with only_data_on_stdout():
        return read_wanted(
            structures,
            requested_columns(codes, protocols),
            references,
            absorber=absorber,
            edge=edge,
            window=window,
            broadening=broadening,
            project=project,
            relaxed=relaxed,
        )


def _relaxed_by(
    maker: RelaxMaker | None, workers: int | None, *, may_run: bool
) -> Callable[[list[LoadedStructure]], list[LoadedStructure]]:
    """Return what gives structures as they are compared: as they are, or relaxed."""
    if maker is None:
        return list
    return lambda each: relaxed_here(each, maker, workers=workers, may_run=may_run)


def _enqueue_relaxed(wanted: Wanted, maker: RelaxMaker, *, as_json: bool) -> None:
    from nearedge.workflows.relaxed import BenchmarkOfRelaxed

    plan = wanted.plan
    keys = {each.label: each.structure_key for each in plan.structures}
    then = BenchmarkOfRelaxed(
        labels={key: label for label, key in keys.items()},
        codes=[[column.code or "", column.protocol or ""] for column in wanted.codes],
        absorber=plan.absorber,
        edge=plan.edge,
        references=plan.references,
        window=plan.window,
        broadening=plan.broadening,
        project=plan.project,
    )
    structures = [loaded for label, loaded in wanted.structures if label in keys]
    enqueue_relaxed(structures, maker, then, as_json=as_json)


def _run(
    wanted: Wanted, *, no_run: bool, workers: int | None, rerun_failed: bool
) -> tuple[Computed | None, Compared]:
    from nearedge.cli.benchmark_steps import compare_and_store, compute, refuse_absent_codes
    from nearedge.cli.running import tell_end
    from nearedge.cli.watching import live_display
    from nearedge.schemas import COMPLETED
    from nearedge.settings import get_settings
    from nearedge.store.spectra_store import SpectraStore

    settings = get_settings()
    store = SpectraStore.from_settings(settings)
    done = None
    with only_data_on_stdout():
        if not no_run:
            refuse_absent_codes(store, wanted)
            done = compute(
                wanted, settings, live_display, workers=workers, rerun_failed=rerun_failed, tell=say
            )
            tell_end(done.messages, interrupted=done.interrupted)
            # Connected anew: an embedded server that was restarted listens elsewhere.
            store = SpectraStore.from_settings(settings)
        result = compare_and_store(store, wanted.plan)
    spectra = [each for structure in result.document.structures for each in structure.spectra]
    if no_run and not any(each.state == COMPLETED for each in spectra):
        raise StructureError(
            "Nothing to compare: none of these structures has a spectrum by these codes yet. Leave "
            "out --no-run to compute them."
        )
    return done, result


def _enqueue(wanted: Wanted, *, as_json: bool) -> None:
    from nearedge.cli.benchmark_steps import enqueue
    from nearedge.settings import get_settings
    from nearedge.store.spectra_store import SpectraStore

    settings = get_settings()
    SpectraStore.from_settings(settings)  # says what is wrong with the database, if anything
    with only_data_on_stdout():
        jobs = enqueue(wanted, settings)
    if as_json:
        show_json({"jobs": jobs})
    else:
        show(f"One workflow of {counted(jobs, 'job')} was added; its last stores the benchmark.")
        say("`nearedge run` or `nearedge queue` works it; `nearedge benchmark --list` shows it.")


def _stored(identifier: str | None, *, as_json: bool) -> None:
    from nearedge.settings import get_settings
    from nearedge.store.abbreviated import SHOWN
    from nearedge.store.benchmarks import BenchmarkStore
    from nearedge.store.spectra_store import SpectraStore

    store = BenchmarkStore(SpectraStore.from_settings(get_settings()).database)
    if identifier is not None:
        document = store.get(identifier)
        if as_json:
            show_json(document.model_dump(mode="json"))
        else:
            _show_means(document)
        return
    found = store.listing()
    if as_json:
        show_json([each.model_dump(mode="json") for each in found])
        return
    rows = [
        [
            each.benchmark_id[:SHOWN],
            f"{each.absorber} {each.edge}",
            str(len(each.structures)),
            f"{each.created_at:%Y-%m-%d %H:%M}",
            " ".join(each.projects),
            ", ".join(column.title for column in each.columns),
        ]
        for each in found
    ]
    if rows:
        columns = ("Benchmark", "Edge", "Structures", "Made (UTC)", "Projects", "Compared")
        show_table(columns, rows, numbers="Structures")
    show(f"{counted(len(rows), 'benchmark')}.")


def _tell(result: Compared, output: Path, done: Computed | None, *, as_json: bool) -> None:
    document = result.document
    if as_json:
        computed = None
        if done is not None:
            computed = {
                "new": done.new,
                "known": done.known,
                "cpu_seconds": done.cpu_seconds,
                "failures": done.failures,
            }
        show_json(
            {
                "report": str(output),
                "computed": computed,
                "benchmark": document.model_dump(mode="json"),
            }
        )
        return
    _show_means(document)
    show(f"Benchmark {document.benchmark_id[:12]}. Report: {output}")


def _show_means(document: BenchmarkDoc) -> None:
    titles = {column.label: column.title for column in document.columns}
    rows = [
        [
            titles[mean.first],
            titles[mean.second],
            str(mean.structures),
            f"{mean.spearman:.4f}",
            f"{mean.pearson:.4f}",
            f"{mean.cosine:.4f}",
            f"{mean.shift:+.2f}",
        ]
        for mean in document.means
    ]
    if rows:
        columns = ("First", "Second", "Structures", "Spearman", "Pearson", "Cosine", "Shift (eV)")
        show_table(columns, rows, numbers="Structures,Spearman,Pearson,Cosine,Shift (eV)")
    references = {column.label for column in document.columns if column.kind == "reference"}
    for label, each in document.missing:
        if each.column not in references:
            show(f"not compared: {label} by {titles[each.column]}: {each.state}. {each.message}")
    for structure in document.structures:
        for pair in structure.pairs:
            if pair.warning is not None:
                show(f"doubtful: {structure.label}, {pair.first} and {pair.second}: {pair.warning}")


def _end(result: Compared, *, ran: bool) -> None:
    """Say what did not succeed, and end with the code that tells it."""
    codes = {column.label for column in result.document.columns if column.kind == "code"}
    lacking = [each for _, each in result.document.missing if each.column in codes]
    if ran and lacking:
        lost = counted(len(lacking), "spectrum", "spectra")
        say(f"Error: {lost} could not be computed; the page says why.", style="red")
        raise typer.Exit(1)
