"""Figures as self-contained HTML: plotly.js is inside, nothing is fetched."""

from __future__ import annotations

import html
from collections.abc import Sequence

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs
from plotly.subplots import make_subplots

from nearedge.plots.figure import INK, Curve, Figure, Style

FONT = 'system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif'

# The page may run its own script and styles and show pictures made by them; everything else,
# the network first of all, is forbidden to it.
_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "img-src data: blob:; base-uri 'none'; form-action 'none'"
)

# Named one by one: the default set has a button that sends the data to a server of plotly's.
_BUTTONS = '["toImage","zoom2d","pan2d","zoomIn2d","zoomOut2d","resetScale2d"]'

STYLE = """
:root { color-scheme: light; }
* { box-sizing: border-box; }
body { margin: 0; background: #f5f6f8; color: #1b1f24; font: 16px/1.55 FONT; }
main { max-width: 68rem; margin: 0 auto; padding: 2.5rem 1.5rem 4rem; }
h1 { font-size: 2rem; line-height: 1.2; margin: 0 0 .5rem; letter-spacing: -.01em; }
h2 { font-size: 1.3rem; margin: 2.75rem 0 .75rem; }
p { max-width: 46rem; margin: .5rem 0 1rem; }
p.lead { font-size: 1.1rem; color: #444c56; }
figure { margin: 1.25rem 0; padding: 1rem 1rem .75rem; background: #fff;
  border: 1px solid #d8dee4; border-radius: .6rem; }
figure h3 { font-size: 1.02rem; margin: .1rem .4rem 0; font-weight: 650; }
figure .subtitle { color: #57606a; font-size: .88rem; margin: 0 .4rem; }
figcaption { color: #57606a; font-size: .88rem; margin: .25rem .4rem; max-width: 52rem; }
.plot { width: 100%; }
.scroll { overflow-x: auto; background: #fff; border: 1px solid #d8dee4; border-radius: .6rem; }
table { border-collapse: collapse; width: 100%; font-size: .92rem;
  font-variant-numeric: tabular-nums; }
caption { text-align: left; padding: .8rem .9rem .3rem; color: #57606a; font-size: .88rem; }
th, td { padding: .5rem .9rem; text-align: left; vertical-align: top; }
td { border-top: 1px solid #eaeef2; }
thead th { font-weight: 600; color: #57606a; white-space: nowrap; }
th[scope=row] { font-weight: 600; border-top: 1px solid #eaeef2; }
.number { text-align: right; white-space: nowrap; }
.scroll + .scroll { margin-top: 1rem; }
table.heat { width: auto; margin-bottom: .8rem; }
.heat th, .heat td { padding: .55rem .8rem; border: 0; vertical-align: middle; }
.heat thead th { text-align: center; }
.heat th { font-weight: 600; color: #57606a; white-space: nowrap; }
.heat tbody td { text-align: center; white-space: pre-line; min-width: 5.5rem;
  border: 2px solid #fff; }
.heat .none { color: #8c959f; background: #f5f6f8; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(10.5rem, 1fr)); gap: .75rem;
  margin: 1.5rem 0; padding: 0; }
.tiles div { background: #fff; border: 1px solid #d8dee4; border-radius: .6rem;
  padding: .75rem .9rem; }
.tiles dt { font-size: .85rem; color: #57606a; }
.tiles dd { margin: .1rem 0 0; font-size: 1.35rem; font-weight: 650; line-height: 1.3; }
.notice { background: #fff8e1; border: 1px solid #e3c766; border-radius: .6rem;
  padding: .7rem 1rem; max-width: none; }
details { margin: .75rem 0; }
summary { cursor: pointer; padding: .4rem 0; color: #0550ae; }
footer { margin-top: 3rem; color: #57606a; font-size: .85rem; }
code { font: .92em ui-monospace, "DejaVu Sans Mono", monospace; overflow-wrap: anywhere; }
@media print { body { background: #fff; } figure { break-inside: avoid; } }
""".replace("FONT", FONT)


def figures_page(title: str, figures: Sequence[Figure]) -> str:
    """Return a whole HTML page with `figures` below each other."""
    body = "".join(figure_html(figure, f"figure-{n}") for n, figure in enumerate(figures))
    return page(title, f"<h1>{html.escape(title)}</h1>{body}")


def page(title: str, body: str) -> str:
    """Return a whole HTML page around `body`, with plotly.js inside once."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>{STYLE}</style>\n"
        f"<script>{get_plotlyjs()}</script>\n</head>\n<body>\n<main>{body}</main>\n</body>\n</html>\n"
    )


def figure_html(figure: Figure, element_id: str) -> str:
    """Return `figure` as a fragment for a page that `page` makes."""
    return fragment(
        to_plotly(figure),
        element_id,
        figure.title,
        described=describe(figure),
        subtitle=figure.subtitle,
        caption=figure.caption,
    )


def fragment(
    drawn: go.Figure,
    element_id: str,
    title: str,
    *,
    described: str,
    subtitle: str = "",
    caption: str = "",
) -> str:
    """Return what plotly draws, with plain text around it, as a fragment for a page.

    Parameters
    ----------
    drawn
        With its height in the layout.
    element_id
        Of the element that it is drawn in; different for each on a page.
    title, subtitle, caption
        Plain text; the last two may be empty.
    described
        One sentence for screen readers.
    """
    # `<` as \u003c keeps a label from ending the script element.
    text = drawn.to_json().replace("<", "\\u003c")
    subtitle = f'<p class="subtitle">{html.escape(subtitle)}</p>' if subtitle else ""
    caption = f"<figcaption>{html.escape(caption)}</figcaption>" if caption else ""
    height = int(drawn.layout.height)
    return (
        f"<figure><h3>{html.escape(title)}</h3>{subtitle}"
        f'<div class="plot" id="{element_id}" style="height:{height}px" role="img" '
        f'aria-label="{html.escape(described)}"></div>{caption}'
        f'<script>{{const f={text};Plotly.newPlot("{element_id}",f.data,f.layout,'
        "{responsive:true,displaylogo:false,typesetMath:false,"
        f"modeBarButtons:[{_BUTTONS}]}});}}</script></figure>"
    )


def describe(figure: Figure) -> str:
    """Return one sentence for screen readers."""
    names = [curve.legend for curve in figure.curves]
    shown = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
    return f"{figure.title}: {figure.y_label} against {figure.x_label} of {shown}."


def to_plotly(figure: Figure) -> go.Figure:
    """Return `figure` as plotly's own object, title and subtitle left out."""
    styles = figure.styles()
    if figure.residuals:
        drawn = make_subplots(
            rows=2, cols=1, shared_xaxes=True, row_heights=[0.72, 0.28], vertical_spacing=0.05
        )
    else:
        drawn = make_subplots(rows=1, cols=1)
    # Bands first, so that no band lies on a line; the main curve last, on top of its sites.
    for curve in figure.curves:
        _add_band(drawn, curve, styles[curve.label])
    for curve in sorted(figure.curves, key=lambda curve: styles[curve.label].color == INK):
        rank = figure.curves.index(curve)
        drawn.add_trace(_line(curve, styles[curve.label], rank, legend=True), row=1, col=1)
    for curve in figure.residuals:
        drawn.add_trace(_line(curve, styles[curve.label], 0, legend=False), row=2, col=1)
    _lay_out(drawn, figure)
    return drawn


def _line(curve: Curve, style: Style, rank: int, *, legend: bool) -> go.Scatter:
    return go.Scatter(
        x=curve.energy.tolist(),
        y=curve.absorption.tolist(),
        name=html.escape(curve.legend),
        mode="lines",
        opacity=style.opacity,
        line={"color": style.color, "width": style.width, "dash": style.dash},
        legendgroup=html.escape(curve.label),
        legendrank=1000 + rank,
        showlegend=legend,
        hovertemplate="%{x:.2f} eV, %{y:.4g}",
    )


def _add_band(drawn: go.Figure, curve: Curve, style: Style) -> None:
    if curve.band is None:
        return
    outline = {"mode": "lines", "line": {"width": 0}, "hoverinfo": "skip"}
    drawn.add_trace(
        go.Scatter(
            x=curve.energy.tolist(),
            y=curve.band.low.tolist(),
            showlegend=False,
            **outline,
        ),
        row=1,
        col=1,
    )
    drawn.add_trace(
        go.Scatter(
            x=curve.energy.tolist(),
            y=curve.band.high.tolist(),
            name=html.escape(curve.band.label),
            legendrank=2000,
            fill="tonexty",
            fillcolor=_transparent(style.color),
            **outline,
        ),
        row=1,
        col=1,
    )


def _lay_out(drawn: go.Figure, figure: Figure) -> None:
    grid = {"gridcolor": "#eaeef2", "zeroline": False, "linecolor": "#8c959f", "ticks": "outside"}
    # The legend stands at the foot of the picture; about four entries fit on one of its lines.
    entries = len(figure.curves) + sum(curve.band is not None for curve in figure.curves)
    legend_height = 24 * -(-entries // 4)
    drawn.update_layout(
        template="none",
        height=(520 if figure.residuals else 420) + legend_height,
        margin={"l": 70, "r": 20, "t": 24, "b": 58 + legend_height},
        font={"family": FONT, "size": 13, "color": INK},
        legend={
            "orientation": "h",
            "yref": "container",
            "y": 0,
            "yanchor": "bottom",
            "x": 0,
            "xanchor": "left",
        },
        hovermode="x unified",
        hoverlabel={"font": {"family": FONT}},
        paper_bgcolor="#ffffff",
        plot_bgcolor="#ffffff",
    )
    drawn.update_xaxes(**grid, tickformat="~f")
    drawn.update_yaxes(**grid)
    last = 2 if figure.residuals else 1
    drawn.update_xaxes(title={"text": html.escape(figure.x_label), "standoff": 8}, row=last, col=1)
    if figure.x_range is not None:
        drawn.update_xaxes(range=list(figure.x_range))
    drawn.update_yaxes(title={"text": html.escape(figure.y_label)}, row=1, col=1)
    if figure.residuals:
        drawn.update_yaxes(title={"text": "Difference"}, zeroline=True, row=2, col=1)
        drawn.update_yaxes(zerolinecolor="#8c959f", row=2, col=1)


def _transparent(color: str) -> str:
    red, green, blue = (int(color[n : n + 2], 16) for n in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.18)"
