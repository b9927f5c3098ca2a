"""`train`, `evaluate`, `predict`, `featurize`: learn from spectra and apply what was learned."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nearedge.cli import options as opt
from nearedge.cli.console import only_data_on_stdout, progress, show, show_json, show_table

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
        show_json([answer.model_dump(mode="json") for answer in answers])
        return
    rows = []
    for answer in answers:
        named = [(str(site.site), str(site.multiplicity), site) for site in answer.sites]
        for site, multiplicity, spectrum in [*named, ("average", "", answer.average)]:
            highest = max(range(len(spectrum.energy)), key=spectrum.absorption.__getitem__)
            peak = f"{spectrum.absorption[highest]:.4g} ± {spectrum.std[highest]:.2g}"
            rows.append(
                [answer.structure, site, multiplicity, f"{spectrum.energy[highest]:.2f}", peak]
            )
    show_table(
        ["Structure", "Site", "Sites like it", "Peak (eV)", f"Absorption there ({card.unit})"],
        rows,
        numbers="Site,Sites like it,Peak (eV)",
    )
    show("The spectra themselves: --json, or --plot FILE.")


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
        show_json([answer.model_dump(mode="json") for answer in answers])
        return
    rows = []
    for answer in answers:
        for site in answer.sites:
            first = " ".join(f"{value:.4f}" for value in site.features[:4])
            rows.append([answer.structure, str(site.site), str(site.multiplicity), f"{first} …"])
    show_table(
        ["Structure", "Site", "Sites like it", "Features"], rows, numbers="Site,Sites like it"
    )


def train() -> None:
    """Train."""


def evaluate() -> None:
    """Evaluate."""
