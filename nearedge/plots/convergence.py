"""A convergence as text, as a table, and as a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import PurePath

from nearedge import __version__
from nearedge.errors import SpectrumError
from nearedge.plots.figure import (
    Curve,
    Figure,
    absorption_label,
    ordered_colors,
    pretty_formula,
    signed,
    unique_labels,
)
from nearedge.plots.report import Command, Report, Section, Table, Text, Tiles
from nearedge.plots.trend import Panel, Trend
from nearedge.schemas import SpectrumDoc
from nearedge.schemas.convergence import (
    ConvergenceDoc,
    ConvergenceStep,
    ParameterConvergence,
    SettingValue,
)
from nearedge.spectra.alignment import align

COLUMNS = (
    "Value",
    "State",
    "Spearman",
    "Pearson",
    "MSE",
    "Agrees",
    "Shift (eV)",
    "Edge (eV)",
    "Fermi (eV)",
    "CPU s",
)
"""Of a parameter's steps; each compared with the step before that completed."""

_UNITS = {"angstrom": "Å", "1/angstrom": "1/Å"}
_BELOW, _ABOVE = 5.0, 45.0
"""eV around the steepest rise that a figure shows at first."""


def title(document: ConvergenceDoc) -> str:
    """Return what a convergence is of, in one line."""
    formula = pretty_formula(document.formula)
    label = PurePath(document.label).name  # of a file, without its folders
    name = formula if label == document.formula else f"{label} ({formula})"
    return (
        f"{document.code.upper()} on {name}, {document.absorber} {document.edge} edge, site "
        f"{document.absorbing_index}"
    )


def written(value: SettingValue, unit: str | None = None) -> str:
    """Return a setting's value as it is typed, with its unit."""
    if isinstance(value, list):
        text = "[" + ", ".join(f"{each:g}" for each in value) + "]"
    elif isinstance(value, float):
        text = f"{value:g}"
    else:
        text = str(value)
    return text if unit is None else f"{text} {_UNITS.get(unit, unit)}"


def set_options(document: ConvergenceDoc) -> str:
    """Return the chosen values as options of `nearedge submit`; empty where none is."""
    return " ".join(f"--set {name}={written(value)}" for name, value in document.chosen.items())


def verdict(parameter: ParameterConvergence) -> str:
    """Return one sentence on what became of a parameter."""
    unit = parameter.unit
    values = [written(value) for value in parameter.values]
    chosen = None if parameter.chosen is None else written(parameter.chosen, unit)
    match parameter.verdict:
        case "open":
            said = f"{parameter.name}: {len(parameter.steps)} of up to {len(values)} steps so far."
        case "converged":
            said = f"{parameter.name} is converged at {chosen}{_evidence(parameter)}."
        case "not_converged":
            said = (
                f"{parameter.name} is not converged within {', '.join(values)}; {chosen}, the last "
                "that gave a spectrum, is kept."
            )
        case "failed":
            said = f"{parameter.name}: no value gave a spectrum; the protocol's own is kept."
    failed = [f"{written(step.value)} ({step.state})" for step in parameter.failures]
    return f"{said} Failed: {', '.join(failed)}." if failed else said


def _evidence(parameter: ParameterConvergence) -> str:
    last = parameter.steps[-1]
    if last.comparison is None or last.comparison.identical:
        return ": no higher value of the list changes the spectrum"
    return f": the spectrum at {written(last.value, parameter.unit)} agrees with it"


def step_rows(parameter: ParameterConvergence) -> list[list[str]]:
    """Return the cells of `COLUMNS` for each step."""
    return [_row(step, parameter.unit) for step in parameter.steps]


def _row(step: ConvergenceStep, unit: str | None) -> list[str]:
    seconds = "" if step.cpu_seconds is None else f"{step.cpu_seconds:.1f}"
    found = step.comparison
    if found is None:
        return [written(step.value, unit), step.state, *[""] * 7, seconds]
    agrees = "identical" if found.identical else "yes" if found.agrees else "no"
    return [
        written(step.value, unit),
        step.state,
        f"{found.spearman:.4f}",
        f"{found.pearson:.4f}",
        f"{found.mse:.2e}",
        agrees,
        signed(found.shift),
        "" if found.edge_change is None else signed(found.edge_change),
        "" if found.fermi_change is None else signed(found.fermi_change),
        seconds,
    ]


def convergence_report(document: ConvergenceDoc, spectra: Mapping[str, SpectrumDoc]) -> Report:
    """Return the page of a convergence.

    Parameters
    ----------
    document
        Finished or not.
    spectra
        The steps' spectra by id; those that are not there are not drawn.
    """
    thresholds = document.thresholds
    steps = {step.calculation_id for each in document.parameters for step in each.steps}
    state = "converged" if document.converged else "not converged"
    opening: list[Tiles | Text | Command] = [
        Tiles(
            [
                ("Verdict", state if document.finished else "still running"),
                ("Calculations", str(len(steps))),
                ("CPU seconds", f"{document.cpu_seconds:.0f}"),
                ("Protocol", document.protocol),
            ]
        )
    ]
    if document.chosen:
        opening += [Text("The chosen values, to copy:"), Command(set_options(document))]
    return Report(
        title=f"Convergence of {title(document)}",
        lead=(
            f"Each parameter is raised until the spectra of two successive values agree after "
            f"alignment over {document.window:g} eV: Spearman at least {thresholds.spearman:g}, "
            f"mean squared error at most {thresholds.mse:g} of spectra scaled to a mean of one. "
            "The lower of the two values is kept while the next parameter is raised."
        ),
        opening=opening,
        sections=[
            Section(each.name, _blocks(document, each, spectra)) for each in document.parameters
        ],
        footer=(
            f"{document.code} {document.code_version}; convergence {document.convergence_id}; "
            f"nearedge {__version__}. CPU seconds are what a calculation cost when it was computed."
        ),
    )


def _blocks(
    document: ConvergenceDoc,
    parameter: ParameterConvergence,
    spectra: Mapping[str, SpectrumDoc],
) -> list[Text | Table | Figure | Trend]:
    blocks: list[Text | Table | Figure | Trend] = [Text(verdict(parameter))]
    blocks += [
        Text(f"{written(step.value, parameter.unit)}: {step.state}. {step.message}", notice=True)
        for step in parameter.steps
        if step.message
    ]
    if not parameter.steps:
        return blocks
    blocks.append(
        Table(
            COLUMNS,
            step_rows(parameter),
            "Each value against the one before that gave a spectrum. The shift lies in the energy "
            "axis alone and is taken out before shapes are compared; edge and Fermi level are what "
            "the code states, later minus earlier.",
            frozenset({2, 3, 4, 6, 7, 8, 9}),
        )
    )
    figure = _figure(parameter, spectra)
    if figure is not None:
        blocks.append(figure)
    if len(parameter.steps) > 1:
        blocks.append(_trend(document, parameter))
    return blocks


def _figure(parameter: ParameterConvergence, spectra: Mapping[str, SpectrumDoc]) -> Figure | None:
    """Return the steps' spectra, each shifted onto the last one, and their differences from it."""
    drawn = [step for step in parameter.steps if step.spectrum_id in spectra]
    if not drawn:
        return None
    documents = [spectra[str(step.spectrum_id)] for step in drawn]
    colors = ordered_colors(len(drawn))
    labels = unique_labels([_curve_label(step.value, parameter) for step in drawn])
    last = documents[-1].to_spectrum()
    curves = []
    for doc, color, label in zip(documents, colors, labels, strict=True):
        spectrum = doc.to_spectrum()
        curve = Curve(label, spectrum.energy, spectrum.absorption, color=color)
        if doc is not documents[-1]:
            try:
                shift = align(spectrum, last).shift
                curve = replace(curve, energy=curve.energy + shift, shift=shift)
            except SpectrumError:
                pass  # drawn where it is; the table says that it could not be compared
        curves.append(curve)
    edge = documents[-1].energy_reference.edge_energy
    figure = Figure(
        title=f"Spectra at each {parameter.name}",
        subtitle="shifted onto the last one; below: differences from it",
        curves=tuple(curves),
        y_label=absorption_label(documents[-1].unit),
        x_range=None if edge is None else (edge - _BELOW, edge + _ABOVE),
    )
    return figure.with_residuals(labels[-1]) if len(curves) > 1 else figure


def _curve_label(value: SettingValue, parameter: ParameterConvergence) -> str:
    chosen = " (chosen)" if value == parameter.chosen else ""
    return f"{written(value, parameter.unit)}{chosen}"


def _trend(document: ConvergenceDoc, parameter: ParameterConvergence) -> Trend:
    found = [step.comparison for step in parameter.steps]
    thresholds = document.thresholds
    unit = "" if parameter.unit is None else f" ({_UNITS.get(parameter.unit, parameter.unit)})"
    return Trend(
        title=f"What each step of {parameter.name} changes and costs",
        names=[written(step.value) for step in parameter.steps],
        x_label=f"{parameter.name}{unit}",
        panels=[
            Panel(
                "1 − Spearman",
                [None if each is None else 1.0 - each.spearman for each in found],
                threshold=1.0 - thresholds.spearman,
                logarithmic=True,
            ),
            Panel(
                "MSE",
                [None if each is None else each.mse for each in found],
                threshold=thresholds.mse,
                logarithmic=True,
            ),
            Panel("CPU seconds", _seconds(parameter.steps), bars=True),
        ],
        caption="Against the value before. Below both dashed lines two successive spectra agree.",
    )


def _seconds(steps: Sequence[ConvergenceStep]) -> list[float | None]:
    return [step.cpu_seconds for step in steps]
