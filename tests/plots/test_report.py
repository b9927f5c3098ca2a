from __future__ import annotations

import numpy as np

from nearedge.plots.figure import Curve, Figure
from nearedge.plots.report import Report, Section, Table, Text, Tiles, report_html


def report() -> Report:
    figure = Figure("Rutile", (Curve("average", np.arange(3.0), np.ones(3)),), "mu")
    return Report(
        "Demo & more",
        "What was done.",
        [Tiles([("Spectra", "12")]), Text("Other weights <were> used.", notice=True)],
        [
            Section(
                "Spectra", [Table(["Name", "CPU s"], [["a<b", "1.5"]], "c", frozenset({1})), figure]
            ),
            Section("Again", [figure]),
        ],
        footer="nearedge",
    )


def test_a_report_holds_everything_in_order_and_plotly_once() -> None:
    whole = report_html(report())
    page = body(whole)
    places = [page.index(text) for text in ("Demo &amp; more</h1>", ">12<", "Spectra</h2>", "1.5")]
    assert places == sorted(places)
    assert page.count('id="figure-') == 2
    assert len(set(_ids(page))) == 2
    assert 4e6 < len(whole) < 7e6


def test_what_a_report_is_told_is_text_and_not_markup() -> None:
    page = body(report_html(report()))
    assert "a&lt;b" in page
    assert "a<b" not in page
    assert "&lt;were&gt;" in page


def body(page: str) -> str:
    return page.rpartition("<main>")[2]  # plotly.js before it holds every kind of text


def _ids(page: str) -> list[str]:
    return [part.split('"', 1)[0] for part in page.split('id="figure-')[1:]]
