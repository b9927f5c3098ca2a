"""Numbers against numbers, or against names: points and lines with intervals."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import plotly.graph_objects as go

from nearedge.plots.figure import INK, PALETTE
from nearedge.plots.html import FONT, fragment

_GRID, _GREY = "#eaeef2", "#8c959f"
_FEW = 10
"""Up to so many places on a logarithmic axis each has its mark."""
_CROWD = 150
"""Above so many points, small ones are drawn."""


@dataclass(frozen=True)
class Series:
    """Points of one kind.

    Parameters
    ----------
    label
        What the legend says.
    x, y
        Of each point; x may be names.
    low, high
        Ends of each point's interval in y; None where there is none.
    drawn
        As points, a line, or both.
    symbol
        Of the points, by plotly's names.
    reference
        What the others are judged against: dashed and grey.
    notes
        What a point says when it is pointed at.
    like
        Label of an earlier series whose colour it has.
    """

    label: str
    x: Sequence[float] | Sequence[str]
    y: Sequence[float]
    low: Sequence[float | None] | None = None
    high: Sequence[float | None] | None = None
    drawn: Literal["markers", "lines", "lines+markers"] = "markers"
    symbol: str = "circle"
    reference: bool = False
    notes: Sequence[str] | None = None
    like: str | None = None


@dataclass(frozen=True)
class Chart:
    """Series on two axes.

    Parameters
    ----------
    title, caption
        Plain text.
    x_label, y_label
        The axes with their units.
    series
        What is drawn.
    x_logarithmic, y_logarithmic
        How the axes are divided.
    square
        Whether both axes run from zero to one at the same scale.
    """

    title: str
    x_label: str
    y_label: str
    series: Sequence[Series]
    caption: str = ""
    x_logarithmic: bool = False
    y_logarithmic: bool = False
    square: bool = False


def chart_html(chart: Chart, element_id: str) -> str:
    """Return `chart` as a fragment for a page that `nearedge.plots.html.page` makes."""
    names = ", ".join(series.label for series in chart.series)
    described = f"{chart.title}: {chart.y_label} against {chart.x_label} of {names}."
    return fragment(
        to_plotly(chart), element_id, chart.title, described=described, caption=chart.caption
    )


def to_plotly(chart: Chart) -> go.Figure:
    """Return `chart` as plotly's own object, title left out."""
    drawn = go.Figure()
    colors = _colors(chart)
    crowded = sum(len(series.y) for series in chart.series) > _CROWD
    for series in chart.series:
        drawn.add_trace(_trace(series, colors[series.label], crowded=crowded))
    if any(isinstance(x, str) for series in chart.series for x in series.x):
        drawn.update_layout(scattermode="group", scattergap=0.6)  # side by side over a name
    legend = 24 * -(-len(chart.series) // 3)
    drawn.update_layout(
        template="none",
        height=400 + legend,
        margin={"l": 80, "r": 20, "t": 24, "b": 58 + legend},
        font={"family": FONT, "size": 13, "color": INK},
        showlegend=len(chart.series) > 1,
        legend={
            "orientation": "h",
            "yref": "container",
            "y": 0,
            "yanchor": "bottom",
            "x": 0,
            "xanchor": "left",
        },
        hoverlabel={"font": {"family": FONT}},
        paper_bgcolor="#ffffff",
        plot_bgcolor="#ffffff",
    )
    axis = {"gridcolor": _GRID, "zeroline": False, "linecolor": _GREY, "ticks": "outside"}
    drawn.update_xaxes(**axis, title={"text": html.escape(chart.x_label), "standoff": 8})
    drawn.update_yaxes(**axis, title={"text": html.escape(chart.y_label)})
    if chart.x_logarithmic:
        drawn.update_xaxes(type="log", exponentformat="power")
        places = sorted({float(x) for series in chart.series for x in series.x})
        if len(places) <= _FEW:  # plotly's own marks leave out how many tens or hundreds
            drawn.update_xaxes(tickvals=places, ticktext=[f"{place:g}" for place in places])
    if chart.y_logarithmic:
        drawn.update_yaxes(type="log", exponentformat="power")
        values = [value for series in chart.series for value in series.y if value > 0]
        if values and max(values) > 1000 * min(values):
            drawn.update_yaxes(dtick=1)  # plotly's own marks between decades stand too close
    elif all(value >= 0 for series in chart.series for value in series.y):
        drawn.update_yaxes(rangemode="tozero")
    if chart.square:
        drawn.update_xaxes(range=[0, 1], constrain="domain", tickformat=".0%")
        drawn.update_yaxes(range=[0, 1], scaleanchor="x", tickformat=".0%")
    return drawn


def _colors(chart: Chart) -> dict[str, str]:
    colors: dict[str, str] = {}
    coloured = 0
    for series in chart.series:
        if series.reference:
            colors[series.label] = _GREY
        elif series.like in colors:
            colors[series.label] = colors[series.like]
        else:
            colors[series.label] = PALETTE[coloured % len(PALETTE)]
            coloured += 1
    return colors


def _trace(series: Series, color: str, *, crowded: bool) -> go.Scatter:
    errors = None
    if series.low is not None and series.high is not None:
        pairs = list(zip(series.y, series.low, series.high, strict=True))
        errors = {
            "type": "data",
            "symmetric": False,
            "array": [None if high is None else high - y for y, _, high in pairs],
            "arrayminus": [None if low is None else y - low for y, low, _ in pairs],
            "color": color,
            "thickness": 1.4,
            "width": 4,
        }
    names = [html.escape(x) if isinstance(x, str) else x for x in series.x]
    notes = None if series.notes is None else [html.escape(note) for note in series.notes]
    told = "%{x}, %{y:.4g}" if notes is None else "%{text}: %{x:.4g}, %{y:.4g}"
    return go.Scatter(
        x=names,
        y=list(series.y),
        error_y=errors,
        text=notes,
        name=html.escape(series.label),
        mode=series.drawn,
        offsetgroup="reference" if series.reference else html.escape(series.label),
        marker={
            "color": color,
            "size": 5 if crowded else 10,
            "opacity": 0.5 if crowded else 1.0,
            "symbol": series.symbol,
        },
        line={"color": color, "width": 1.6, "dash": "dash" if series.reference else "solid"},
        hovertemplate=f"{told}<extra></extra>",
    )
