"""`up`, `down`, `status`, `doctor`."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from nearedge.cli.console import counted, output, say, show, show_json, show_table
from nearedge.cli.options import Json

if TYPE_CHECKING:
    from nearedge.cli.database_state import RunningCalculation
    from nearedge.launch.folders import DiskUse


def up(
    webgui: Annotated[
        bool, typer.Option("--webgui", help="Start the web page too, on loopback, with a login.")
    ] = False,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port of the web page; 0: a free one.")
    ] = 0,
    as_json: Json = False,
) -> None:
    """Start the embedded database, or make the configured MongoDB ready."""
    from nearedge.cli.database_state import make_ready
    from nearedge.settings import get_settings

    if port and not webgui:
        raise typer.BadParameter("is the web page's: add --webgui.", param_hint="--port")
    settings = get_settings()
    state = make_ready(settings)
    page = None
    if webgui:
        from nearedge.launch.webpage.lifecycle import WebPage

        page = WebPage(settings).up(port)
    if as_json:
        told = {"where": state.where, "usable": state.usable, "detail": state.detail}
        show_json(told if page is None else {**told, "webgui": page.url})
        return
    started = state.server is not None and state.server.started
    show(state.detail if started or state.server is None else f"Already up. {state.detail}")
    if settings.mongo_uri is None:
        say(
            f"Its data are under {settings.home / 'database'}. It is for trying out: for work that "
            "matters, name a MongoDB in NEAREDGE_MONGO_URI."
        )
    if page is not None:
        show(page.detail)


def down(as_json: Json = False) -> None:
    """End the web page and the embedded database; a MongoDB of yours is left alone."""
    from nearedge.launch.webpage.lifecycle import WebPage
    from nearedge.settings import get_settings
    from nearedge.store import lifecycle

    settings = get_settings()
    page = WebPage(settings).down()
    state = lifecycle.down(settings)
    if as_json:
        show_json({"where": state.where, "detail": state.detail})
        return
    if page.ended:
        show(page.detail)
    show(state.detail)


def status(as_json: Json = False) -> None:
    """Say what is in the database, what runs, and what failed."""
    from nearedge.cli.database_state import overview
    from nearedge.cli.progress_table import numbers, row_of, table_of
    from nearedge.settings import get_settings

    found = overview(get_settings())
    if as_json:
        show_json({**asdict(found), "projects": [row_of(part) for part in found.projects]})
        return
    show(f"Database: {found.state} ({found.where})", style="green" if found.usable else "red")
    show(f"  {found.detail}")
    if not found.usable:
        return
    show(f"Structures: {found.structures}")
    incomplete = f", of which {found.incomplete_averages} averages lack a site"
    show(f"Spectra: {found.spectra}{incomplete if found.incomplete_averages else ''}")
    _counts("Calculations", found.calculations)
    show(f"Data sets: {found.datasets}; models: {found.models}")
    if found.blobs is not None and found.blobs.where != "database":
        show(found.blobs.detail, style="" if found.blobs.usable else "red")
    others = f" (others: {', '.join(found.other_launchpads)})" if found.other_launchpads else ""
    _counts(f"Queue {found.launchpad}{others}" if others else "Queue", found.queue)
    _disk(found.disk)
    if found.webgui is not None and found.webgui.url is not None:
        show(found.webgui.detail)
    if found.projects:
        show_table(*table_of(found.projects), title="Projects", numbers=numbers())
    if found.running:
        show_table(
            ["Running", "Stage", "Worker", "For (s)"],
            [[run.label, run.stage, _worker(run), f"{run.seconds:.0f}"] for run in found.running],
            title="Under way",
            numbers="For (s)",
        )
    if found.failures:
        show_table(
            ["Failure", "How often", "Example"],
            [[failure.name, str(failure.count), failure.example] for failure in found.failures],
            title="Failed calculations",
            numbers="How often",
        )
    for hint in found.hints:
        say(hint, style="yellow")


def doctor(as_json: Json = False) -> None:
    """Check each dependency and say how to get what is missing."""
    from nearedge.cli.doctor import checks

    found = list(checks())
    if as_json:
        show_json([asdict(check) for check in found])
    else:
        marks = {"ok": ("✓", "green"), "note": ("–", "yellow"), "missing": ("✗", "red")}
        console = output()
        for check in found:
            mark, style = marks[check.level]
            console.print(f"[{style}]{mark}[/] [bold]{check.name}[/]: ", end="")
            show(check.detail)
            if check.remedy:
                show(f"    {check.remedy}.")
    if any(check.level == "missing" for check in found):
        raise typer.Exit(1)


def _worker(run: RunningCalculation) -> str:
    dead = " (gone)" if run.owner == "dead" else ""
    return f"{run.host}:{run.pid}{dead}"


def _disk(used: DiskUse | None) -> None:
    from nearedge.launch.folders import written

    if used is None:
        return
    database = "" if used.database is None else f"; database: {written(used.database)}"
    show(
        f"Disk: {counted(used.run_folders, 'run folder')} with {written(used.runs)}; cache: "
        f"{written(used.cache)}{database}"
    )


def _counts(name: str, counts: dict[str, int]) -> None:
    parts = [f"{count} {state}" for state, count in counts.items()]
    show(f"{name}: {', '.join(parts) or 'none'}")
