"""The demo's report: what was computed and learned, as rows for the terminal and as a page."""

from __future__ import annotations

import math
import platform
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from operator import attrgetter

import numpy as np

from nearedge import __version__
from nearedge.cli.demo_steps import CODE, EDGE, PROJECT, Learned, Task
from nearedge.cli.models import metric_text
from nearedge.cli.selection import structure_names
from nearedge.errors import SpectrumError
from nearedge.models.prediction import StructurePrediction
from nearedge.plots.figure import Curve, Figure, pretty_formula, unit_label
from nearedge.plots.report import Report, Section, Table, Text, Tiles
from nearedge.plots.spectra import INTERVAL, overlay_figure, prediction_figure, sites_figure
from nearedge.schemas import CalculationDoc, SpectrumDoc, SpectrumKind
from nearedge.store.queries import CalculationQuery
from nearedge.store.spectra_store import SpectraStore

SPECTRA_COLUMNS = ("Structure", "Formula", "Edge", "Different sites", "CPU s", "State")
MODEL_COLUMNS = ("Model", "Edge", "Features", "Sites learned", "Typical error", "η")
PREDICTION_COLUMNS = ("Structure", "Edge", "Site", "Peak (eV)", "Absorption there", "95 % interval")
_SHOWN = 60.0
"""eV above the first point of the spectra that figures show at first."""
_PACKAGES = ("feff10-rs", "lightshow", "pymatgen", "jobflow", "FireWorks", "matgl", "torch")


@dataclass(frozen=True)
class Findings:
    """Everything that the report tells.

    Parameters
    ----------
    new, known
        Sites that were computed now, and that were there already.
    wall_seconds
        Since the demo was started.
    notices
        What the reader should know first.
    """

    wanted: Sequence[Task]
    calculations: Sequence[CalculationDoc]
    spectra: Sequence[SpectrumDoc]
    names: dict[str, str]
    citations: dict[str, str]
    learned: Sequence[Learned]
    new: int
    known: int
    wall_seconds: float
    notices: Sequence[str]

    @property
    def cpu_seconds(self) -> float:
        """Of FEFF, whenever it ran."""
        return sum(each.cpu_seconds or 0.0 for each in self.calculations)

    def averages(self, absorber: str) -> list[SpectrumDoc]:
        """Return the averages of one absorber."""
        return [
            each
            for each in self.spectra
            if each.kind is SpectrumKind.AVERAGE and each.absorber == absorber
        ]


def gather(
    store: SpectraStore,
    wanted: Sequence[Task],
    learned: Sequence[Learned],
    *,
    new: int,
    known: int,
    wall_seconds: float,
    notices: Sequence[str],
) -> Findings:
    """Read from the store what the demo's project holds now."""
    calculations: list[CalculationDoc] = []
    spectra: list[SpectrumDoc] = []
    for task in wanted:
        query = task.query
        spectra += sorted(store.spectra(query), key=attrgetter("formula"))
        conditions = query.model_dump(include={"absorber", "edge", "code", "protocol", "project"})
        found = store.calculations(CalculationQuery(**conditions))
        calculations += sorted(found, key=attrgetter("formula"))
    citations = {}
    for structure in store.structures({each.structure_key for each in calculations}).values():
        citations[structure.source.label] = structure.source.citation or ""
    for task in wanted:
        for each in task.unseen:
            citations[each.source.label] = each.source.citation or ""
    return Findings(
        wanted,
        calculations,
        spectra,
        structure_names(store, spectra),
        citations,
        learned,
        new,
        known,
        wall_seconds,
        notices,
    )


def spectra_rows(findings: Findings) -> list[list[str]]:
    """Return a row for each crystal and absorber."""
    rows = []
    for task in findings.wanted:
        for loaded in task.computed:
            label = loaded.source.label
            of_this = [
                each
                for each in findings.calculations
                if each.absorber == task.absorber
                and findings.names.get(each.structure_key) == label
            ]
            seconds = sum(each.cpu_seconds or 0.0 for each in of_this)
            failed = sorted({each.state for each in of_this if not each.completed})
            state = ", ".join(failed) if failed else "completed" if of_this else "no spectrum"
            formula = pretty_formula(loaded.structure.composition.reduced_formula)
            edge = f"{task.absorber} {EDGE}"
            rows.append([label, formula, edge, str(len(of_this)), f"{seconds:.1f}", state])
    return rows


def model_rows(findings: Findings) -> list[list[str]]:
    """Return a row for each model; errors are of materials left out of the training in turn."""
    rows = []
    for learned in findings.learned:
        card, metrics = learned.card, learned.card.metrics
        eta = metric_text(metrics["cv_eta"]) if "cv_eta" in metrics else ""
        features = card.featurizer.name
        error = _typical_error(learned)
        edge = f"{card.absorber} {card.edge}"
        rows.append([card.name, edge, features, str(card.training_rows), error, eta])
    return rows


def _typical_error(learned: Learned) -> str:
    mse = learned.card.metrics.get("cv_median_mse")
    return "" if mse is None else f"{math.sqrt(mse.value):.2f} {unit_label(learned.card.unit)}"


def prediction_rows(findings: Findings) -> list[list[str]]:
    """Return a row for each predicted site, at the highest point of its spectrum."""
    rows = []
    for learned in findings.learned:
        for prediction in learned.predictions:
            for site in prediction.sites:
                top = int(np.argmax(site.absorption))
                value, half = site.absorption[top], INTERVAL * site.std[top]
                rows.append(
                    [
                        prediction.structure,
                        f"{learned.card.absorber} {learned.card.edge}",
                        f"{site.site} (×{site.multiplicity})",
                        f"{site.energy[top]:.2f}",
                        f"{value:.2f}",
                        f"{value - half:.2f} to {value + half:.2f}",
                    ]
                )
    return rows


def demo_report(findings: Findings) -> Report:
    """Return the page."""
    unit = unit_label(findings.learned[0].card.unit) if findings.learned else ""
    cached = (
        "Everything was known from an earlier run, and nothing was computed twice."
        if not findings.new
        else f"{findings.new} sites were computed now, {findings.known} were known."
    )
    return Report(
        title="NearEdge demo: from oxides to a predicted spectrum",
        lead=(
            "X-ray absorption spectra of titanium and copper oxides, computed with FEFF10 on every "
            f"symmetry-unique site, and a model that predicts one nobody computed here. {cached}"
        ),
        opening=[
            Tiles(
                [
                    ("Structures", str(len({each.structure_key for each in findings.spectra}))),
                    ("Site spectra", str(_sites(findings))),
                    ("FEFF, CPU seconds", f"{findings.cpu_seconds:.0f}"),
                    ("This run, seconds", f"{findings.wall_seconds:.0f}"),
                ]
            ),
            *(Text(notice, notice=True) for notice in findings.notices),
        ],
        sections=[
            Section("Computed spectra", _spectra_blocks(findings)),
            Section("What the models learned", _model_blocks(findings, unit)),
            Section("Predicted, not computed", _prediction_blocks(findings, unit)),
            Section("Where it comes from", _provenance(findings)),
        ],
        footer=f"Made by nearedge {__version__}. This page needs no network.",
    )


def _sites(findings: Findings) -> int:
    return sum(each.kind is SpectrumKind.SITE for each in findings.spectra)


def _spectra_blocks(findings: Findings) -> list[Table | Figure]:
    blocks: list[Table | Figure] = [
        Table(
            SPECTRA_COLUMNS,
            spectra_rows(findings),
            "Every symmetry-unique absorber is one FEFF calculation.",
            frozenset({3, 4}),
        )
    ]
    for task in findings.wanted:
        averages = findings.averages(task.absorber)
        if averages:
            blocks.append(_near_edge(overlay_figure(averages, names=findings.names)))
        for average in averages:
            members = [e for e in findings.spectra if e.structure_key == average.structure_key]
            members = [e for e in members if e.absorber == task.absorber]
            if len(members) > 2:
                blocks.append(_near_edge(sites_figure(members, names=findings.names)))
    return blocks


def _near_edge(figure: Figure) -> Figure:
    """Show the near edge first; the rest is there for who zooms out."""
    start = min(float(curve.energy[0]) for curve in figure.curves)
    return replace(figure, x_range=(start, start + _SHOWN))


def _model_blocks(findings: Findings, unit: str) -> list[Text | Table]:
    if not findings.learned:
        return [Text("No model could be trained; see `nearedge status`.", notice=True)]
    return [
        Text(
            "A Gaussian process with a Laplacian kernel on features of a frozen network. Its error "
            "is measured on each material in turn while the model has not seen that material: the "
            f"root of the median squared error, in {unit}. η compares it with always predicting "
            "the mean spectrum; one means no better. With so few materials both are rough, and "
            "the intervals wide."
        ),
        Table(MODEL_COLUMNS, model_rows(findings), "", frozenset({3})),
    ]


def _prediction_blocks(findings: Findings, unit: str) -> list[Text | Table | Figure]:
    rows = prediction_rows(findings)
    if not rows:
        return [Text("Nothing could be predicted.", notice=True)]
    caption = f"At each predicted spectrum's highest point; absorption in {unit}."
    blocks: list[Text | Table | Figure] = [
        Text(
            "This structure was kept away from FEFF and from training. The band is meant to hold "
            "95 % of the spectra of materials that the model has not seen; learned from so few, it "
            "may hold fewer (of published Cu spectra 94 % from five sites, 81 % from two)."
        )
    ]
    for learned in findings.learned:
        for prediction in learned.predictions:
            blocks.append(_prediction_figure(findings, learned, prediction))
    return [*blocks, Table(PREDICTION_COLUMNS, rows, caption, frozenset({3, 4, 5}))]


def _prediction_figure(
    findings: Findings, learned: Learned, prediction: StructurePrediction
) -> Figure:
    card, average = learned.card, prediction.average
    energy = np.array(average.energy)
    others = []
    for doc in findings.averages(card.absorber):
        name = findings.names.get(doc.structure_key, doc.formula)
        if doc.formula != _formula(learned, prediction.structure):
            continue
        try:
            spectrum = doc.to_spectrum().to_unit(card.unit)
        except SpectrumError:
            continue
        inside = (spectrum.energy >= energy[0]) & (spectrum.energy <= energy[-1])
        label = f"{name}, computed"
        others.append(Curve(label, spectrum.energy[inside], spectrum.absorption[inside]))
    return prediction_figure(
        f"{prediction.structure} ({pretty_formula(_formula(learned, prediction.structure))}), "
        f"{card.absorber} {card.edge} edge",
        energy,
        np.array(average.absorption),
        np.array(average.std),
        card.unit,
        others=others,
        subtitle=f"predicted by {card.name} from {card.training_rows} sites",
        caption="Thin: computed spectra of other structures with the same formula.",
    )


def _formula(learned: Learned, label: str) -> str:
    for each in learned.task.unseen:
        if each.source.label == label:
            return str(each.structure.composition.reduced_formula)
    return label


def _provenance(findings: Findings) -> list[Table]:
    facts = [["nearedge", __version__], ["Python", platform.python_version()]]
    for package in _PACKAGES:
        try:
            facts.append([package, version(package)])
        except PackageNotFoundError:
            facts.append([package, "not installed"])
    for calculation in findings.calculations[:1]:
        facts.append(["Code", f"{CODE} {calculation.code_version}"])
        facts.append(["Protocol", calculation.protocol])
    for learned in findings.learned:
        card = learned.card
        facts.append([f"Data set {PROJECT}-{card.absorber}", card.dataset_id])
        facts.append([f"Model {card.name}", card.model_id])
        facts.append([f"Weights of {card.featurizer.name}", card.featurizer.weights_sha256 or "—"])
    structures = [[name, citation] for name, citation in sorted(findings.citations.items())]
    return [
        Table(("What", "Which"), _once(facts), "Versions and identifiers."),
        Table(("Structure", "Published in"), structures, "Lattice constants and positions."),
        Table(
            ("Parameter", "Value", "Unit"),
            _parameters(findings),
            "Every parameter of the protocol, as the calculations record it",
            folded=True,
        ),
    ]


def _parameters(findings: Findings) -> list[list[str]]:
    if not findings.calculations:
        return []
    parameters = findings.calculations[0].parameters
    return [[name, str(p.value), p.unit or ""] for name, p in sorted(parameters.items())]


def _once(rows: list[list[str]]) -> list[list[str]]:
    return [list(row) for row in dict.fromkeys(tuple(row) for row in rows)]
