"""`dataset create`, `list`, `show`: frozen data sets."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from typer.core import TyperCommand

from nearedge.cli import options as opt
from nearedge.cli.console import only_data_on_stdout, say, show, show_json, show_table

if TYPE_CHECKING:
    from nearedge.schemas import DatasetDoc, GridDoc

SPLIT_FILES = "--split-files"
_PARTS = ("train", "val", "test")

app = typer.Typer(no_args_is_help=True, help="Freeze, list and show data sets.")


class _ManySplitFiles(TyperCommand):
    """Lets `--split-files` take two or three files in a row, which click's options cannot."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        spread: list[str] = []
        taking = 0
        for arg in args:
            if taking and not arg.startswith("-"):
                spread += [SPLIT_FILES, arg]
                taking -= 1
            elif arg == SPLIT_FILES:
                taking = len(_PARTS)
            else:
                taking = 0
                spread.append(arg)
        return list(super().parse_args(ctx, spread))


@app.command("create", cls=_ManySplitFiles)
def create(
    name: Annotated[str, typer.Argument(help="Name of the data set.")],
    absorber: opt.Absorber,
    edge: opt.Edge = "K",
    code: opt.CodeFilter = None,
    protocol: opt.ProtocolFilter = None,
    formula: opt.FormulaFilter = None,
    elements: opt.ElementsFilter = None,
    chemsys: opt.ChemsysFilter = None,
    project: opt.ProjectFilter = None,
    unit: Annotated[
        str, typer.Option(help="normalized, angstrom^2 or '1e-3 bohr^2'.")
    ] = "1e-3 bohr^2",
    grid: Annotated[
        tuple[float, float, int] | None,
        typer.Option(help="START STEP POINTS in eV; default: OmniXAS's for the element."),
    ] = None,
    split: Annotated[
        Literal["random", "stratified", "formula", "all"],
        typer.Option(
            help="Draw materials; draw them so that those of few and of many sites are in each "
            "part alike; draw formulas; or train on everything."
        ),
    ] = "random",
    split_files: Annotated[
        list[Path] | None,
        typer.Option(
            SPLIT_FILES, help="TRAIN VAL [TEST]: files with a label a line, such as mp-1234_003."
        ),
    ] = None,
    aligned_to: Annotated[
        str | None,
        typer.Option(
            "--aligned-to",
            help="Data set of another code: its grid, moved to where these spectra rise.",
        ),
    ] = None,
    outlier_sigma: Annotated[
        float | None,
        typer.Option(
            "--outlier-sigma",
            min=0,
            help="Mark rows further than so many standard deviations from the mean of train; 0 "
            "marks none; default: OmniXAS's rule for the code.",
        ),
    ] = None,
    validation: Annotated[float, typer.Option(min=0, max=0.9, help="Share of materials.")] = 0.1,
    test: Annotated[float, typer.Option(min=0, max=0.9, help="Share of materials.")] = 0.1,
    seed: Annotated[int, typer.Option(help="Of the random division.")] = 0,
    as_json: opt.Json = False,
) -> None:
    """Freeze the site spectra that the filters find: rows, grid, unit and split, for good."""
    opt.checked_project(name)
    files = split_files or []
    if len(files) == 1:
        raise typer.BadParameter(
            "give TRAIN and VAL, and TEST if you like.", param_hint=SPLIT_FILES
        )
    if grid is not None and aligned_to is not None:
        raise typer.BadParameter("--grid and --aligned-to both say where the grid is.")
    if validation + test >= 1:
        raise typer.BadParameter("--validation and --test leave nothing to train on.")
    from nearedge.cli.selection import Filters
    from nearedge.errors import SpectrumError
    from nearedge.makers.learning.freeze import freeze_dataset
    from nearedge.makers.learning.splits import Split
    from nearedge.schemas import GridDoc as Grid
    from nearedge.spectra.spectrum import AbsorptionUnit
    from nearedge.store.connection import connect

    try:
        checked_unit = AbsorptionUnit(unit)
    except ValueError:
        known = ", ".join(repr(str(each)) for each in AbsorptionUnit)
        raise SpectrumError(f"There is no unit {unit!r}: choose one of {known}.") from None
    if grid is not None and (grid[1] <= 0 or grid[2] < 2):
        raise typer.BadParameter("the step must be positive, and points at least 2.")
    if files:
        chosen = Split.from_files(dict(zip(_PARTS, files, strict=False)))
    else:
        chosen = Split(kind=split, validation=validation, test=test, seed=seed)
    filters = Filters(absorber, edge, code, protocol, formula, elements, chemsys, project)
    with only_data_on_stdout():
        outcome = freeze_dataset(
            connect(),
            name,
            filters.spectra(),
            split=chosen,
            unit=checked_unit,
            grid=None if grid is None else Grid(start=grid[0], step=grid[1], points=grid[2]),
            aligned_to=aligned_to,
            outlier_sigma=outlier_sigma,
        )
    if as_json:
        show_json(outcome.model_dump(mode="json"))
        return
    parts = ", ".join(f"{count} {part}" for part, count in outcome.parts.items())
    show(
        f"Data set {name} ({outcome.dataset_id}): {parts}; {outcome.outliers} marked as outliers; "
        f"{_grid_text(outcome.grid)}."
    )
    for what, labels in (
        ("left out", [f"{label} ({why})" for label, why in outcome.left_out.items()]),
        ("named by the split, but not in the database", outcome.missing),
    ):
        if labels:
            say(f"{len(labels)} {what}: {'; '.join(labels[:5])}{' …' if len(labels) > 5 else ''}")


@app.command("list")
def list_datasets(as_json: opt.Json = False) -> None:
    """List the data sets, the newest first."""
    from nearedge.store.connection import connect
    from nearedge.store.learned import DatasetStore

    found = DatasetStore(connect()).list()
    if as_json:
        show_json([_facts(dataset) for dataset in found])
        return
    show_table(
        ["Data set", "Edge", "Code", "Protocol", "Rows", "Parts", "Made"],
        [
            [
                dataset.name,
                f"{dataset.absorber} {dataset.edge}",
                dataset.code,
                dataset.protocol,
                str(len(dataset.rows)),
                _parts(dataset),
                f"{dataset.created_at:%Y-%m-%d %H:%M}",
            ]
            for dataset in found
        ],
        numbers="Rows",
    )
    show(f"{len(found)} data sets.")


@app.command("show")
def show_dataset(
    name: Annotated[str, typer.Argument(help="Name or id; of a name, the newest.")],
    as_json: opt.Json = False,
) -> None:
    """Show a data set; its rows come with --json."""
    from nearedge.store.connection import connect
    from nearedge.store.learned import DatasetStore

    dataset = DatasetStore(connect()).get(name)
    if as_json:
        show_json(dataset.model_dump(mode="json"))
        return
    facts = [
        ("Data set", f"{dataset.name} ({dataset.dataset_id})"),
        ("Of", f"{dataset.absorber} {dataset.edge} by {dataset.code} {dataset.protocol}"),
        ("Rows", f"{len(dataset.rows)} of {len({row.group for row in dataset.rows})} materials"),
        ("Parts", _parts(dataset)),
        ("Grid", _grid_text(dataset.grid)),
        ("Unit", dataset.unit.value),
        ("Outliers", _outliers(dataset)),
        ("Query", str(dataset.query)),
        ("Made", f"{dataset.created_at:%Y-%m-%d %H:%M} UTC"),
    ]
    show_table(["", ""], [list(fact) for fact in facts])


def _facts(dataset: DatasetDoc) -> dict[str, object]:
    facts: dict[str, object] = dataset.model_dump(mode="json", exclude={"rows", "split"})
    facts["rows"] = len(dataset.rows)
    facts["parts"] = {part: len(numbers) for part, numbers in dataset.split.items()}
    return facts


def _parts(dataset: DatasetDoc) -> str:
    return ", ".join(f"{part} {len(numbers)}" for part, numbers in dataset.split.items())


def _outliers(dataset: DatasetDoc) -> str:
    if dataset.outlier_sigma is None:
        return "not marked"
    marked = sum(row.outlier for row in dataset.rows)
    return f"{marked} marked, beyond {dataset.outlier_sigma:g} standard deviations"


def _grid_text(grid: GridDoc) -> str:
    last = grid.start + grid.step * (grid.points - 1)
    return f"{grid.points} points from {grid.start:g} to {last:g} eV"
