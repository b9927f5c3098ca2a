"""Figures as PNG by matplotlib's Agg: no browser, no display."""

from __future__ import annotations

import io
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Canvas
from matplotlib.figure import SubFigure

from nearedge.plots.figure import INK, Curve, Figure, Style

_DASHES = {"solid": "-", "dash": "--", "dot": ":", "dashdot": "-."}
_WIDTH = 8.0  # inches
_LEGEND_ROWS = 12


def figures_png(figures: Sequence[Figure], dpi: int = 150) -> bytes:
    """Return the bytes of a PNG with `figures` below each other."""
    heights = [6.2 if figure.residuals else 4.8 for figure in figures]
    canvas = Canvas(figsize=(_WIDTH, sum(heights)), dpi=dpi, layout="constrained")
    FigureCanvasAgg(canvas)
    parts = canvas.subfigures(len(figures), 1, height_ratios=heights, squeeze=False)
    for part, figure in zip(parts[:, 0], figures, strict=True):
        _draw(part, figure)
    target = io.BytesIO()
    canvas.savefig(target, format="png")
    return target.getvalue()


def _draw(part: SubFigure, figure: Figure) -> None:
    if figure.residuals:
        upper, lower = part.subplots(2, 1, sharex=True, height_ratios=[3, 1])
        bottom = lower
        lower.axhline(0.0, color="#8c959f", linewidth=0.8)
        lower.set_ylabel("Difference")
    else:
        upper = bottom = part.subplots(1, 1)
        lower = None
    styles = figure.styles()
    labels = []
    for curve in figure.curves:
        style = styles[curve.label]
        _line(upper, curve, style)
        labels.append(curve.legend)
        if curve.band is not None:
            upper.fill_between(
                curve.energy, curve.band.low, curve.band.high, color=style.color, alpha=0.18, lw=0
            )
    for curve in figure.residuals:
        if lower is not None:
            _line(lower, curve, styles[curve.label])
    for axes in {upper, bottom}:
        axes.grid(color="#eaeef2")
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        axes.ticklabel_format(axis="x", useOffset=False)
    if figure.x_range is not None:
        bottom.set_xlim(*figure.x_range)
    bottom.set_xlabel(figure.x_label)
    upper.set_ylabel(figure.y_label)
    _legend(upper, labels, [c.band.label for c in figure.curves if c.band is not None])
    _title(upper, figure)


def _line(axes: Axes, curve: Curve, style: Style) -> None:
    axes.plot(
        curve.energy,
        curve.absorption,
        color=style.color,
        linewidth=style.width,
        linestyle=_DASHES[style.dash],
        alpha=style.opacity,
        zorder=3 if style.color == INK else 2,
    )


def _legend(axes: Axes, labels: list[str], bands: list[str]) -> None:
    # Labels are set afterwards: matplotlib hides those that begin with an underscore and reads
    # dollar signs as formulas.
    handles = [*axes.lines, *axes.collections]
    shown = [*labels, *bands]
    columns = 1 + len(shown) // _LEGEND_ROWS
    legend = axes.legend(
        handles,
        [f"curve {n}" for n in range(len(shown))],
        fontsize=9 if len(shown) <= _LEGEND_ROWS else 7,
        frameon=False,
        ncols=columns,
        loc="best",
    )
    for text, label in zip(legend.get_texts(), shown, strict=True):
        text.set_parse_math(False)
        text.set_text(label)


def _title(axes: Axes, figure: Figure) -> None:
    # Without an explicit pad and y, matplotlib moves the title onto the subtitle again.
    above = 20 if figure.subtitle else 6
    title = axes.set_title(
        figure.title, loc="left", fontweight="bold", fontsize=11, y=1.0, pad=above
    )
    title.set_parse_math(False)
    if figure.subtitle:
        axes.text(
            0.0,
            1.02,
            figure.subtitle,
            transform=axes.transAxes,
            fontsize=9,
            color="#57606a",
            parse_math=False,
        )
