"""Numbers against the values of a parameter, one panel below the other."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from nearedge.plots.figure import INK, PALETTE
from nearedge.plots.html import FONT, fragment

_PANEL = 165
"""Height of a panel in pixels."""
_GRID = "#eaeef2"


@dataclass(frozen=True)
class Panel:
    """One quantity.

    Parameters
    ----------
    label
        The axis with its unit.
    values
        One for each name of the trend; None where there is none. On a logarithmic axis, those that
        are not positive are left out.
    threshold
        A line across the panel.
    logarithmic
        How the axis is divided.
    bars
        Draw bars in place of points.
    """

    label: str
    values: Sequence[float | None]
    threshold: float | None = None
    logarithmic: bool = False
    bars: bool = False


@dataclass(frozen=True)
class Trend:
    """Panels that share an axis of names, such as the values of a parameter."""

    title: str
    names: Sequence[str]
    x_label: str
    panels: Sequence[Panel]
    caption: str = ""


def trend_html(trend: Trend, element_id: str) -> str:
    """Return `trend` as a fragment for a page that `nearedge.plots.html.page` makes."""
    shown = ", ".join(panel.label for panel in trend.panels)
    described = f"{trend.title}: {shown} against {trend.x_label}."
    return fragment(
        to_plotly(trend), element_id, trend.title, described=described, caption=trend.caption
    )


def to_plotly(trend: Trend) -> go.Figure:
    """Return `trend` as plotly's own object, title left out."""
    rows = len(trend.panels)
    drawn = make_subplots(rows=rows, cols=1, shared_xaxes=True, vertical_spacing=0.07)
    names = [html.escape(name) for name in trend.names]
    for row, panel in enumerate(trend.panels, start=1):
        drawn.add_trace(_trace(panel, names), row=row, col=1)
        kind = "log" if panel.logarithmic else "linear"
        drawn.update_yaxes(title={"text": html.escape(panel.label)}, type=kind, row=row, col=1)
        if panel.logarithmic:
            drawn.update_yaxes(
                exponentformat="power", dtick=1, range=_decades(panel), row=row, col=1
            )
        elif all(value is None or value >= 0 for value in panel.values):
            drawn.update_yaxes(rangemode="tozero", row=row, col=1)
        if panel.threshold is not None:
            drawn.add_hline(
                y=panel.threshold, line={"color": PALETTE[1], "dash": "dash"}, row=row, col=1
            )
    drawn.update_layout(
        template="none",
        height=_PANEL * rows + 98,
        margin={"l": 80, "r": 20, "t": 34, "b": 60},
        font={"family": FONT, "size": 13, "color": INK},
        showlegend=False,
        paper_bgcolor="#ffffff",
        plot_bgcolor="#ffffff",
    )
    drawn.update_yaxes(gridcolor=_GRID, zeroline=False, linecolor="#8c959f", ticks="outside")
    drawn.update_xaxes(
        type="category",
        categoryorder="array",
        categoryarray=names,
        range=[-0.5, len(names) - 0.5],
        linecolor="#8c959f",
    )
    drawn.update_xaxes(title={"text": html.escape(trend.x_label)}, row=rows, col=1)
    return drawn


def _decades(panel: Panel) -> list[float] | None:
    """Return the range of a logarithmic axis that shows points and threshold with room around."""
    shown = [value for value in (*panel.values, panel.threshold) if value is not None and value > 0]
    if not shown:
        return None
    return [math.log10(min(shown)) - 0.3, math.log10(max(shown)) + 0.3]


def _trace(panel: Panel, names: Sequence[str]) -> go.Bar | go.Scatter:
    values = [
        None if value is None or (panel.logarithmic and value <= 0) else value
        for value in panel.values
    ]
    told = "%{y:.4g}<extra></extra>"
    if panel.bars:
        return go.Bar(
            x=list(names), y=values, width=0.4, marker={"color": PALETTE[0]}, hovertemplate=told
        )
    return go.Scatter(
        x=list(names),
        y=values,
        mode="lines+markers",
        marker={"size": 9, "color": PALETTE[0]},
        line={"color": PALETTE[0], "width": 1.6},
        hovertemplate=told,
    )
