"""`queue`: batch jobs for what is ready."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from nearedge.cli import options as opt
from nearedge.cli.console import counted, only_data_on_stdout, say, show, show_json
from nearedge.errors import DatabaseUnavailable, LaunchError, NearEdgeError

if TYPE_CHECKING:
    from nearedge.launch.batch.brake import Brake
    from nearedge.launch.batch.filling import Pass, Wanted
    from nearedge.queue_settings import SchedulerName
    from nearedge.settings import Settings


def queue(
    project: opt.ProjectFilter = None,
    code: Annotated[
        str | None, typer.Option(help="Only these codes, as a,b; python is all that is no code.")
    ] = None,
    max_jobs: Annotated[
        int | None,
        typer.Option("--max", min=1, help="Jobs of yours in the queue at most; default: setting."),
    ] = None,
    pilots: Annotated[
        bool | None,
        typer.Option(
            "--pilots/--no-pilots",
            help="Many runs in one job, or a job for each; default: as the settings say per code.",
            show_default=False,
        ),
    ] = None,
    forever: Annotated[
        bool, typer.Option("--forever", help="Look again and again, until interrupted.")
    ] = False,
    interval: Annotated[
        float | None, typer.Option(min=1, help="Seconds between two looks; default: the setting.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the scripts and submit nothing.")
    ] = False,
    as_json: opt.Json = False,
) -> None:
    """Submit batch jobs of a cluster for what is ready to run."""
    from nearedge.launch.batch.adapter import find_scheduler
    from nearedge.launch.batch.brake import Brake
    from nearedge.launch.batch.filling import Wanted, refuse_unreachable
    from nearedge.settings import get_settings
    from nearedge.store.connection import connect

    settings = get_settings()
    classes = _classes(settings, code)
    scheduler = find_scheduler(settings.batch)
    wanted = Wanted(max_jobs or settings.batch.max_jobs, project, classes, pilots)
    connect(settings)
    if dry_run:
        _show_scripts(scheduler, settings, wanted, as_json=as_json)
        return
    refuse_unreachable(settings, scheduler)
    brake = Brake()
    if forever:
        _again_and_again(
            scheduler, settings, wanted, brake, interval or settings.batch.interval, as_json=as_json
        )
    done = _look(scheduler, settings, wanted, brake)
    _tell(done, wanted, as_json=as_json)
    if done.refused:
        raise typer.Exit(1)


def _classes(settings: Settings, code: str | None) -> tuple[str, ...] | None:
    """Return the classes of work that were chosen, after checking those of the settings too."""
    from nearedge.codes import code_names
    from nearedge.launch.batch.classes import LIGHT, PYTHON
    from nearedge.launch.batch.filling import refuse_unknown_classes

    known = [*code_names(), PYTHON, LIGHT]
    refuse_unknown_classes(settings, known)
    if code is None:
        return None
    chosen = tuple(opt.named_codes(code, "--code"))
    if unknown := [each for each in chosen if each not in known]:
        raise typer.BadParameter(
            f"{unknown[0]!r} is no code; there are {', '.join(known)}.", param_hint="--code"
        )
    return chosen


def _look(scheduler: SchedulerName, settings: Settings, wanted: Wanted, brake: Brake) -> Pass:
    """Put back what was lost, and submit what there is room for."""
    from nearedge.launch.batch.filling import fill
    from nearedge.launch.fireworks import ensure_launchpad_indexes, launchpad
    from nearedge.launch.recovery import recover
    from nearedge.store.connection import connect
    from nearedge.store.operations import database_errors

    with only_data_on_stdout(), database_errors():
        pad = launchpad(settings)
        ensure_launchpad_indexes(pad)
        recover(pad, connect(settings))
        done = fill(pad, scheduler, settings, wanted, brake.paused)
    brake.watch(done.submitted)
    return done


def _again_and_again(
    scheduler: SchedulerName,
    settings: Settings,
    wanted: Wanted,
    brake: Brake,
    interval: float,
    *,
    as_json: bool,
) -> None:
    """Look until interrupted; what cannot be done now is tried again at the next look."""
    told: set[str] = set()
    too_long: Counter[str] = Counter()
    while True:
        try:
            brake.look()
            done = _look(scheduler, settings, wanted, brake)
            if done.submitted or done.refused or not done.too_long <= too_long:
                too_long = done.too_long
                _tell(done, wanted, as_json=as_json)
        except NearEdgeError as error:
            if isinstance(error, DatabaseUnavailable):
                brake.forgive()
            say(f"{error} Trying again in {interval:.0f} s.", style="yellow")
        stopped = brake.stopped
        for name in stopped.keys() - told:
            say(
                f"No more jobs for {name}: {stopped[name]} Start again when it is mended.",
                style="red",
            )
        told = set(stopped)  # one that was forgiven, and stops again, is told again
        time.sleep(interval)


def _tell(done: Pass, wanted: Wanted, *, as_json: bool) -> None:
    if as_json:
        rows = [asdict(job) | {"folder": str(job.folder)} for job in done.submitted]
        counts = {
            "refused": done.refused,
            "in_queue": done.in_queue,
            "ready": dict(done.ready),
            "too_long": dict(done.too_long),
        }
        show_json({"submitted": rows} | counts, indent=None)
        return
    for job in done.submitted:
        show(f"{job.batch_id}: {job.job_class}, {job.label}")
    for name, why in done.refused.items():
        say(f"Error: {name}: {why}", style="red")
    for name, number in done.too_long.items():
        say(
            f"{counted(number, 'run')} of {name} had longer than a pilot's walltime allows before, "
            f"and had not ended: raise queue.codes.{name}.walltime, or give --no-pilots.",
            style="yellow",
        )
    ready = sum(done.ready.values())
    if not ready:
        show("Nothing is ready to run.")
    elif not done.submitted and not done.refused and done.in_queue >= wanted.max_jobs:
        held = counted(done.in_queue, "job")
        show(f"{ready} ready, but {held} of yours in the queue are all that --max allows.")
    else:
        show(f"{counted(len(done.submitted), 'batch job')} submitted; {ready} ready before.")


def _show_scripts(
    scheduler: SchedulerName, settings: Settings, wanted: Wanted, *, as_json: bool
) -> None:
    from nearedge.launch.batch.filling import scripts
    from nearedge.launch.fireworks import launchpad

    with only_data_on_stdout():
        found = scripts(launchpad(settings), scheduler, settings, wanted)
    if as_json:
        show_json(found)
        return
    if not found:
        raise LaunchError("Nothing is ready to run, so there is no script to show.")
    for name, script in found.items():
        show(f"# ---- {name}\n{script}")
