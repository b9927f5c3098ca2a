"""Both backends draw the same description, and what they write stands alone."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import numpy as np

from nearedge.plots.figure import Band, Curve, Figure, Role
from nearedge.plots.html import describe, figure_html, figures_page, to_plotly
from nearedge.plots.png import figures_png

EVIL = "</script><img src=x onerror=alert(1)> $x$ _hidden"


def figure(label: str = "site 0", *, residuals: bool = False) -> Figure:
    energy = np.linspace(4960.0, 5000.0, 50)
    mu = np.arctan(energy - 4970)
    drawn = Figure(
        "Ti₂O₃, Ti K edge",
        (
            Curve(label, energy, mu, Role.DETAIL, edge_energy=4970.0),
            Curve("average", energy, mu + 0.1, Role.MAIN, band=Band(mu, mu + 0.2, "95 % interval")),
        ),
        "Normalised absorption",
        subtitle="FEFF",
    )
    return drawn.with_residuals("average") if residuals else drawn


class Elements(HTMLParser):
    """Collects what a browser would fetch, and the elements it would make."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.fetched += [value or "" for name, value in attrs if name in ("src", "href")]


def elements(page: str) -> Elements:
    parser = Elements()
    parser.feed(page)
    return parser


def test_a_page_fetches_nothing_and_forbids_it_too() -> None:
    page = figures_page("Spectra", [figure(), figure(residuals=True)])
    assert elements(page).fetched == []
    assert "default-src 'none'" in page
    assert page.count("Plotly.newPlot(") >= 2
    assert len(page) < 7e6  # plotly.js is inside once, not once a figure


def test_a_label_cannot_break_out_of_the_page() -> None:
    fragment = figure_html(figure(EVIL), "figure-0")
    parsed = elements(fragment)
    assert "img" not in parsed.tags
    assert parsed.tags.count("script") == 1


def test_axes_carry_units_and_every_curve_is_named() -> None:
    drawn = to_plotly(figure(residuals=True))
    assert drawn.layout.xaxis2.title.text == "Energy (eV)"
    assert drawn.layout.yaxis.title.text == "Normalised absorption"
    named = [trace.name for trace in drawn.data if trace.showlegend is not False]
    assert set(named) == {"site 0", "average", "95 % interval"}


def test_the_numbers_drawn_are_the_numbers_given() -> None:
    given = figure()
    text = re.search(r"const f=(\{.*\});Plotly", figure_html(given, "figure-0"))
    assert text is not None
    drawn = {trace.get("name"): trace for trace in json.loads(text.group(1))["data"]}
    np.testing.assert_allclose(drawn["site 0"]["x"], given.curves[0].energy)
    np.testing.assert_allclose(drawn["site 0"]["y"], given.curves[0].absorption)


def test_a_picture_says_in_words_what_it_shows() -> None:
    assert describe(figure()).startswith("Ti₂O₃, Ti K edge: Normalised absorption against Energy")
    assert 'role="img"' in figure_html(figure(), "figure-0")


def test_png_needs_no_display_and_takes_any_label() -> None:
    one = figures_png([figure(EVIL)], dpi=40)
    two = figures_png([figure(), figure(residuals=True)], dpi=40)
    assert one.startswith(b"\x89PNG\r\n\x1a\n")
    height_one, height_two = (int.from_bytes(png[20:24], "big") for png in (one, two))
    assert height_two > 2 * height_one


def test_png_legend_shows_labels_that_matplotlib_would_hide() -> None:
    hidden = figures_png([figure("_a much longer label that begins with an underscore")], dpi=40)
    assert hidden != figures_png([figure("_")], dpi=40)
