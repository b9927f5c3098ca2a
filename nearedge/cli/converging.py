"""`converge`: raise a code's parameters one after the other until the spectrum stays as it is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nearedge.cli import options as opt
from nearedge.cli.console import counted, only_data_on_stdout, say, show, show_json, show_table
from nearedge.cli.relaxing import enqueue_relaxed, relaxation, relaxed_here

if TYPE_CHECKING:
    from nearedge.codes.protocols import Setting
    from nearedge.schemas.convergence import ConvergenceDoc
    from nearedge.settings import Settings
    from nearedge.structures.source import LoadedStructure

_STEP_NUMBERS = "Spearman,Pearson,MSE,Shift (eV),Edge (eV),Fermi (eV),CPU s"


def converge(
    structure: Annotated[
        str | None,
        typer.Argument(help="A structure file, or a Materials Project id.", show_default=False),
    ] = None,
    absorber: Annotated[
        str | None, typer.Option("--absorber", help="Absorbing element, such as Ti.")
    ] = None,
    edge: opt.Edge = "K",
    code: Annotated[str, typer.Option(help="Simulation code.")] = "feff",
    protocol: Annotated[
        str, typer.Option(help="What is not raised has its values; its thresholds count.")
    ] = "balanced",
    site: Annotated[
        int | None,
        typer.Option("--site", min=0, help="Absorbing site; default: the first absorber."),
    ] = None,
    parameters: Annotated[
        str | None,
        typer.Option("--parameters", help="Raise these, in this order, as a,b; default: all."),
    ] = None,
    values: Annotated[
        list[str] | None,
        typer.Option("--values", metavar="NAME=V1,V2,...", help="Other values for a parameter."),
    ] = None,
    project: opt.ProjectName = "default",
    rerun_failed: opt.RerunFailed = False,
    queue_only: Annotated[
        bool, typer.Option("--queue-only", help="Add it to the queue; `nearedge run` computes it.")
    ] = False,
    relax: opt.Relax = None,
    relax_mode: opt.RelaxModeOption = None,
    pressure: opt.Pressure = None,
    output: Annotated[
        Path | None, opt.path_option("--output", "-o", help="Report: an HTML file.")
    ] = None,
    as_list: Annotated[
        bool, typer.Option("--list", help="List the convergences that are known.")
    ] = False,
    as_json: opt.Json = False,
) -> None:
    """Raise a code's parameters one at a time until the spectrum stays as it is.

    Steps are ordinary calculations: what is known costs nothing, and what was stopped goes on.
    """
    if as_list:
        _list(as_json=as_json)
        return
    if structure is None:
        raise typer.BadParameter("name a structure file, or ask with --list.")
    if absorber is None:
        raise typer.BadParameter("name the absorbing element.", param_hint="--absorber")
    if output is not None:
        _check_output(output)
    relaxing = relaxation(relax, relax_mode, pressure, project=project, rerun_failed=rerun_failed)
    from nearedge.cli.submitting import refuse_missing_program
    from nearedge.settings import get_settings
    from nearedge.store.connection import connect
    from nearedge.workflows.converge import ConvergeFlowMaker, choose_site, submit_convergence

    settings = get_settings()
    maker = ConvergeFlowMaker.for_code(
        code,
        edge=edge,
        protocol=protocol,
        names=opt.separated(parameters) or None,
        values=_values(values or []),
        project=project,
    )
    refuse_missing_program(code)
    connect(settings)
    with only_data_on_stdout():
        loaded = _load(structure, absorber)
        index = choose_site(loaded, absorber, site)
    if relaxing is not None and queue_only:
        from nearedge.workflows.relaxed import ConvergenceOfRelaxed

        then = ConvergenceOfRelaxed(
            converge_flow_maker=maker, absorbing_index=index, rerun_failed=rerun_failed
        )
        enqueue_relaxed([loaded], relaxing, then, as_json=as_json)
        return
    with only_data_on_stdout():
        if relaxing is not None:
            (loaded,) = relaxed_here([loaded], relaxing, workers=1)
        submitted = submit_convergence(
            maker, loaded, index, rerun_failed=rerun_failed, settings=settings
        )
    document = submitted.document
    if submitted.state != "known" and not queue_only:
        document = _compute(document, settings)
    if output is not None:
        _write(document, output, settings)
    if as_json:
        show_json(document.model_dump(mode="json"))
    else:
        _show(document)
    if not document.finished and not queue_only:
        say(
            "Error: it is not finished: `nearedge status` shows why; the same command goes on "
            "where it stopped.",
            style="red",
        )
        raise typer.Exit(1)


def _load(structure: str, absorber: str) -> LoadedStructure:
    from nearedge.cli.submitting import read_structures
    from nearedge.errors import StructureError
    from nearedge.structures.source import Refusal

    loaded = read_structures([structure], absorber)
    if len(loaded) != 1:
        raise StructureError(
            f"{structure} holds {len(loaded)} structures: a convergence is of one; name a file."
        )
    (only,) = loaded
    if isinstance(only, Refusal):
        raise StructureError(f"{only.label} is refused: {only.reason}")
    return only


def _values(given: list[str]) -> dict[str, list[Setting]]:
    """Read NAME=V1,V2,... as lists of YAML values by name."""
    import yaml

    found: dict[str, list[Setting]] = {}
    for text in given:
        name, equals, listed = text.partition("=")
        try:
            read = yaml.safe_load(f"[{listed}]") if equals else None
        except yaml.YAMLError:
            read = None
        if not read or not name:
            raise typer.BadParameter(f"{text!r} is not NAME=V1,V2,...", param_hint="--values")
        found[name] = read
    return found


def _compute(document: ConvergenceDoc, settings: Settings) -> ConvergenceDoc:
    """Work the queue as far as it is about this convergence, and return what came of it."""
    from nearedge.cli.running import work_for_command
    from nearedge.store.connection import connect
    from nearedge.store.convergences import ConvergenceStore

    about = {"convergence_id": document.convergence_id}
    work_for_command(settings, 1, about, title="Converging")
    return ConvergenceStore(connect(settings)).get(document.convergence_id) or document


def _check_output(output: Path) -> None:
    from nearedge.cli.files import refuse_folder

    if output.suffix.lower() != ".html":
        raise typer.BadParameter(f"{output} must end in .html.", param_hint="--output")
    refuse_folder(output)


def _write(document: ConvergenceDoc, output: Path, settings: Settings) -> None:
    from nearedge.cli.files import written_whole
    from nearedge.plots.convergence import convergence_report
    from nearedge.plots.report import report_html
    from nearedge.store.queries import SpectrumQuery
    from nearedge.store.spectra_store import SpectraStore

    ids = [step.spectrum_id for each in document.parameters for step in each.steps]
    query = SpectrumQuery(spectrum_ids=[each for each in ids if each is not None])
    spectra = {
        each.spectrum_id: each for each in SpectraStore.from_settings(settings).spectra(query)
    }
    with written_whole(output) as draft:
        draft.write_text(report_html(convergence_report(document, spectra)), encoding="utf-8")


def _show(document: ConvergenceDoc) -> None:
    from nearedge.plots.convergence import COLUMNS, set_options, step_rows, title, verdict

    thresholds = document.thresholds
    show(
        f"{title(document)}, {document.protocol}: Spearman at least {thresholds.spearman:g}, MSE "
        f"at most {thresholds.mse:g}."
    )
    for parameter in document.parameters:
        if parameter.steps:
            show_table(COLUMNS, step_rows(parameter), title=parameter.name, numbers=_STEP_NUMBERS)
        show(verdict(parameter))
    if document.chosen:
        show(set_options(document))
    state = "" if document.finished else "; not finished"
    show(f"{document.cpu_seconds:.0f} CPU seconds in all{state}.")


def _list(*, as_json: bool) -> None:
    from nearedge.plots.convergence import written
    from nearedge.store.abbreviated import SHOWN
    from nearedge.store.connection import connect
    from nearedge.store.convergences import ConvergenceStore

    found = ConvergenceStore(connect()).listing()
    if as_json:
        show_json([each.model_dump(mode="json") for each in found])
        return
    rows = []
    for each in found:
        verdict = "converged" if each.converged else "not converged"
        state = verdict if each.finished else "running"
        chosen = " ".join(f"{name}={written(value)}" for name, value in each.chosen.items())
        rows.append(
            [each.convergence_id[:SHOWN], f"{each.label} {each.absorber}{each.absorbing_index}",
             each.edge, each.code, each.protocol, state, f"{each.cpu_seconds:.0f}", chosen]
        )  # fmt: skip
    if rows:
        columns = ["Convergence", "Site", "Edge", "Code", "Protocol", "State", "CPU s", "Chosen"]
        show_table(columns, rows, numbers="CPU s")
    show(f"{counted(len(rows), 'convergence')}.")
