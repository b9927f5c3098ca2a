"""`train`, `evaluate`, `predict`, `featurize`: learn from spectra and apply what was learned."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nearedge.cli import options as opt
from nearedge.cli.console import only_data_on_stdout, progress, show, show_json, show_table
from nearedge.cli.models import metric_text

if TYPE_CHECKING:
    from nearedge.models.prediction import AverageSpectrum, SiteSpectrum
    from nearedge.schemas.model import Metric

AbsorberOption = Annotated[
    str | None, typer.Option("--absorber", help="Absorbing element; default: the model's.")
]
AllSites = Annotated[
    bool, typer.Option("--all-sites", help="Every site, not only the symmetry-unique ones.")
]


def predict(
    model: Annotated[str, typer.Argument(help="Name of a model, or an exported folder.")],
    structures: opt.Files,
    absorber: AbsorberOption = None,
    all_sites: AllSites = False,
    plot: Annotated[
        Path | None, typer.Option("--plot", help="Also draw the averages: .html or .png.")
    ] = None,
    as_json: opt.Json = False,
) -> None:
    """Predict the spectra of structures, with standard deviations."""
    if plot is not None and plot.suffix.lower() not in (".html", ".png"):
        raise typer.BadParameter(f"{plot} must end in .html or .png.", param_hint="--plot")
    from nearedge.cli.applying import figure_of, predict_all
    from nearedge.cli.drawing import write_figures
    from nearedge.settings import get_settings

    with only_data_on_stdout(), progress("Predicting", len(structures)) as step:
        card, answers = predict_all(
            model,
            structures,
            absorber,
            all_sites=all_sites,
            settings=get_settings(),
            step=step,
        )
        if plot is not None:
            write_figures(plot, "NearEdge predictions", [figure_of(card, each) for each in answers])
    if as_json:
        show_json([answer.model_dump(mode="json") for answer in answers], indent=None)
        return
    rows = []
    for answer in answers:
        for site in answer.sites:
            rows.append([answer.structure, str(site.site), str(site.multiplicity), *_peak(site)])
        rows.append([answer.structure, "average", "", *_peak(answer.average)])
    show_table(
        ["Structure", "Site", "Sites like it", "Peak (eV)", f"Absorption there ({card.unit})"],
        rows,
        numbers="Site,Sites like it,Peak (eV)",
    )
    show("The spectra themselves: --json, or --plot FILE.")


def _peak(spectrum: SiteSpectrum | AverageSpectrum) -> tuple[str, str]:
    """Return the energy of the highest point, and the absorption there with its deviation."""
    highest = max(range(len(spectrum.energy)), key=spectrum.absorption.__getitem__)
    absorption = f"{spectrum.absorption[highest]:.4g} ± {spectrum.std[highest]:.2g}"
    return f"{spectrum.energy[highest]:.2f}", absorption


def featurize(
    structures: opt.Files,
    featurizer: Annotated[str, typer.Option(help="m3gnet or chgnet.")] = "m3gnet",
    absorber: Annotated[
        str | None, typer.Option("--absorber", help="Only sites of this element.")
    ] = None,
    all_sites: AllSites = False,
    as_json: opt.Json = False,
) -> None:
    """Compute the features of the sites of structures."""
    from nearedge.cli.applying import featurize_all
    from nearedge.settings import get_settings

    with only_data_on_stdout(), progress("Featurizing", len(structures)) as step:
        answers = featurize_all(
            featurizer,
            structures,
            absorber,
            all_sites=all_sites,
            settings=get_settings(),
            step=step,
        )
    if as_json:
        show_json([answer.model_dump(mode="json") for answer in answers], indent=None)
        return
    rows = []
    for answer in answers:
        for site in answer.sites:
            first = " ".join(f"{value:.4f}" for value in site.features[:4])
            rows.append([answer.structure, str(site.site), str(site.multiplicity), f"{first} …"])
    show_table(
        ["Structure", "Site", "Sites like it", "Features"], rows, numbers="Site,Sites like it"
    )


def train(
    dataset: Annotated[str, typer.Argument(help="Name or id of a frozen data set.")],
    featurizer: Annotated[str, typer.Option(help="m3gnet or chgnet.")] = "m3gnet",
    name: Annotated[
        str | None, typer.Option(help="Name of the model; default: the data set's.")
    ] = None,
    parts: Annotated[str, typer.Option(help="Parts to learn from, as a,b.")] = "train",
    seed: Annotated[int, typer.Option(help="Of every random choice.")] = 0,
    as_json: opt.Json = False,
) -> None:
    """Train the kernel model on a data set and put it into the registry."""
    opt.checked_project(name)
    learned_from = tuple(opt.separated(parts))
    if not learned_from:
        raise typer.BadParameter("name at least one part.", param_hint="--parts")
    from nearedge.cli.applying import featurize_stored
    from nearedge.cli.jobs_here import run_here
    from nearedge.makers.train import TrainMaker, part_numbers
    from nearedge.settings import get_settings
    from nearedge.store.connection import connect
    from nearedge.store.learned import DatasetStore

    settings = get_settings()
    frozen = DatasetStore(connect(settings)).get(dataset)
    part_numbers(frozen, learned_from)
    keys = sorted({row.structure_key for row in frozen.rows})
    with only_data_on_stdout():
        with progress("Featurizing", len(keys)) as step:
            featurize_stored(featurizer, keys, settings, step)
        maker = TrainMaker(model=name, featurizer=featurizer, parts=learned_from, seed=seed)
        outcome = run_here(maker.make(frozen.dataset_id), settings)
    if as_json:
        show_json(outcome.model_dump(mode="json"))
        return
    show(
        f"Model {outcome.name} ({outcome.model_id}) learned {outcome.training_rows} sites in "
        f"{outcome.cpu_seconds:.1f} CPU seconds."
    )
    _show_metrics(outcome.metrics)


def evaluate(
    model: Annotated[str, typer.Argument(help="Name or id of a model in the registry.")],
    part: Annotated[
        str | None, typer.Option(help="Part to judge on; default: val, then test.")
    ] = None,
    dataset: Annotated[
        str | None, typer.Option(help="Data set to judge on; default: the model's own.")
    ] = None,
    as_json: opt.Json = False,
) -> None:
    """Judge a model on spectra that it has not learned from."""
    from nearedge.cli.jobs_here import run_here
    from nearedge.makers.evaluate import EvaluateMaker
    from nearedge.settings import get_settings
    from nearedge.store.connection import connect

    settings = get_settings()
    connect(settings)
    with only_data_on_stdout():
        outcome = run_here(EvaluateMaker(part=part).make(model, dataset), settings)
    if as_json:
        show_json(outcome.model_dump(mode="json"))
        return
    show(f"Model {outcome.name} on the part {outcome.part} of data set {outcome.dataset_id}:")
    _show_metrics(outcome.metrics)


def _show_metrics(metrics: Mapping[str, Metric]) -> None:
    show_table(
        ["Metric", "Value"], [[name, metric_text(metric)] for name, metric in metrics.items()]
    )
