"""`evaluate`, `predict`, `featurize`: judge and apply what was learned."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nearedge.cli import options as opt
from nearedge.cli.console import only_data_on_stdout, progress, say, show, show_json, show_table
from nearedge.cli.models import metric_text
from nearedge.cli.training import FeatureWorkers

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
    workers: FeatureWorkers = None,
    as_json: opt.Json = False,
) -> None:
    """Predict the spectra of structures, and say how far to trust them.

    "Error below" is what the root-mean-square error of 95 % of spectra stays below, "Distance" how
    far the site is from all that the model learned, and "Outside" marks what is unlike all of it.
    """
    if plot is not None and plot.suffix.lower() not in (".html", ".png"):
        raise typer.BadParameter(f"{plot} must end in .html or .png.", param_hint="--plot")
    from nearedge.cli.applying import figure_of, predict_all
    from nearedge.cli.drawing import write_figures
    from nearedge.models.registry import unchecked
    from nearedge.settings import get_settings

    with only_data_on_stdout(), progress("Predicting", len(structures)) as step:
        card, answers = predict_all(
            model,
            structures,
            absorber,
            all_sites=all_sites,
            settings=get_settings(),
            step=step,
            workers=workers,
        )
        if plot is not None:
            write_figures(plot, "NearEdge predictions", [figure_of(card, each) for each in answers])
    if (note := unchecked(card)) is not None:
        say(note, style="yellow")
    if as_json:
        show_json([answer.model_dump(mode="json") for answer in answers], indent=None)
        return
    rows = []
    for answer in answers:
        for site in answer.sites:
            where = [answer.structure, str(site.site), str(site.multiplicity)]
            outside = "yes" if site.outside else ""
            rows.append([*where, *_peak(site), f"{site.distance:.2f}", outside])
        outside = "yes" if answer.average.outside else ""
        rows.append([answer.structure, "average", "", *_peak(answer.average), "", outside])
    columns = ("Structure", "Site", "Like it", "Peak (eV)", f"There ({card.unit})", "Error below")
    show_table(
        [*columns, "Distance", "Outside"],
        rows,
        numbers="Site,Like it,Peak (eV),Error below,Distance",
    )
    for answer in answers:
        for site in answer.sites:
            for reason in site.outside:
                show(f"{answer.structure}, site {site.site} is outside: {reason}.")
    origins = [site.input_spectrum for answer in answers for site in answer.sites]
    if any(origins):
        show(
            f"The spectra that the model takes: {origins.count('computed')} computed, "
            f"{origins.count('predicted')} predicted."
        )
    show("The spectra themselves: --json, or --plot FILE.")


def _peak(spectrum: SiteSpectrum | AverageSpectrum) -> list[str]:
    """Return the energy of the highest point, the absorption there, and the bound on the error."""
    highest = max(range(len(spectrum.energy)), key=spectrum.absorption.__getitem__)
    absorption = f"{spectrum.absorption[highest]:.4g} ± {spectrum.std[highest]:.2g}"
    bound = "" if spectrum.error_bound is None else f"{spectrum.error_bound:.2g}"
    return [f"{spectrum.energy[highest]:.2f}", absorption, bound]


def featurize(
    structures: opt.Files,
    featurizer: Annotated[str, typer.Option(help="As `train` takes it.")] = "m3gnet",
    absorber: Annotated[
        str | None, typer.Option("--absorber", help="Only sites of this element.")
    ] = None,
    all_sites: AllSites = False,
    workers: FeatureWorkers = None,
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
            workers=workers,
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


def evaluate(
    models: Annotated[list[str], typer.Argument(help="Names or ids of models in the registry.")],
    part: Annotated[
        str | None, typer.Option(help="Part to judge on; default: val, then test.")
    ] = None,
    dataset: Annotated[
        str | None, typer.Option(help="Data set to judge on; default: the model's own.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", help="Also write a page about them: .html.")
    ] = None,
    learning_curve: Annotated[
        int, typer.Option("--learning-curve", min=0, help="Steps to train for the page's curve.")
    ] = 0,
    as_json: opt.Json = False,
) -> None:
    """Judge models on spectra that they have not learned from."""
    if output is not None and output.suffix.lower() != ".html":
        raise typer.BadParameter(f"{output} must end in .html.", param_hint="--output")
    if learning_curve and output is None:
        raise typer.BadParameter("it is drawn on the page: name one by --output.")
    from nearedge.cli.evaluating import write_evaluation
    from nearedge.cli.jobs_here import run_here
    from nearedge.makers.learning.evaluate import EvaluateMaker
    from nearedge.settings import get_settings
    from nearedge.store.connection import connect

    settings = get_settings()
    connect(settings)
    with only_data_on_stdout():
        if output is None:
            outcomes = [
                run_here(EvaluateMaker(part=part).make(model, dataset), settings)
                for model in models
            ]
        else:
            outcomes = write_evaluation(
                output, models, settings, dataset=dataset, part=part, curve_steps=learning_curve
            )
    if as_json:
        said = [outcome.model_dump(mode="json") for outcome in outcomes]
        show_json(said if len(said) > 1 else said[0])
        return
    for outcome in outcomes:
        show(f"Model {outcome.name} on the part {outcome.part} of data set {outcome.dataset_id}:")
        _show_metrics(outcome.metrics)
    if output is not None:
        show(f"Wrote {output}.")


def _show_metrics(metrics: Mapping[str, Metric]) -> None:
    show_table(
        ["Metric", "Value"], [[name, metric_text(metric)] for name, metric in metrics.items()]
    )
