"""How far the projects are, as a table, as lines and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from nearedge.cli.console import plain
from nearedge.launch.progress import PartProgress, failures_by_name

_COLUMNS = (
    "Project", "Code", "Waiting", "Running", "Completed", "Failed", "Sites/h", "Remaining",
    "Expected end", "CPU h",
)  # fmt: skip
_WORDS = 2
"""How many columns at the left hold words."""

_NONE = "–"


def row_of(part: PartProgress) -> dict[str, object]:
    """Return one project's code as JSON has it."""
    row = asdict(part)
    row["expected_end"] = None if part.expected_end is None else part.expected_end.isoformat()
    row["failed"] = part.failed
    row["remaining"] = part.remaining
    return row


def table_of(parts: Sequence[PartProgress]) -> tuple[list[str], list[list[str]]]:
    """Return headings and cells, with a sum below where there are several."""
    rows = [_cells(part) for part in parts]
    if len(parts) > 1:
        rows.append(_cells(total(parts)))
    return list(_COLUMNS), rows


def numbers() -> str:
    """Return the headings of the columns that are set flush right."""
    return ",".join(_COLUMNS[_WORDS:])


def total(parts: Sequence[PartProgress]) -> PartProgress:
    """Return the sum; the end is the last one, unknown if any part's is that still has work."""
    ends = [part.expected_end for part in parts if part.remaining]
    known = [end for end in ends if end is not None]
    rates = [part.rate for part in parts if part.rate is not None]
    return PartProgress(
        "all",
        "",
        waiting=sum(part.waiting for part in parts),
        running=sum(part.running for part in parts),
        completed=sum(part.completed for part in parts),
        failures=failures_by_name(parts),
        cpu_seconds=sum(part.cpu_seconds for part in parts),
        failed_cpu_seconds=sum(part.failed_cpu_seconds for part in parts),
        rate=sum(rates) if rates else None,
        expected_end=max(known) if known and len(known) == len(ends) else None,
    )


def line_of(parts: Sequence[PartProgress], at: datetime) -> str:
    """Return everything in one line, for a log."""
    said = [
        f"{part.project or _NONE}/{part.code} waiting={part.waiting} running={part.running} "
        f"completed={part.completed} failed={part.failed} "
        f"rate={_NONE if part.rate is None else f'{part.rate:.0f}/h'} "
        f"cpu={part.cpu_seconds / 3600:.2f}h"
        for part in parts
    ]
    return f"{at:%Y-%m-%dT%H:%M:%SZ} {'; '.join(said) or 'nothing queued, nothing recorded'}"


def display_of(parts: Sequence[PartProgress], at: datetime, note: str) -> RenderableType:
    """Return what a terminal shows: the table, the failures by name, and when it was true."""
    columns, rows = table_of(parts)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for number, column in enumerate(columns):
        table.add_column(Text(column), justify="left" if number < _WORDS else "right")
    for row in rows:
        table.add_row(*(plain(cell) for cell in row))
    failures = failures_by_name(parts)
    said = ", ".join(f"{count} × {name}" for name, count in failures.items())
    below = [plain(f"Failures: {said}", "red")] if said else []
    if note:
        below.append(plain(note, "yellow"))
    below.append(plain(f"{at:%Y-%m-%d %H:%M:%S} UTC; Ctrl-C ends this display.", "dim"))
    return Group(table, *below)


def _cells(part: PartProgress) -> list[str]:
    end = part.expected_end
    return [
        part.project or _NONE,
        part.code,
        f"{part.waiting:,}",
        f"{part.running:,}",
        f"{part.completed:,}",
        f"{part.failed:,}",
        _NONE if part.rate is None else f"{part.rate:,.0f}",
        f"{part.remaining:,}",
        _NONE if end is None else f"{end:%m-%d %H:%M} UTC",
        f"{part.cpu_seconds / 3600:,.2f}",
    ]
