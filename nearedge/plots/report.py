"""A report as one HTML page: text, tables, figures and facts, with nothing fetched."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass

from nearedge.plots.chart import Chart, chart_html
from nearedge.plots.figure import Figure
from nearedge.plots.html import figure_html, page
from nearedge.plots.panels import Panels, panels_html
from nearedge.plots.trend import Trend, trend_html


@dataclass(frozen=True)
class Table:
    """Rows of text under a heading; the first column names the row.

    Parameters
    ----------
    columns
        Headings.
    rows
        Cells, as many in each row as there are headings.
    caption
        One sentence above the table.
    numbers
        Which columns hold numbers and are set flush right, counted from zero.
    folded
        Show the caption alone until the reader opens it.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""
    numbers: frozenset[int] = frozenset()
    folded: bool = False


@dataclass(frozen=True)
class Tiles:
    """A few figures that a reader should see first: name and value."""

    facts: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Text:
    """A paragraph; a notice stands out."""

    text: str
    notice: bool = False


@dataclass(frozen=True)
class Heatmap:
    """A square of numbers, each coloured by its value.

    Parameters
    ----------
    labels
        Of rows and columns alike.
    cells
        Value and text of each, None where there is no value; as many rows and columns as labels.
    caption
        One sentence above it.
    low, high
        Values of the palest and the darkest colour.
    """

    labels: Sequence[str]
    cells: Sequence[Sequence[tuple[float, str] | None]]
    caption: str = ""
    low: float = 0.0
    high: float = 1.0


@dataclass(frozen=True)
class Command:
    """A line to copy."""

    text: str


Block = Table | Tiles | Text | Figure | Heatmap | Trend | Command | Chart | Panels


@dataclass(frozen=True)
class Section:
    """A heading and what stands under it."""

    heading: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Report:
    """A page: what it is called, what it says first, and its sections."""

    title: str
    lead: str
    opening: Sequence[Block]
    sections: Sequence[Section]
    footer: str = ""


def report_html(report: Report) -> str:
    """Return the report as a whole HTML page."""
    parts = [f"<h1>{html.escape(report.title)}</h1>", _paragraph(report.lead, "lead")]
    numbered = 0
    for section in (Section("", report.opening), *report.sections):
        if section.heading:
            parts.append(f"<section><h2>{html.escape(section.heading)}</h2>")
        for block in section.blocks:
            parts.append(_block(block, numbered))
            numbered += 1
        if section.heading:
            parts.append("</section>")
    if report.footer:
        parts.append(f"<footer>{html.escape(report.footer)}</footer>")
    return page(report.title, "".join(parts))


def _block(block: Block, number: int) -> str:
    match block:
        case Text():
            drawn = _paragraph(block.text, "notice" if block.notice else "")
        case Command():
            drawn = f"<p><code>{html.escape(block.text)}</code></p>"
        case Tiles():
            drawn = _tiles(block)
        case Table():
            drawn = _table(block)
        case Heatmap():
            drawn = _heatmap(block)
        case Trend():
            drawn = trend_html(block, f"figure-{number}")
        case Chart():
            drawn = chart_html(block, f"figure-{number}")
        case Panels():
            drawn = panels_html(block, f"figure-{number}")
        case Figure():
            drawn = figure_html(block, f"figure-{number}")
    return drawn


def _paragraph(text: str, kind: str) -> str:
    kind = f' class="{kind}"' if kind else ""
    return f"<p{kind}>{html.escape(text)}</p>"


def _tiles(tiles: Tiles) -> str:
    cells = "".join(
        f"<div><dt>{html.escape(name)}</dt><dd>{html.escape(value)}</dd></div>"
        for name, value in tiles.facts
    )
    return f'<dl class="tiles">{cells}</dl>'


def _table(table: Table) -> str:
    head = "".join(
        f'<th scope="col"{_number_class(table, n)}>{html.escape(column)}</th>'
        for n, column in enumerate(table.columns)
    )
    rows = "".join(f"<tr>{_cells(table, row)}</tr>" for row in table.rows)
    words = html.escape(table.caption)
    caption = f"<caption>{words}</caption>" if words and not table.folded else ""
    drawn = (
        f'<div class="scroll" tabindex="0"><table>{caption}<thead><tr>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )
    return f"<details><summary>{words}</summary>{drawn}</details>" if table.folded else drawn


def _heatmap(heatmap: Heatmap) -> str:
    labels = [html.escape(label) for label in heatmap.labels]
    head = "".join(f'<th scope="col">{label}</th>' for label in labels)
    rows = "".join(
        f'<tr><th scope="row">{label}</th>{"".join(_shaded(heatmap, cell) for cell in row)}</tr>'
        for label, row in zip(labels, heatmap.cells, strict=True)
    )
    caption = f"<caption>{html.escape(heatmap.caption)}</caption>" if heatmap.caption else ""
    return (
        f'<div class="scroll" tabindex="0"><table class="heat">{caption}<thead><tr><td></td>{head}'
        f"</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _shaded(heatmap: Heatmap, cell: tuple[float, str] | None) -> str:
    if cell is None:
        return '<td class="none" title="not compared">—</td>'
    value, text = cell
    share = min(1.0, max(0.0, (value - heatmap.low) / (heatmap.high - heatmap.low)))
    # From near white to the blue of the palette; white letters where it is dark.
    red, green, blue = (
        round(a + (b - a) * share) for a, b in zip((244, 248, 252), (0, 82, 138), strict=True)
    )
    ink = "#fff" if share > 0.55 else "#1b1f24"
    style = f"background:rgb({red},{green},{blue});color:{ink}"
    return f'<td style="{style}">{html.escape(text)}</td>'


def _cells(table: Table, row: Sequence[str]) -> str:
    first, *others = row
    cells = [f'<th scope="row"{_number_class(table, 0)}>{html.escape(first)}</th>']
    for n, cell in enumerate(others, start=1):
        cells.append(f"<td{_number_class(table, n)}>{html.escape(cell)}</td>")
    return "".join(cells)


def _number_class(table: Table, column: int) -> str:
    return ' class="number"' if column in table.numbers else ""
