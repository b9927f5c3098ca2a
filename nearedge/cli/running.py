"""Working the queue from the command line: recover first, then workers, then the sum."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass

import typer

from nearedge.cli.console import counted, only_data_on_stdout, say
from nearedge.cli.watching import Ended, QueueWatch, live_display
from nearedge.codes import code_names, get_code
from nearedge.launch.batch.classes import none_of, ready
from nearedge.launch.fireworks import launchpad
from nearedge.launch.pool import PoolSummary, run_workers
from nearedge.launch.queue_state import JobKind
from nearedge.launch.recovery import recover
from nearedge.schemas import COMPLETED
from nearedge.settings import Settings
from nearedge.store.connection import connect
from nearedge.store.operations import database_errors

Display = Callable[[QueueWatch, str], AbstractContextManager[Callable[[], None]]]


@dataclass(frozen=True)
class Worked:
    """What was done while the queue was worked.

    Parameters
    ----------
    put_back_first
        Jobs that had lost their worker before.
    sites, averages
        Jobs that completed.
    failures
        Failures by name; ``fizzled`` are jobs that ended without one.
    cpu_seconds
        Of the sites that completed, as their calculations state it.
    left
        Jobs still in the queue.
    messages
        What workers said before they gave up.
    """

    put_back_first: int
    sites: int
    averages: int
    failures: dict[str, int]
    cpu_seconds: float
    left: int
    messages: tuple[str, ...]
    interrupted: bool


def work_the_queue(
    settings: Settings,
    workers: int,
    display: Display,
    *,
    forever: bool = False,
    title: str = "Computing",
    tell: Callable[[Ended], None] | None = None,
    about: Mapping[str, str] | None = None,
) -> Worked:
    """Put lost jobs back, run `workers` until nothing is ready (or `forever`), and sum up.

    With `about`, only jobs count that say this of themselves, such as one ``convergence_id``.
    """
    database = connect(settings)
    with database_errors():
        recovered = recover(launchpad(settings), database)
    watch = QueueWatch(settings, tell, about or {})
    watch()  # before any worker starts, so that no job ends unseen
    pool = PoolSummary()
    if forever or watch.pending:
        query = none_of(_missing_here(settings, forever=forever))
        with display(watch, title) as look:
            pool = run_workers(
                workers, settings, forever=forever, watch=look, about=about, query=query
            )
        watch()
    completed = [job for job in watch.ended if job.state == COMPLETED]
    return Worked(
        put_back_first=recovered.total,
        sites=sum(job.kind == JobKind.SITE for job in completed),
        averages=sum(job.kind == JobKind.AVERAGE for job in completed),
        failures=dict(sorted(watch.failures.items())),
        cpu_seconds=sum(job.cpu_seconds or 0.0 for job in completed),
        left=watch.pending,
        messages=pool.messages,
        interrupted=pool.interrupted,
    )


def work_for_command(
    settings: Settings, workers: int, about: Mapping[str, str], *, title: str
) -> Worked:
    """Work the queue as far as it is about what a command needs, and say what workers said.

    Raises
    ------
    typer.Exit
        If it is interrupted, with 130, as shells have it of Ctrl-C.
    """
    with only_data_on_stdout():
        done = work_the_queue(settings, workers, live_display, title=title, about=about)
    tell_end(done.messages, interrupted=done.interrupted)
    return done


def tell_end(messages: Iterable[str], *, interrupted: bool) -> None:
    """Say what workers said; end the command, with 130, if they were interrupted."""
    for message in messages:
        say(message, style="yellow")
    if interrupted:
        say("Interrupted: what ran was put back; the same command goes on.")
        raise typer.Exit(130)


def _missing_here(settings: Settings, *, forever: bool) -> list[str]:
    """Return the codes that cannot run here, and say whose jobs are left for other machines."""
    missing = []
    with database_errors():
        waiting = ready(launchpad(settings))
    for name in code_names():
        if not (waiting[name] or forever) or (found := get_code(name).availability()).found:
            continue
        missing.append(name)
        if waiting[name]:
            left = counted(waiting[name], "run")
            say(f"Left for a machine that has {get_code(name).title}: {left} ({found.detail}).")
    return missing
