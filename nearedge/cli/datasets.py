"""`dataset create`, `list`, `show`: frozen data sets."""

from __future__ import annotations

import typer

app = typer.Typer(no_args_is_help=True, help="Freeze, list and show data sets.")


@app.command("list")
def list_datasets() -> None:
    """List the data sets, the newest first."""
