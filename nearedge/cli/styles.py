"""`styles train`, `list`, `show`, `plot`: what descriptors of structures do to spectra."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nearedge.cli import options as opt
from nearedge.cli.console import counted, only_data_on_stdout, progress, show, show_json, show_table

if TYPE_CHECKING:
    from nearedge.makers.learning.styles import OptionValue, StylesOutcome
    from nearedge.schemas.styles import StylesDoc

app = typer.Typer(
    no_args_is_help=True,
    help="Train, list, show and draw styles: what descriptors of structures do to spectra.",
)

_DESCRIBED_AT_A_TIME = 20

Name = Annotated[str, typer.Argument(help="Name or id of styles; of a name, the newest.")]


@app.command("train")
def train_styles(
    dataset: Annotated[str, typer.Argument(help="Name or id of a frozen data set.")],
    name: Annotated[
        str | None, typer.Option(help="Name of the styles; default: the data set's.")
    ] = None,
    parts: Annotated[str, typer.Option(help="Parts to learn from, as a,b.")] = "train",
    part: Annotated[
        str | None, typer.Option(help="Part to judge on; default: val, then test.")
    ] = None,
    descriptors: Annotated[
        str, typer.Option(help="Descriptors to follow, in this order.")
    ] = "CT,CN,OCN,RSTD,MOOD",
    seed: Annotated[int, typer.Option(help="Of every random choice.")] = 0,
    seeds: Annotated[
        int, typer.Option(min=1, max=100, help="Train so many, each with the next seed.")
    ] = 1,
    settings_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="An option of the training."),
    ] = None,
    as_json: opt.Json = False,
) -> None:
    """Train RankAAE's styles on a data set; a training that was stopped goes on."""
    opt.checked_project(name)
    changes = _changes(settings_ or [])
    from nearedge.cli.jobs_here import run_here
    from nearedge.makers.learning.describe import describe_structures
    from nearedge.makers.learning.styles import StylesMaker, style_options
    from nearedge.settings import get_settings
    from nearedge.store.connection import connect
    from nearedge.store.learned import DatasetStore

    settings = get_settings()
    style_options(changes)
    database = connect(settings)
    frozen = DatasetStore(database).get(dataset)
    keys = sorted({row.structure_key for row in frozen.rows})
    described = 0.0
    with only_data_on_stdout(), progress("Describing", len(keys)) as step:
        for start in range(0, len(keys), _DESCRIBED_AT_A_TIME):
            batch = keys[start : start + _DESCRIBED_AT_A_TIME]
            described += describe_structures(database, batch, frozen.absorber).cpu_seconds
            step(len(batch))
    outcomes = []
    with only_data_on_stdout(), progress("Training", seeds) as step:
        for number in range(seed, seed + seeds):
            maker = StylesMaker(
                styles=name,
                parts=tuple(opt.separated(parts)),
                part=part,
                descriptors=tuple(opt.separated(descriptors)),
                options=changes,
                seed=number,
            )
            outcomes.append(run_here(maker.make(frozen.dataset_id), settings))
            step(1)
    if as_json:
        show_json([outcome.model_dump(mode="json") for outcome in outcomes])
        return
    _show_outcomes(outcomes, described)


@app.command("list")
def list_styles(as_json: opt.Json = False) -> None:
    """List the styles, the newest first."""
    from nearedge.plots.styles import number
    from nearedge.store.connection import connect
    from nearedge.store.styles import StylesStore

    cards = StylesStore(connect()).list()
    if as_json:
        show_json([_facts(card) for card in cards])
        return
    show_table(
        ["Styles", "Id", "Edge", "Code", "Protocol", "Seed", "Spectra", "MAE", "Made"],
        [
            [
                card.name,
                card.styles_id,
                f"{card.absorber} {card.edge}",
                card.code,
                card.protocol,
                str(card.seed),
                str(card.training_rows),
                number((card.metrics or card.training)["mae"]),
                f"{card.created_at:%Y-%m-%d %H:%M}",
            ]
            for card in cards
        ],
        numbers="Seed,Spectra,MAE",
    )
    show(f"{counted(len(cards), 'set')} of styles.")


@app.command("show")
def show_styles(name: Name, as_json: opt.Json = False) -> None:
    """Show how well styles follow their descriptors."""
    from nearedge.plots.styles import COLUMNS, number, score_rows, title
    from nearedge.store.connection import connect
    from nearedge.store.styles import StylesStore

    card = StylesStore(connect()).get(name)
    if as_json:
        show_json(_facts(card))
        return
    show(f"{title(card)}: {card.name} ({card.styles_id}), seed {card.seed}.")
    show_table(COLUMNS, score_rows(card), numbers=",".join(COLUMNS[1:]))
    rows = [
        [what, number(card.metrics.get(key)), number(card.training[key])]
        for key, what in (
            ("inter_style", "Largest correlation of two styles"),
            ("mae", "Reconstruction MAE, edge step = 1"),
            ("spectra", "Spectra"),
        )
    ]
    show_table(["", "Held out", "Learned from"], rows, numbers="Held out,Learned from")
    show(
        f"Data set {card.dataset_id}; judged on {card.part or 'nothing that was held out'}; one "
        f"edge step is {card.scale:.4g} {card.unit}; {card.cpu_seconds:.0f} CPU seconds."
    )


@app.command("plot")
def plot_styles(
    name: Name,
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", parser=opt.given_path, metavar="<path>", help="An HTML file."
        ),
    ],
    as_json: opt.Json = False,
) -> None:
    """Draw spectra along each style, with the figures of `show`."""
    if output.suffix.lower() != ".html":
        raise typer.BadParameter(f"{output} must end in .html.", param_hint="--output")
    from nearedge.cli.files import written_whole
    from nearedge.plots.report import report_html
    from nearedge.plots.styles import styles_report
    from nearedge.store.connection import connect
    from nearedge.store.styles import StylesStore

    card = StylesStore(connect()).get(name)
    with written_whole(output) as draft:
        draft.write_text(report_html(styles_report(card)), encoding="utf-8")
    if as_json:
        show_json({"output": str(output), "styles_id": card.styles_id})
    else:
        show(f"{output}: styles {card.name}, seed {card.seed}.")


def _changes(given: list[str]) -> dict[str, OptionValue]:
    """Split ``NAME=VALUE``; values are numbers."""
    changes: dict[str, OptionValue] = {}
    for each in given:
        name, equals, value = each.partition("=")
        try:
            changes[name.strip()] = int(value) if value.strip().isdecimal() else float(value)
        except ValueError:
            equals = ""
        if not equals:
            raise typer.BadParameter(f"{each!r} is not NAME=NUMBER.", param_hint="--set")
    return changes


def _facts(card: StylesDoc) -> dict[str, object]:
    """Return a card without its spectra and losses."""
    return card.model_dump(mode="json", exclude={"tracks", "history"})


def _show_outcomes(outcomes: list[StylesOutcome], described: float) -> None:
    """Show the figures of every seed, and their mean and standard deviation over seeds."""
    import numpy as np

    keys = [key for key in outcomes[0].training if key != "spectra"]
    judged = [outcome.metrics or outcome.training for outcome in outcomes]
    rows = [
        [str(outcome.seed), *(f"{each[key].value:.3f}" for key in keys)]
        for outcome, each in zip(outcomes, judged, strict=True)
    ]
    if len(outcomes) > 1:
        values = np.array([[each[key].value for key in keys] for each in judged])
        rows.append(["mean", *(f"{value:.3f}" for value in values.mean(axis=0))])
        rows.append(["deviation", *(f"{value:.3f}" for value in values.std(axis=0, ddof=1))])
    names = [key.replace("spearman_", "") for key in keys]
    show_table(["Seed", *names], rows, numbers=",".join(names))
    first = outcomes[0]
    where = f"the part {first.part}" if first.part else "the spectra that were learned from"
    seconds = sum(outcome.cpu_seconds for outcome in outcomes)
    show(
        f"Styles {first.name}, judged on {where}: Spearman of each style with its descriptor, the "
        f"largest between two styles, and the reconstruction MAE (edge step = 1). {seconds:.0f} "
        f"CPU seconds, and {described:.0f} for descriptors."
    )
