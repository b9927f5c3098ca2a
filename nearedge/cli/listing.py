"""Rows of spectra and calculations as JSON, CSV and tables."""

from __future__ import annotations

import csv
import io
from dataclasses import asdict, fields
from datetime import datetime

from nearedge.store.abbreviated import SHOWN
from nearedge.store.queries import CalculationQuery, SpectrumQuery
from nearedge.store.records import SpectrumRow
from nearedge.store.spectra_store import SpectraStore

Row = dict[str, object]

# Input files and parameters fill screens; `export --format json` and the store give them.
_LEFT_OUT = {"inputs", "schema_version"}
_FLAT = (
    "calculation_id", "formula", "structure_id", "structure_key", "absorber", "absorbing_index",
    "edge", "code", "code_version", "protocol", "parameters_id", "state", "attempts",
    "wall_seconds", "cpu_seconds", "host", "origin", "projects", "created_at",
)  # fmt: skip


def spectrum_rows(
    store: SpectraStore, query: SpectrumQuery, *, limit: int | None, skip: int
) -> list[Row]:
    """Return spectra without arrays."""
    return [_plain(asdict(row)) for row in store.listing(query, limit=limit, skip=skip)]


def calculation_rows(
    store: SpectraStore, query: CalculationQuery, *, limit: int | None, skip: int
) -> list[Row]:
    """Return calculations without the text of their input files."""
    found = store.calculations(query, limit=limit, skip=skip)
    return [calculation.model_dump(mode="json", exclude=_LEFT_OUT) for calculation in found]


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
