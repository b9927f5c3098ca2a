"""A benchmark as a report: heat maps, tables and overlays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from nearedge import __version__
from nearedge.plots.figure import Curve, Figure, Role, pretty_formula, signed
from nearedge.plots.report import Heatmap, Report, Section, Table, Text, Tiles
from nearedge.schemas.benchmark import (
    BenchmarkDoc,
    BenchmarkPair,
    BenchmarkStructure,
)
from nearedge.spectra.alignment import shifted
from nearedge.spectra.comparison import MEASURES, Measure
from nearedge.spectra.onset import onset
from nearedge.spectra.spectrum import Spectrum

BELOW, ABOVE = 10.0, 10.0
"""eV that figures show below the onset and above the compared range."""

_TITLES: dict[Measure, str] = {
    "spearman": "Spearman rank correlation",
    "pearson": "Pearson correlation",
    "cosine": "Cosine similarity",
}
_PALEST = 0.9
"""Value of the palest colour, if no value is lower."""


def benchmark_report(
    document: BenchmarkDoc,
    spectra: Mapping[str, Mapping[str, Spectrum]],
    *,
    notices: Sequence[str] = (),
) -> Report:
    """Return the page of a benchmark.

    Parameters
    ----------
    document
        The benchmark.
    spectra
        What was compared, by structure's label and column.
    notices
        What the reader should know first.
    """
    codes = {column.label for column in document.columns if column.kind == "code"}
    missing = [(label, each) for label, each in document.missing if each.column in codes]
    told = [*notices]
    if missing:
        which = "; ".join(f"{label} by {each.column}" for label, each in missing[:12])
        more = f" and {len(missing) - 12} more" if len(missing) > 12 else ""
        told.append(f"Without a spectrum to compare: {which}{more}. Means leave them out.")
    return Report(
        title=f"Benchmark: {document.absorber} {document.edge} edge",
        lead=(
            f"{', '.join(column.title for column in document.columns)} against each other on "
            f"{_count(len(document.structures), 'structure')}."
        ),
        opening=[
            Tiles(_tiles(document)),
            *(Text(notice, notice=True) for notice in told),
        ],
        sections=[
            Section(_together(document), _overall(document)),
            *(
                Section(_heading(structure), _of_structure(document, structure, spectra))
                for structure in document.structures
            ),
            Section("How it was compared", _method(document)),
        ],
        footer=f"Made by nearedge {__version__}. This page needs no network.",
    )


def structure_figure(
    document: BenchmarkDoc, structure: BenchmarkStructure, spectra: Mapping[str, Spectrum]
) -> Figure | None:
    """Return a structure's spectra shifted onto the first of them, differences below.

    Every spectrum is scaled to a mean of one over the range that is compared. A spectrum that could
    not be aligned is left out, and the caption says so. None where fewer than two are left.
    """
    present = [column for column in document.columns if column.label in spectra]
    if not present:
        return None
    base = present[0].label
    start = onset(spectra[base])
    curves, left_out = [], []
    for column in present:
        spectrum, shift = spectra[column.label], None
        if column.label != base:
            pair = _find(structure, base, column.label)
            if pair is None or pair.shift is None:
                left_out.append(column.title)
                continue
            shift = pair.shift
            spectrum = shifted(spectrum, shift)
        curve = _scaled(spectrum, start, start + document.window)
        role = Role.REFERENCE if column.kind == "reference" else Role.OVERLAY
        curves.append(Curve(column.title, curve.energy, curve.absorption, role, shift=shift))
    if len(curves) < 2:
        return None
    caption = (
        f"Shifts are those of the highest cosine similarity, added to energies to lie on "
        f"{curves[0].label}; below, every curve minus that one."
    )
    if left_out:
        caption += f" Not alignable: {', '.join(left_out)}."
    return Figure(
        title=f"{_heading(structure)}, {document.absorber} {document.edge} edge",
        subtitle=f"aligned on {curves[0].label}",
        curves=tuple(curves),
        y_label="Absorption (mean of 1 in the window)",
        caption=caption,
        x_range=(start - BELOW, start + document.window + ABOVE),
    ).with_residuals(curves[0].label)


def mean_heatmap(document: BenchmarkDoc, measure: Measure = "spearman") -> Heatmap:
    """Return the mean matrix; each cell says over how many structures."""
    labels = [column.label for column in document.columns]
    found = {(mean.first, mean.second): mean for mean in document.means}
    found |= {(mean.second, mean.first): mean for mean in document.means}
    cells: list[list[tuple[float, str] | None]] = []
    for row in labels:
        line: list[tuple[float, str] | None] = []
        for column in labels:
            mean = found.get((row, column))
            if row == column and any(row in pair for pair in found):
                line.append((1.0, "1"))
            elif mean is None:
                line.append(None)
            else:
                value = float(getattr(mean, measure))
                over = f"\n{_count(mean.structures, 'structure')}"
                line.append((value, f"{value:.3f}{over if len(document.structures) > 1 else ''}"))
        cells.append(line)
    kind = "mean " if len(document.structures) > 1 else ""
    return _heatmap([column.title for column in document.columns], cells, measure, kind)


def structure_heatmap(
    document: BenchmarkDoc, structure: BenchmarkStructure, measure: Measure = "spearman"
) -> Heatmap:
    """Return one structure's matrix."""
    labels = [column.label for column in document.columns]
    cells: list[list[tuple[float, str] | None]] = []
    compared = {
        name for p in structure.pairs if p.shift is not None for name in (p.first, p.second)
    }
    for row in labels:
        line: list[tuple[float, str] | None] = []
        for column in labels:
            pair = _find(structure, row, column)
            value = None if pair is None else getattr(pair, measure)
            if row == column:
                line.append((1.0, "1") if row in compared else None)
            else:
                line.append(None if value is None else (float(value), f"{value:.3f}"))
        cells.append(line)
    return _heatmap([column.title for column in document.columns], cells, measure, "")


def _heatmap(
    labels: Sequence[str],
    cells: Sequence[Sequence[tuple[float, str] | None]],
    measure: Measure,
    kind: str,
) -> Heatmap:
    values = [cell[0] for row in cells for cell in row if cell is not None]
    low = min([_PALEST, *values])
    name = f"{kind}{_TITLES[measure]}"
    caption = f"{name[0].upper()}{name[1:]}; palest at {low:.2f}."
    return Heatmap(labels, cells, caption, low=low, high=1.0)


def _tiles(document: BenchmarkDoc) -> list[tuple[str, str]]:
    tiles = [
        ("Structures", str(len(document.structures))),
        ("Compared pairs", str(sum(mean.structures for mean in document.means))),
        ("Window", f"{document.window:g} eV"),
    ]
    if document.means:
        worst = min(document.means, key=lambda mean: mean.spearman)
        tiles.append(("Lowest mean Spearman", f"{worst.spearman:.3f}"))
    return tiles


def _together(document: BenchmarkDoc) -> str:
    return "All structures together" if len(document.structures) > 1 else "Every two of them"


def _overall(document: BenchmarkDoc) -> list[Text | Heatmap | Table]:
    if not document.means:
        return [Text("No two spectra could be compared.", notice=True)]
    titles = {column.label: column.title for column in document.columns}
    rows = [
        [
            f"{titles[mean.first]} – {titles[mean.second]}",
            str(mean.structures),
            f"{mean.spearman:.4f}",
            f"{mean.pearson:.4f}",
            f"{mean.cosine:.4f}",
            signed(mean.shift),
            f"{mean.shift_range:.2f}",
        ]
        for mean in document.means
    ]
    columns = (
        "Pair", "Structures", "Spearman", "Pearson", "Cosine", "Shift (eV)", "Range of shifts (eV)"
    )  # fmt: skip
    caption = "Means over the structures that have both; shifts are added to the second of a pair."
    if len(document.structures) == 1:  # the structure's own table says as much
        return [mean_heatmap(document)]
    return [mean_heatmap(document), Table(columns, rows, caption, frozenset(range(1, 7)))]


def _of_structure(
    document: BenchmarkDoc,
    structure: BenchmarkStructure,
    spectra: Mapping[str, Mapping[str, Spectrum]],
) -> list[Text | Table | Figure | Heatmap]:
    blocks: list[Text | Table | Figure | Heatmap] = []
    titles = {column.label: column.title for column in document.columns}
    references = {column.label for column in document.columns if column.kind == "reference"}
    absent = [each for each in structure.spectra if not each.compared]
    blocks += [
        Text(f"{titles[each.column]}: {each.state}. {each.message}", notice=True)
        for each in absent
        if each.column not in references
    ]
    without = [each.column for each in absent if each.column in references]
    if without:
        blocks.append(Text(f"No file was given of {', '.join(without)}."))
    figure = structure_figure(document, structure, spectra.get(structure.label, {}))
    if figure is not None:
        blocks.append(figure)
    several = len(document.structures) > 1 and len(structure.pairs) > 1
    if several and any(pair.shift is not None for pair in structure.pairs):
        blocks.append(structure_heatmap(document, structure))
    rows = [_pair_row(pair, titles) for pair in structure.pairs]
    if rows:
        columns = (
            "Pair", "Spearman", "Pearson", "Cosine", "Shift (eV)", "Compared (eV)", "Edges (eV)"
        )  # fmt: skip
        caption = (
            "Compared: the range on the axis of the first. Edges: steepest point of the second, "
            "shifted, minus that of the first."
        )
        blocks.append(Table(columns, rows, caption, frozenset(range(1, 7))))
    blocks += [
        Text(f"{titles[pair.first]} – {titles[pair.second]}: {pair.warning}", notice=True)
        for pair in structure.pairs
        if pair.warning is not None
    ]
    return blocks


def _pair_row(pair: BenchmarkPair, titles: Mapping[str, str]) -> list[str]:
    name = f"{titles[pair.first]} – {titles[pair.second]}"
    if pair.shift is None or pair.low is None or pair.high is None:
        return [name, *[""] * 6]
    values = [f"{getattr(pair, measure):.4f}" for measure in MEASURES]
    return [
        name,
        *values,
        signed(pair.shift),
        f"{pair.low:.1f} to {pair.high:.1f}".replace("-", "−"),
        signed(pair.edge_difference or 0.0),
    ]


def _method(document: BenchmarkDoc) -> list[Text | Table]:
    facts = [
        ["Benchmark", document.benchmark_id],
        ["Alignment", document.method],
        ["Window", f"{document.window:g} eV from each onset"],
        ["Broadening added", document.broadening or "none: as the codes gave them"],
    ]
    sources = [
        [
            structure.label,
            each.column,
            each.spectrum_id or each.source or "",
            each.state,
            each.content or "",
        ]
        for structure in document.structures
        for each in structure.spectra
    ]
    return [
        Text(
            "Each spectrum counts from the point where it passes 2 % of its maximum. One of two is "
            "shifted, in steps of 0.01 eV, until the cosine similarity of the two over the window "
            "is highest; correlations are those at that shift. Spearman judges best: the cosine "
            "hardly tells spectra apart."
        ),
        Table(("What", "Which"), facts),
        Table(
            ("Structure", "Column", "Spectrum or file", "State", "Hash of the values"),
            sources,
            "Every spectrum that was looked for",
            folded=True,
        ),
    ]


def _scaled(spectrum: Spectrum, low: float, high: float) -> Spectrum:
    inside = (spectrum.energy >= low) & (spectrum.energy <= high)
    mean = float(np.mean(np.interp(
        np.linspace(max(low, spectrum.energy[0]), min(high, spectrum.energy[-1]), 300),
        spectrum.energy,
        spectrum.absorption,
    )))  # fmt: skip
    factor = 1 / mean if inside.any() and mean > 0 else 1.0
    shown = (spectrum.energy >= low - 2 * BELOW) & (spectrum.energy <= high + 2 * ABOVE)
    if np.count_nonzero(shown) < 2:
        shown = np.full(len(spectrum), fill_value=True)
    return Spectrum(spectrum.energy[shown], spectrum.absorption[shown] * factor)


def _find(structure: BenchmarkStructure, one: str, other: str) -> BenchmarkPair | None:
    for pair in structure.pairs:
        if {pair.first, pair.second} == {one, other}:
            return pair
    return None


def _heading(structure: BenchmarkStructure) -> str:
    formula = pretty_formula(structure.formula)
    return formula if structure.label == structure.formula else f"{structure.label} ({formula})"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
