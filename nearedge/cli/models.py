"""`models list`, `show`, `compare`, `verify`, `export`: the registry of trained models."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nearedge.cli import options as opt
from nearedge.cli.console import only_data_on_stdout, show, show_json, show_table

if TYPE_CHECKING:
    from nearedge.schemas import GridDoc
    from nearedge.schemas.model import Metric

app = typer.Typer(
    no_args_is_help=True, help="List, show, compare, verify and export trained models."
)

Name = Annotated[str, typer.Argument(help="Name or id of a model; of a name, the newest.")]


@app.command("list")
def list_models(as_json: opt.Json = False) -> None:
    """List the models, the newest first."""
    from nearedge.store.connection import connect
    from nearedge.store.learned import ModelStore

    cards = ModelStore(connect()).list()
    if as_json:
        show_json([card.model_dump(mode="json") for card in cards])
        return
    show_table(
        ["Model", "Edge", "Code", "Protocol", "Features", "Head", "Rows", "Made"],
        [
            [
                card.name,
                f"{card.absorber} {card.edge}",
                card.code,
                card.protocol,
                card.featurizer.name,
                card.head,
                str(card.training_rows),
                f"{card.created_at:%Y-%m-%d %H:%M}",
            ]
            for card in cards
        ],
        numbers="Rows",
    )
    show(f"{len(cards)} models.")


@app.command("show")
def show_model(name: Name, as_json: opt.Json = False) -> None:
    """Show a model's card."""
    from nearedge.store.connection import connect
    from nearedge.store.learned import ModelStore

    card = ModelStore(connect()).card(name)
    if as_json:
        show_json(card.model_dump(mode="json"))
        return
    sets = [
        f"{each.label}: {each.rows} sites of {each.dataset_id}, {_grid_text(each.grid)}"
        for each in card.learned_from
    ]
    beside = [f"{block} ({width})" for block, width in card.inputs.items()]
    facts = [
        ("Model", f"{card.name} ({card.model_id})"),
        ("Of", f"{card.absorber} {card.edge} by {card.code} {card.protocol}"),
        ("Head", card.head),
        ("Features", f"{card.featurizer.name}, {card.featurizer.size} a site"),
        ("Weights of the features", card.featurizer.weights_sha256 or "none"),
        *(("Licence of the weights", text) for text in card.licences.values()),
        *(("Takes beside them", each) for each in beside),
        ("Unit", card.unit.value),
        *(("Learned", each) for each in sets),
        ("Trained on", f"{card.training_rows} sites in {card.cpu_seconds:.1f} CPU seconds"),
        ("Started from", card.parent or "nothing"),
        ("By", f"nearedge {card.code_version} at {card.created_at:%Y-%m-%d %H:%M} UTC"),
        ("Card", "intact" if card.intact else "of a release without digests: not checked"),
        *((f"Metric {key}", metric_text(value)) for key, value in card.metrics.items()),
        *((f"Option {key}", str(value)) for key, value in card.hyperparameters.items()),
        *((f"Seed of {key}", str(value)) for key, value in card.seeds.items()),
    ]
    show_table(["", ""], [list(fact) for fact in facts])


@app.command("compare")
def compare_models(
    models: Annotated[
        list[str],
        typer.Argument(help="Names or ids of models, two or more.", metavar="NAME NAME..."),
    ],
    part: Annotated[
        str | None,
        typer.Option(help="Part to compare on; default: val, then test, then materials left out."),
    ] = None,
    dataset: Annotated[
        str | None, typer.Option(help="Data set to compare on; default: the models' own.")
    ] = None,
    as_json: opt.Json = False,
) -> None:
    """Compare models on the same spectra, by a paired bootstrap over materials."""
    if len(models) < 2:
        raise typer.BadParameter("name two models or more.")
    from nearedge.errors import ModelError
    from nearedge.makers.learning.report import comparisons, judged_models
    from nearedge.store.connection import connect

    with only_data_on_stdout():
        found = judged_models(connect(), models, dataset, part)
    pairs = comparisons([judged for _, judged in found])
    if not pairs:
        raise ModelError(
            "The models were not judged on the same spectra: name a data set that is fit for all "
            "by --dataset, and a part that none has learned by --part."
        )
    if as_json:
        show_json(
            [
                {"first": first, "second": second, **pair.model_dump(mode="json")}
                for first, second, pair in pairs
            ]
        )
        return
    show_table(
        ["First", "Second", "Ratio of eta", "Difference of mean squared errors"],
        [
            [first, second, metric_text(pair.eta_ratio), metric_text(pair.mean_difference)]
            for first, second, pair in pairs
        ],
    )
    show("Above a ratio of one and below a difference of zero, the first is better.")


@app.command("verify")
def verify_models(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            help="Names or ids of models, or exported folders; default: all of the registry.",
            show_default=False,
        ),
    ] = None,
    as_json: opt.Json = False,
) -> None:
    """Check that cards and weights are what they were when they were made."""
    from nearedge.errors import NearEdgeError
    from nearedge.makers.learning.predict import open_model
    from nearedge.models.registry import unchecked
    from nearedge.store.connection import connect
    from nearedge.store.learned import ModelStore

    if not names:
        names = [card.model_id for card in ModelStore(connect()).list()]
    rows: list[list[str]] = []
    for name in names:
        try:
            card = open_model(name).card
            rows.append([card.name, card.model_id, "intact", unchecked(card) or ""])
        except NearEdgeError as error:
            rows.append([name, "", "damaged", str(error)])
    if as_json:
        show_json(
            [dict(zip(("name", "model_id", "state", "detail"), r, strict=True)) for r in rows]
        )
    else:
        show_table(["Model", "Id", "State", "Detail"], rows)
    if any(row[2] == "damaged" for row in rows):
        raise typer.Exit(1)


@app.command("export")
def export_model(
    name: Name,
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", parser=opt.given_path, metavar="<path>", help="Folder to write."
        ),
    ],
    as_json: opt.Json = False,
) -> None:
    """Write a model to a folder that `predict` takes on machines without a database."""
    from nearedge.cli.files import sentences
    from nearedge.models.registry import save_folder
    from nearedge.store.connection import connect
    from nearedge.store.learned import ModelStore

    (card, weights), *below = ModelStore(connect()).chain(name)
    with sentences(output):
        folder = save_folder(output, card, weights, below)
    if as_json:
        show_json({"output": str(folder), "model_id": card.model_id})
    else:
        show(f"{folder}: model {card.name}.")


def _grid_text(grid: GridDoc) -> str:
    last = grid.start + grid.step * (grid.points - 1)
    return f"{grid.start:g} to {last:g} eV in steps of {grid.step:g} eV"


def metric_text(metric: Metric) -> str:
    """Return a metric with its interval, where one was computed."""
    text = f"{metric.value:.4g}"
    if metric.low is None or metric.high is None:
        return text
    return f"{text} (95 % interval {metric.low:.4g} to {metric.high:.4g})"
