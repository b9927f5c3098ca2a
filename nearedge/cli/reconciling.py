"""`reconcile`: put right what the launchpad says and is not true."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from nearedge.cli import options as opt
from nearedge.cli.console import counted, say, show, show_json, show_table


def reconcile(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be put right, and change nothing.")
    ] = False,
    as_json: opt.Json = False,
) -> None:
    """Compare the queue with its processes and batch jobs, and put lost work back.

    `run`, `queue` and every worker do so by themselves; this says what is found. What is alive, or
    may be, is left alone.
    """
    from nearedge.launch.fireworks import launchpad
    from nearedge.launch.reconcile import MEANINGS
    from nearedge.launch.recovery import diagnose, recover
    from nearedge.settings import get_settings
    from nearedge.store.connection import connect
    from nearedge.store.operations import database_errors

    settings = get_settings()
    database = connect(settings)
    with database_errors():
        pad = launchpad(settings)
        found = diagnose(pad, database) if dry_run else recover(pad, database)
    if as_json:
        left = set(found.exhausted)
        show_json([asdict(each) | {"fizzled": each.fw_id in left} for each in found.findings])
        return
    if not found.findings:
        show("The queue says what is true.")
        return
    for why, meaning in MEANINGS.items():
        rows = [
            (str(each.fw_id), each.label, each.batch or "")
            for each in found.findings
            if each.why == why
        ]
        if rows:
            title = f"{why}: {counted(len(rows), 'job')} {meaning}"
            show_table(("Id", "Job", "Batch job"), rows, title=title, numbers="Id")
    if dry_run:
        say("Nothing was changed: `nearedge reconcile` puts them right.")
    elif found.exhausted:
        say(
            f"{counted(len(found.exhausted), 'job')} met the same end too often and will not be "
            "started again by itself: `nearedge failures` names them."
        )
