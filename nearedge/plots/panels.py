"""Many small pictures of predicted spectra, side by side."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from nearedge.plots.figure import INK, PALETTE
from nearedge.plots.html import FONT, fragment
from nearedge.spectra.spectrum import FloatArray

_COLUMNS = 3
_HEIGHT = 215
"""Of a panel in pixels."""


@dataclass(frozen=True, eq=False)
class SpectrumPanel:
    """One spectrum as it is and as it was predicted.

    Parameters
    ----------
    title
        Above the panel.
    energy
        eV, shape ``(n,)``.
    target, predicted
        Absorption, shape ``(n,)`` each.
    half_width
        Of the interval around the prediction; None draws none.
    """

    title: str
    energy: FloatArray
    target: FloatArray
    predicted: FloatArray
    half_width: FloatArray | None


@dataclass(frozen=True)
class Panels:
    """Spectra in rows of three, all on the same axes."""

    title: str
    y_label: str
    panels: Sequence[SpectrumPanel]
    band: str
    """What the interval is called."""
    caption: str = ""


def panels_html(panels: Panels, element_id: str) -> str:
    """Return `panels` as a fragment for a page that `nearedge.plots.html.page` makes."""
    described = (
        f"{panels.title}: {len(panels.panels)} spectra, each as it is and as it was predicted."
    )
    return fragment(
        to_plotly(panels), element_id, panels.title, described=described, caption=panels.caption
    )


def to_plotly(panels: Panels) -> go.Figure:
    """Return `panels` as plotly's own object, title left out."""
    rows = -(-len(panels.panels) // _COLUMNS)
    drawn = make_subplots(
        rows=rows,
        cols=_COLUMNS,
        shared_xaxes=True,
        shared_yaxes=True,
        subplot_titles=[html.escape(panel.title) for panel in panels.panels],
        horizontal_spacing=0.03,
        vertical_spacing=0.16 / max(rows, 1),
    )
    for number, panel in enumerate(panels.panels):
        for trace in _traces(panel, panels.band, legend=number == 0):
            drawn.add_trace(trace, row=number // _COLUMNS + 1, col=number % _COLUMNS + 1)
    drawn.update_layout(
        template="none",
        height=_HEIGHT * rows + 130,
        margin={"l": 70, "r": 16, "t": 52, "b": 80},
        font={"family": FONT, "size": 13, "color": INK},
        legend={
            "orientation": "h",
            "yref": "container",
            "y": 0,
            "yanchor": "bottom",
            "x": 0,
            "xanchor": "left",
        },
        paper_bgcolor="#ffffff",
        plot_bgcolor="#ffffff",
    )
    drawn.update_annotations(font={"size": 12})
    grid = {"gridcolor": "#eaeef2", "zeroline": False, "linecolor": "#8c959f", "ticks": "outside"}
    drawn.update_xaxes(**grid, tickformat="~f", nticks=5)
    drawn.update_yaxes(**grid)
    drawn.update_xaxes(title={"text": "Energy (eV)", "standoff": 6}, row=rows)
    drawn.update_yaxes(title={"text": html.escape(panels.y_label)}, row=(rows + 1) // 2, col=1)
    return drawn


def _traces(panel: SpectrumPanel, band: str, *, legend: bool) -> list[go.Scatter]:
    energy = panel.energy.tolist()
    traces = []
    if panel.half_width is not None:
        outline = {"mode": "lines", "line": {"width": 0}, "hoverinfo": "skip"}
        low = (panel.predicted - panel.half_width).tolist()
        high = (panel.predicted + panel.half_width).tolist()
        traces.append(go.Scatter(x=energy, y=low, showlegend=False, **outline))
        traces.append(
            go.Scatter(
                x=energy,
                y=high,
                fill="tonexty",
                fillcolor="rgba(0,114,178,0.18)",
                name=html.escape(band),
                legendgroup="band",
                showlegend=legend,
                **outline,
            )
        )
    for label, values, color, width in (
        ("as computed", panel.target, INK, 1.8),
        ("predicted", panel.predicted, PALETTE[0], 1.8),
    ):
        traces.append(
            go.Scatter(
                x=energy,
                y=values.tolist(),
                name=label,
                legendgroup=label,
                showlegend=legend,
                mode="lines",
                line={"color": color, "width": width},
                hovertemplate="%{x:.2f} eV, %{y:.4g}",
            )
        )
    return traces
