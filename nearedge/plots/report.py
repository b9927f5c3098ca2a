"""A report as one HTML page: text, tables, figures and facts, with nothing fetched."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass

from nearedge.plots.figure import Figure
from nearedge.plots.html import figure_html, page


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


Block = Table | Tiles | Text | Figure


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
            return _paragraph(block.text, "notice" if block.notice else "")
        case Tiles():
            return _tiles(block)
        case Table():
            return _table(block)
        case Figure():
            return figure_html(block, f"figure-{number}")


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


def _cells(table: Table, row: Sequence[str]) -> str:
    first, *others = row
    cells = [f'<th scope="row"{_number_class(table, 0)}>{html.escape(first)}</th>']
    for n, cell in enumerate(others, start=1):
        cells.append(f"<td{_number_class(table, n)}>{html.escape(cell)}</td>")
    return "".join(cells)


def _number_class(table: Table, column: int) -> str:
    return ' class="number"' if column in table.numbers else ""
