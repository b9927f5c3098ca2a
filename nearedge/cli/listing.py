"""Rows of spectra and calculations as JSON, CSV and tables."""

from __future__ import annotations

import csv
import io
from dataclasses import asdict, fields
from datetime import datetime
from operator import attrgetter
from typing import NamedTuple, TypeVar

from nearedge.schemas.calculation import CalculationDoc
from nearedge.store.abbreviated import SHOWN
from nearedge.store.queries import CalculationQuery, SpectrumQuery
from nearedge.store.records import SpectrumRow
from nearedge.store.spectra_store import SpectraStore

Row = dict[str, object]
F = TypeVar("F", SpectrumRow, CalculationDoc)


class Page(NamedTuple):
    """Rows, and whether more fit than the limit lets through."""

    rows: list[Row]
    more: bool


# Input files and parameters fill screens; `export --format json` and the store give them.
_LEFT_OUT = {"inputs", "schema_version"}
_FLAT = (
    "calculation_id", "formula", "structure_id", "structure_key", "absorber", "absorbing_index",
    "edge", "code", "code_version", "protocol", "parameters_id", "state", "attempts",
    "wall_seconds", "cpu_seconds", "host", "origin", "projects", "created_at",
)  # fmt: skip


def spectrum_rows(
    store: SpectraStore, query: SpectrumQuery, *, limit: int | None, skip: int
) -> Page:
    """Return spectra without arrays; by formula, if they are all that fit."""
    found = store.listing(query, limit=_one_more(limit), skip=skip)
    shown, more = _cut(found, limit, skip)
    return Page([_plain(asdict(row)) for row in shown], more)


def calculation_rows(
    store: SpectraStore, query: CalculationQuery, *, limit: int | None, skip: int
) -> Page:
    """Return calculations without the text of their input files; by formula, if they are all."""
    found = list(store.calculations(query, limit=_one_more(limit), skip=skip))
    shown, more = _cut(found, limit, skip)
    return Page([each.model_dump(mode="json", exclude=_LEFT_OUT) for each in shown], more)


def summary(page: Page, skip: int, what: str) -> str:
    """Return what a table says below itself; to count all that fit may take the database long."""
    shown = len(page.rows)
    if page.more:
        return (
            f"{shown} {what}, and more fit: --limit and --skip show others, --count says how many."
        )
    if skip and not shown:
        return f"No more than {skip} {what} fit."
    return f"{shown} of {skip + shown} {what}."


def csv_text(rows: list[Row], *, calculations: bool) -> str:
    """Return rows as CSV with a header, which is there even when no row is."""
    names = list(_FLAT) if calculations else [field.name for field in fields(SpectrumRow)]
    if calculations:
        names.append("failure")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    for row in rows:
        writer.writerow([_cell(row.get(name)) for name in names])
    return text.getvalue()


def table_of(rows: list[Row], *, calculations: bool) -> tuple[list[str], list[list[str]]]:
    """Return headings and cells of what people look at first, ids by their first digits."""
    if calculations:
        columns = ["Calculation", "Formula", "Edge", "Site", "Code", "Protocol", "State", "CPU s"]
        names = ["calculation_id", "formula", "", "absorbing_index", "code", "protocol", "state"]
    else:
        columns = ["Spectrum", "Formula", "Edge", "Site", "Code", "Protocol", "State", "Projects"]
        names = ["spectrum_id", "formula", "", "absorbing_index", "code", "protocol", "state"]
    cells = []
    for row in rows:
        line = [_cell(row[name]) if name else f"{row['absorber']} {row['edge']}" for name in names]
        line[0] = line[0][:SHOWN]
        if calculations:
            seconds = row.get("cpu_seconds")
            line.append(f"{seconds:.1f}" if isinstance(seconds, float) else "")
        else:
            line[3] = line[3] or "average"
            line.append(_cell(row["projects"]))
        cells.append(line)
    return columns, cells


def _one_more(limit: int | None) -> int | None:
    return None if limit is None else limit + 1


def _cut(found: list[F], limit: int | None, skip: int) -> tuple[list[F], bool]:
    """Return what is shown, and whether there is more."""
    if limit is not None and len(found) > limit:
        return found[:limit], True
    return (found if skip else sorted(found, key=attrgetter("formula"))), False


def _plain(row: Row) -> Row:
    return {
        name: value.isoformat() if isinstance(value, datetime) else
        list(value) if isinstance(value, tuple) else value
        for name, value in row.items()
    }  # fmt: skip


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, list):
        return " ".join(str(each) for each in value)
    if isinstance(value, dict):  # a failure
        return f"{value.get('name')}: {value.get('message')}"
    return str(value)
