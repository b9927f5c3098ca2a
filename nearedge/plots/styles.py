"""Trained styles as text, as a table, and as a page."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nearedge import __version__
from nearedge.plots.figure import Curve, Figure, absorption_label, ordered_colors, unique_labels
from nearedge.plots.report import Block, Heatmap, Report, Section, Table, Text, Tiles
from nearedge.schemas.model import Metric
from nearedge.schemas.styles import StylesDoc, StyleTrack
from nearedge.spectra.grid import Grid
from nearedge.structures.environment import UNITS

COLUMNS = ("Descriptor", "Held out", "95 % interval", "Learned from", "Sites without it")
"""Of the table of Spearman correlations between each style and its descriptor."""

MEANINGS = {
    "CT": "charge",
    "CN": "coordination number",
    "OCN": "coordination number of the oxygen neighbours",
    "RSTD": "spread of the neighbours' distances",
    "MOOD": "least distance between two neighbours",
}


def title(card: StylesDoc) -> str:
    """Return what styles are of, in one line."""
    return f"Styles of {card.absorber} {card.edge} by {card.code.upper()} {card.protocol}"


def followed(card: StylesDoc) -> list[str]:
    """Return the descriptors that the styles follow."""
    return list(card.undefined)


def score_rows(card: StylesDoc) -> list[list[str]]:
    """Return the cells of `COLUMNS` for each descriptor."""
    rows = []
    for name in followed(card):
        held_out, known = card.metrics.get(f"spearman_{name}"), card.training[f"spearman_{name}"]
        rows.append(
            [
                f"{name}, {MEANINGS[name]}",
                number(held_out),
                interval(held_out),
                number(known),
                str(card.undefined[name]),
            ]
        )
    return rows


def number(metric: Metric | None) -> str:
    """Return a metric's value; empty where there is none."""
    return "" if metric is None or not np.isfinite(metric.value) else f"{metric.value:.3f}"


def interval(metric: Metric | None) -> str:
    """Return a metric's interval; empty where there is none."""
    if metric is None or metric.low is None or metric.high is None:
        return ""
    return f"{metric.low:.3f} to {metric.high:.3f}"


def styles_report(card: StylesDoc) -> Report:
    """Return the page of trained styles."""
    judged = card.metrics or card.training
    where = f"on the part {card.part}" if card.part else "on the spectra that it learned from"
    return Report(
        title=title(card),
        lead=(
            f"An autoencoder turns each spectrum into {len(card.style_names)} numbers, its styles. "
            f"{len(followed(card))} of them rank spectra as one descriptor of the structure ranks "
            "their sites, and all are taught to be independent (RankAAE, arXiv:2301.04724). Along "
            "one style, the others held, one sees what its descriptor does to a spectrum."
        ),
        opening=[
            Tiles(
                [
                    *((f"Spearman {n}", number(judged[f"spearman_{n}"])) for n in followed(card)),
                    ("Largest correlation of two styles", number(judged["inter_style"])),
                    ("Reconstruction MAE, edge step = 1", number(judged["mae"])),
                    ("Spectra judged", f"{judged['spectra'].value:.0f}"),
                ]
            ),
            Text(f"Figures are {where}; {card.training_rows} spectra were learned from."),
        ],
        sections=[
            *(Section(_heading(each), _track_blocks(card, each)) for each in card.tracks),
            Section("How well styles follow descriptors", _score_blocks(card)),
        ],
        footer=(
            f"Styles {card.name} ({card.styles_id}), seed {card.seed}, data set {card.dataset_id}, "
            f"{card.cpu_seconds:.0f} CPU seconds; nearedge {__version__}."
        ),
    )


def _heading(track: StyleTrack) -> str:
    meaning = MEANINGS.get(track.style)
    return track.style.capitalize() if meaning is None else f"{track.style}: {meaning}"


def _track_blocks(card: StylesDoc, track: StyleTrack) -> list[Block]:
    return [
        _figure(
            card,
            track,
            track.decoded,
            f"Decoded along {track.style}",
            "all other styles zero",
            "What the style alone does to a spectrum, from the 5th to the 95th percentile of the "
            "spectra that were learned from.",
        ),
        _figure(
            card,
            track,
            track.observed,
            f"Computed spectra along {track.style}",
            "means of those whose style is nearest",
            "The other styles are whatever these sites have, so that other changes are mixed in.",
        ),
    ]


def _figure(
    card: StylesDoc,
    track: StyleTrack,
    spectra: Sequence[Sequence[float]],
    called: str,
    subtitle: str,
    caption: str,
) -> Figure:
    grid = card.grid
    energy = Grid(grid.start, grid.step, grid.points).energies
    labels = unique_labels([_label(track, step) for step in range(len(track.values))])
    colors = ordered_colors(len(labels))
    return Figure(
        title=called,
        subtitle=subtitle,
        curves=tuple(
            Curve(label, energy, np.array(spectrum), color=color)
            for label, spectrum, color in zip(labels, spectra, colors, strict=True)
        ),
        y_label=absorption_label(card.unit),
        caption=caption,
    )


def _label(track: StyleTrack, step: int) -> str:
    """Return the style's value, and the descriptor that sites have there."""
    # + 0.0 turns -0.0 into 0.0
    value = f"{round(track.values[step], 1) + 0.0:+.1f}".replace("-", "−")
    descriptor = track.descriptor[step]
    if descriptor is None:
        return value
    unit = UNITS.get(track.style, "")
    return f"{value}: {track.style} {descriptor:.3g} {unit}".rstrip()


def _score_blocks(card: StylesDoc) -> list[Block]:
    cells = [[(abs(value), f"{value:+.2f}") for value in row] for row in card.correlations]
    return [
        Table(
            COLUMNS,
            score_rows(card),
            "Spearman's rank correlation of each style with its descriptor; intervals by drawing "
            "materials. Sites without a descriptor take no part for it.",
            frozenset({1, 2, 3, 4}),
        ),
        Heatmap(
            card.style_names,
            cells,
            "Spearman's rank correlation of styles with each other: the nearer to zero, the more "
            "each tells on its own.",
        ),
    ]
