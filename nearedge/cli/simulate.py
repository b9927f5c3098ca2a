"""`submit`, `run`, `ingest`: from structures to calculations."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nearedge.cli import options as opt


def submit(
    structures: opt.Files,
    absorber: opt.Absorber,
    edge: opt.Edge = "K",
    code: Annotated[str, typer.Option(help="Code, or several as a,b.")] = "feff",
    protocol: Annotated[str, typer.Option(help="Protocol of the code.")] = "fast",
    project: opt.ProjectName = "default",
    as_json: opt.Json = False,
) -> None:
    """Add calculations to the queue; what is known already costs nothing."""


def run(
    workers: Annotated[
        int | None, typer.Option(min=1, help="Worker processes; default: the setting.")
    ] = None,
    as_json: opt.Json = False,
) -> None:
    """Work the queue here until it is empty."""


def ingest(
    paths: Annotated[list[Path], typer.Argument(help="Folders or archives of calculations.")],
    code: Annotated[str, typer.Option(help="Which code made them.")] = "feff",
    project: opt.ProjectName = "default",
    as_json: opt.Json = False,
) -> None:
    """Take finished calculations into the database."""
