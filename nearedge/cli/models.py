"""`models list`, `show`, `export`: the registry of trained models."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nearedge.cli import options as opt
from nearedge.cli.console import show, show_json, show_table

if TYPE_CHECKING:
    from nearedge.schemas.model import Metric

app = typer.Typer(no_args_is_help=True, help="List, show and export trained models.")

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
    grid = card.grid
    last = grid.start + grid.step * (grid.points - 1)
    facts = [
        ("Model", f"{card.name} ({card.model_id})"),
        ("Of", f"{card.absorber} {card.edge} by {card.code} {card.protocol}"),
        ("Head", card.head),
        ("Features", f"{card.featurizer.name}, {card.featurizer.size} a site"),
        ("Weights of the features", card.featurizer.weights_sha256 or "none"),
        ("Grid", f"{grid.start:g} to {last:g} eV in steps of {grid.step:g} eV"),
        ("Unit", card.unit.value),
        ("Data set", card.dataset_id),
        ("Trained on", f"{card.training_rows} sites in {card.cpu_seconds:.1f} CPU seconds"),
        ("By", f"nearedge {card.code_version} at {card.created_at:%Y-%m-%d %H:%M} UTC"),
        *((f"Metric {key}", metric_text(value)) for key, value in card.metrics.items()),
        *((f"Option {key}", str(value)) for key, value in card.hyperparameters.items()),
    ]
    show_table(["", ""], [list(fact) for fact in facts])


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

    card, weights = ModelStore(connect()).get(name)
    with sentences(output):
        folder = save_folder(output, card, weights)
    if as_json:
        show_json({"output": str(folder), "model_id": card.model_id})
    else:
        show(f"{folder}: model {card.name}.")


def metric_text(metric: Metric) -> str:
    """Return a metric with its interval, where one was computed."""
    text = f"{metric.value:.4g}"
    if metric.low is None or metric.high is None:
        return text
    return f"{text} (95 % interval {metric.low:.4g} to {metric.high:.4g})"
