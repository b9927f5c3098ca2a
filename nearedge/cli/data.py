"""`query`, `plot`, `export`: find what is in the database and take it out."""

from __future__ import annotations

import sys
from operator import attrgetter
from pathlib import Path
from typing import Annotated, Literal

import typer

from nearedge.cli import options as opt
from nearedge.cli.console import counted, progress, say, show, show_json, show_table

_TABLE_ROWS = 50
_NOTHING = "No spectrum in the database fits; `nearedge query` lists what is there."


def query(
    absorber: opt.AbsorberFilter = None,
    edge: opt.EdgeFilter = None,
    code: opt.CodeFilter = None,
    protocol: opt.ProtocolFilter = None,
    formula: opt.FormulaFilter = None,
    elements: opt.ElementsFilter = None,
    chemsys: opt.ChemsysFilter = None,
    project: opt.ProjectFilter = None,
    structure_id: opt.StructureIdFilter = None,
    state: opt.StateFilter = None,
    kind: opt.KindFilter = None,
    limit: Annotated[
        int | None,
        typer.Option(min=1, max=opt.MOST, help="At most so many; a table shows 50 unless told."),
    ] = None,
    skip: opt.Skip = 0,
    calculations: Annotated[
        bool, typer.Option("--calculations", help="List calculations, failed ones too.")
    ] = False,
    count: Annotated[
        bool, typer.Option("--count", help="Say how many fit, and list none of them.")
    ] = False,
    as_json: opt.Json = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV and nothing else.")] = False,
) -> None:
    """List spectra, or with --calculations what was run; arrays come with `export`."""
    from nearedge.cli.listing import calculation_rows, csv_text, spectrum_rows, summary, table_of
    from nearedge.cli.selection import Filters
    from nearedge.store.spectra_store import SpectraStore

    if as_json and as_csv:
        raise typer.BadParameter("choose --json or --csv, not both.")
    if count and (as_csv or skip or limit is not None):
        raise typer.BadParameter("--count goes with conditions and --json only.")
    if calculations and kind is not None:
        raise typer.BadParameter("--kind is for spectra: a calculation is always of one site.")
    filters = Filters(
        absorber, edge, code, protocol, formula, elements, chemsys, project, structure_id, state
    )
    store = SpectraStore.from_settings()
    if limit is None and not (as_json or as_csv):
        limit = _TABLE_ROWS
    what = "calculations" if calculations else "spectra"
    if count:
        total = store.count(filters.calculations() if calculations else filters.spectra(kind))
        show_json({what: total}) if as_json else show(f"{total} {what}.")
        return
    if calculations:
        page = calculation_rows(store, filters.calculations(), limit=limit, skip=skip)
    else:
        page = spectrum_rows(store, filters.spectra(kind), limit=limit, skip=skip)
    if as_json:
        show_json(page.rows)
    elif as_csv:
        sys.stdout.write(csv_text(page.rows, calculations=calculations))
    else:
        if page.rows:
            columns, cells = table_of(page.rows, calculations=calculations)
            show_table(columns, cells, numbers="Site,CPU s")
        show(summary(page, skip, what))


def plot(
    ids: opt.SpectrumIds = None,
    absorber: opt.AbsorberFilter = None,
    edge: opt.EdgeFilter = None,
    code: opt.CodeFilter = None,
    protocol: opt.ProtocolFilter = None,
    formula: opt.FormulaFilter = None,
    elements: opt.ElementsFilter = None,
    chemsys: opt.ChemsysFilter = None,
    project: opt.ProjectFilter = None,
    structure_id: opt.StructureIdFilter = None,
    state: opt.StateFilter = None,
    kind: opt.KindFilter = None,
    limit: opt.Limit = 60,
    output: opt.OutputFile = Path("spectra.html"),
    relative: Annotated[
        bool, typer.Option("--relative", help="Count energies from each spectrum's own edge.")
    ] = False,
    align: Annotated[
        bool, typer.Option("--align", help="Shift an overlay onto its first; print the shifts.")
    ] = False,
    residuals: Annotated[
        bool, typer.Option("--residuals", help="Draw differences from an overlay's first below it.")
    ] = False,
    broaden: opt.Broaden = None,
    as_json: opt.Json = False,
) -> None:
    """Draw spectra: sites under their average, or several structures and codes over each other."""
    suffix = output.suffix.lower()
    if suffix not in (".html", ".png"):
        raise typer.BadParameter(f"{output} must end in .html or .png.", param_hint="--output")
    if relative and (align or residuals):
        raise typer.BadParameter(
            "energies counted from each edge are neither shifted nor subtracted; choose one.",
            param_hint="--relative with --align or --residuals",
        )
    from nearedge.cli.drawing import write_figures
    from nearedge.cli.selection import Filters, broadening_of, structure_names
    from nearedge.errors import SpectrumError
    from nearedge.plots.spectra import figures
    from nearedge.store.spectra_store import SpectraStore

    as_asked = broadening_of(broaden)
    filters = Filters(
        absorber, edge, code, protocol, formula, elements, chemsys, project, structure_id, state
    )
    store = SpectraStore.from_settings()
    wanted = filters.spectra(kind, store.whole_ids(ids or []))
    found = list(store.spectra(wanted, limit=None if limit is None else limit + 1))
    if not found:
        raise SpectrumError(_NOTHING)
    documents = [as_asked(each) for each in sorted(found[:limit], key=attrgetter("formula"))]
    drawn = figures(
        documents,
        names=structure_names(store, documents),
        relative=relative,
        aligned=align,
        residuals=residuals,
    )
    title = "NearEdge spectra" if broaden is None else f"NearEdge spectra, broadened by {broaden}"
    write_figures(output, title, drawn)
    if limit is not None and len(found) > limit:
        say(f"More than {limit} spectra fit; so many were drawn (see --limit).", style="yellow")
    curves = sum(len(figure.curves) for figure in drawn)
    if as_json:
        show_json({"output": str(output), "figures": len(drawn), "curves": curves})
    else:
        show(f"{output}: {counted(curves, 'curve')} in {counted(len(drawn), 'figure')}.")


def export(
    ids: opt.SpectrumIds = None,
    absorber: opt.AbsorberFilter = None,
    edge: opt.EdgeFilter = None,
    code: opt.CodeFilter = None,
    protocol: opt.ProtocolFilter = None,
    formula: opt.FormulaFilter = None,
    elements: opt.ElementsFilter = None,
    chemsys: opt.ChemsysFilter = None,
    project: opt.ProjectFilter = None,
    structure_id: opt.StructureIdFilter = None,
    state: opt.StateFilter = None,
    kind: opt.KindFilter = None,
    limit: opt.Limit = None,
    skip: opt.Skip = 0,
    broaden: opt.Broaden = None,
    file_format: Annotated[
        Literal["xdi", "csv", "json", "xasdoc"],
        typer.Option("--format", help="xdi: a folder of files; the others: one file."),
    ] = "xdi",
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            parser=opt.given_path,
            metavar="<path>",
            help="Folder for xdi, file for the other formats.",
        ),
    ] = ...,  # type: ignore[assignment]
    as_json: opt.Json = False,
) -> None:
    """Write spectra with their arrays in a format that others read."""
    from nearedge.cli.exporting import write_spectra
    from nearedge.cli.selection import Filters, broadening_of
    from nearedge.errors import SpectrumError
    from nearedge.store.spectra_store import SpectraStore

    as_asked = broadening_of(broaden)
    filters = Filters(
        absorber, edge, code, protocol, formula, elements, chemsys, project, structure_id, state
    )
    store = SpectraStore.from_settings()
    wanted = filters.spectra(kind, store.whole_ids(ids or []))
    found = store.count(wanted, most=None if limit is None else skip + limit)
    if found == 0:
        raise SpectrumError(_NOTHING)
    if skip >= found:
        raise SpectrumError(f"{found} spectra fit, and --skip {skip} leaves out all of them.")
    with progress("Exporting", found - skip) as step:
        spectra = (as_asked(each) for each in store.spectra(wanted, limit=limit, skip=skip))
        written = write_spectra(store, spectra, file_format, output, step)
    if as_json:
        show_json({"output": str(output), "format": file_format, "spectra": written})
    else:
        show(f"{output}: {counted(written, 'spectrum', 'spectra')} as {file_format}.")
