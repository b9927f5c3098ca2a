"""`watch`: how far the projects are, again and again."""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from nearedge.cli import options as opt
from nearedge.cli.console import output, show, show_json

if TYPE_CHECKING:
    from nearedge.launch.progress import PartProgress
    from nearedge.settings import Settings

_LOOK_SHARE = 10
"""A look that takes a second is repeated after this many: asking is not to slow the work down."""


def watch(
    project: opt.ProjectFilter = None,
    interval: Annotated[float, typer.Option(min=1.0, help="Seconds between two looks.")] = 5.0,
    once: Annotated[bool, typer.Option("--once", help="Look once.")] = False,
    as_json: opt.Json = False,
) -> None:
    """Show how far each project is, until Ctrl-C; in a pipe, a line at each look."""
    from nearedge.settings import get_settings

    look = Look(get_settings(), project)
    if once:
        look(patiently=False)
        _tell(look, as_json=as_json, table=True)
        return
    # Ctrl-C is how this verb ends, and no error.
    with suppress(KeyboardInterrupt):
        if sys.stdout.isatty() and not as_json:
            _on_a_terminal(look, interval)
        else:
            while True:
                pause = look(interval)
                _tell(look, as_json=as_json, table=False)
                sys.stdout.flush()
                time.sleep(pause)


@dataclass
class Look:
    """Looks when it is called; a database that is away leaves what was seen before.

    Attributes
    ----------
    parts, at
        What was seen, and when.
    away_since
        When the database was first found away; None while it answers.
    """

    settings: Settings
    project: str | None
    parts: list[PartProgress] = field(default_factory=list)
    at: datetime = field(default_factory=lambda: datetime.now(UTC))
    away_since: datetime | None = None

    def __call__(self, interval: float = 0.0, *, patiently: bool = True) -> float:
        """Look, and return the seconds until the next look.

        Raises
        ------
        DatabaseUnavailable
            If the database does not answer, and that is not waited for.
        """
        from nearedge.errors import DatabaseUnavailable
        from nearedge.launch.fireworks import launchpad
        from nearedge.launch.progress import progress
        from nearedge.store.connection import connect

        started = time.monotonic()
        try:
            # Connected anew each time: an embedded server may come back on another port.
            database = connect(self.settings)
            self.parts = progress(launchpad(self.settings), database, project=self.project)
            self.at, self.away_since = datetime.now(UTC), None
        except DatabaseUnavailable:
            if not patiently:
                raise
            self.away_since = self.away_since or datetime.now(UTC)
            return interval
        return max(interval, _LOOK_SHARE * (time.monotonic() - started))

    @property
    def note(self) -> str:
        """What is to be said of the database, if anything."""
        if self.away_since is None:
            return ""
        return f"The database does not answer since {self.away_since:%H:%M:%S} UTC; trying again."


def _on_a_terminal(look: Look, interval: float) -> None:
    from rich.live import Live

    from nearedge.cli.progress_table import display_of

    with Live("Looking …", console=output(), auto_refresh=False) as live:
        while True:
            pause = look(interval)
            live.update(display_of(look.parts, look.at, look.note), refresh=True)
            time.sleep(pause)


def _tell(look: Look, *, as_json: bool, table: bool) -> None:
    from nearedge.cli.console import show_table
    from nearedge.cli.progress_table import line_of, numbers, row_of, table_of
    from nearedge.launch.progress import failures_by_name

    if as_json:
        found = {
            "at": look.at.isoformat(),
            "database": "up" if look.away_since is None else "away",
            "projects": [row_of(part) for part in look.parts],
            "failures": failures_by_name(look.parts),
        }
        show_json(found, indent=2 if table else None)
    elif table:
        columns, rows = table_of(look.parts)
        show_table(columns, rows, numbers=numbers())
        for name, count in failures_by_name(look.parts).items():
            show(f"failed: {count} × {name}")
    else:
        show(look.note or line_of(look.parts, look.at))
