"""What the command prints: data on standard output, everything else on standard error."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterator, Sequence

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

_WIDE = 400
"""Columns of a table in a pipe, where rich would cut at 80."""


_CONTROLS = dict.fromkeys({*range(0x20), *range(0x7F, 0xA0)} - {ord("\t"), ord("\n")}, "\ufffd")
"""Characters that steer a terminal: what is printed may come from strangers' files."""


def output() -> Console:
    """Return the console of standard output as it is now."""
    wide = None if sys.stdout.isatty() else _WIDE
    return Console(file=sys.stdout, width=wide, highlight=False, soft_wrap=wide is not None)


def messages() -> Console:
    """Return the console of standard error as it is now."""
    return Console(file=sys.stderr, highlight=False, soft_wrap=not sys.stderr.isatty())


def say(text: str, *, style: str = "") -> None:
    """Tell the user something that is not data; brackets in `text` are only brackets."""
    messages().print(plain(text, style))


def show(text: str, *, style: str = "") -> None:
    """Print a line of data."""
    output().print(plain(text, style))


def plain(text: str, style: str = "") -> Text:
    """Return text for the terminal in which nothing steers it and brackets are only brackets."""
    return Text(text.translate(_CONTROLS), style=style)


def show_json(data: object, *, indent: int | None = 2) -> None:
    """Print `data` as JSON and nothing else; arrays of numbers read better without `indent`."""
    sys.stdout.write(json.dumps(data, indent=indent, ensure_ascii=False, allow_nan=False) + "\n")


def show_table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], *, title: str = "", numbers: str = ""
) -> None:
    """Print a table.

    Parameters
    ----------
    columns, rows
        Headings and cells, plain text.
    title
        A line above it.
    numbers
        The headings of the columns that are set flush right, separated by commas.
    """
    right = set(filter(None, numbers.split(",")))
    table = Table(box=None, pad_edge=False, header_style="bold", title_justify="left")
    if title:
        table.title = Text(title, style="bold")
    for column in columns:
        table.add_column(
            Text(column),
            justify="right" if column in right else "left",
            overflow="fold",
            no_wrap=not sys.stdout.isatty(),
        )
    for row in rows:
        table.add_row(*(plain(cell) for cell in row))
    output().print(table)


@contextlib.contextmanager
def only_data_on_stdout() -> Iterator[None]:
    """Send what libraries print to standard error, so that standard output stays parseable."""
    with contextlib.redirect_stdout(sys.stderr):
        yield


@contextlib.contextmanager
def progress(title: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
    """Show a bar on a terminal and nothing in a pipe; call what is yielded with steps done."""
    columns = [
        TextColumn("{task.description}", markup=False),  # a file may be called [/]
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    ]
    silent = not sys.stderr.isatty()
    with Progress(*columns, console=messages(), transient=True, disable=silent) as bar:
        task = bar.add_task(title, total=total)
        yield lambda steps: bar.update(task, advance=steps)


@contextlib.contextmanager
def share_of_archive(title: str) -> Iterator[Callable[[int, float], None]]:
    """Show a bar for something of unknown length; call what is yielded with count and share."""
    columns = [
        TextColumn("{task.description}", markup=False),  # a file may be called [/]
        BarColumn(),
        TextColumn("{task.fields[count]} calculations"),
        TimeElapsedColumn(),
    ]
    silent = not sys.stderr.isatty()
    with Progress(*columns, console=messages(), transient=True, disable=silent) as bar:
        task = bar.add_task(title, total=1.0, count=0)
        yield lambda count, share: bar.update(task, completed=share, count=count)


def counted(number: int, noun: str, plural: str = "") -> str:
    """Return ``1 job`` or ``2 jobs``; a plural that has no s is given."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"
