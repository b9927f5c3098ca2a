"""`blobs move` and `clean`: large fields of documents, in the database or in a bucket."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

import typer

from nearedge.cli import options as opt
from nearedge.cli.console import counted, progress, say, show, show_json

app = typer.Typer(
    no_args_is_help=True, help="Large fields of documents: where they are kept (NEAREDGE_BLOBS)."
)


@app.command()
def move(as_json: opt.Json = False) -> None:
    """Bring all blobs from the database to the bucket that NEAREDGE_BLOBS names.

    End all workers before. Each is read again before it is removed here; if it is interrupted, the
    same command goes on.
    """
    from nearedge.settings import get_settings
    from nearedge.store import moving

    blobs = moving.prepare_move(get_settings())
    waiting = len(blobs.ids_in_database())
    with progress("Moving blobs", waiting) as advance:
        total = moving.move(blobs, advance)
    if as_json:
        show_json({"moved": total, "place": get_settings().blobs})
        return
    show(f"Moved {counted(total, 'blob')} to {get_settings().blobs}.")
    say("Every worker and command needs NEAREDGE_BLOBS from now on.")


@app.command()
def clean(
    older_than: Annotated[
        timedelta, opt.age_option("--older-than", "What was stored at least this long ago", "1d")
    ] = timedelta(days=1),
    yes: Annotated[
        bool, typer.Option("--yes", help="Remove them; without it they are only counted.")
    ] = False,
    as_json: opt.Json = False,
) -> None:
    """Count blobs that no document names, left by killed writers, and remove them with --yes."""
    from nearedge.settings import get_settings
    from nearedge.store import moving

    settings = get_settings()
    found = moving.unnamed(settings, older_than)
    removed = moving.remove_unnamed(settings, found, older_than) if yes else 0
    if as_json:
        counts = {"blobs": len(found.blobs), "objects": len(found.objects), "removed": removed}
        show_json(counts)
        return
    objects = f", {counted(len(found.objects), 'object')} that no blob names"
    show(
        f"{counted(len(found.blobs), 'blob')} that no document names"
        f"{objects if settings.blobs else ''}."
    )
    if yes:
        show(f"Removed {removed}.")
