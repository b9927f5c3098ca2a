"""`submit`, `run`, `ingest`: from structures to calculations."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from nearedge.cli import options as opt
from nearedge.cli.console import (
    counted,
    only_data_on_stdout,
    progress,
    say,
    share_of_archive,
    show,
    show_json,
)
from nearedge.cli.relaxing import relaxation
from nearedge.cli.submitting import (
    changed_protocol,
    read_structures,
    refuse_missing_program,
    tell_inputs,
    tell_submission,
)


def submit(
    structures: opt.Files,
    absorber: opt.Absorber,
    edge: opt.Edge = "K",
    code: Annotated[str, typer.Option(help="Code, or several as a,b.")] = "feff",
    protocol: Annotated[str, typer.Option(help="Protocol of the code.")] = "fast",
    project: opt.ProjectName = "default",
    rerun_failed: opt.RerunFailed = False,
    priority: Annotated[
        int, typer.Option(min=0, max=1000, help="The highest is computed first.")
    ] = 0,
    pack: opt.Pack = 1,
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="Another value for a setting of the protocol; may be repeated.",
        ),
    ] = None,
    inputs_only: Annotated[
        Path | None,
        opt.path_option(
            "--inputs-only",
            metavar="DIR",
            help="Write the inputs into a folder and queue nothing; `ingest` takes results back.",
        ),
    ] = None,
    relax: opt.Relax = None,
    relax_mode: opt.RelaxModeOption = None,
    pressure: opt.Pressure = None,
    as_json: opt.Json = False,
) -> None:
    """Add calculations to the queue; what is known already costs nothing."""
    codes = opt.named_codes(code, "--code")
    relaxing = relaxation(relax, relax_mode, pressure, project=project, rerun_failed=rerun_failed)
    if relaxing is not None and inputs_only is not None:
        raise typer.BadParameter(
            "inputs are written of structures as they are given: leave out --relax.",
            param_hint="--inputs-only",
        )
    if pack > 1 and relaxing is not None:
        raise typer.BadParameter(
            "a structure's sites are known once it is relaxed, each structure at its own time, so "
            "they have jobs of their own: leave out --pack or --relax.",
            param_hint="--pack",
        )
    from nearedge.settings import get_settings
    from nearedge.store.connection import connect
    from nearedge.workflows import campaign
    from nearedge.workflows.inputs import write_inputs

    settings = get_settings()
    protocol = changed_protocol(codes, protocol, changes or [])
    if inputs_only is None:
        for each in codes:
            refuse_missing_program(
                each, "write its inputs with --inputs-only DIR and run them elsewhere"
            )
        connect(settings)
    with only_data_on_stdout(), progress("Reading and checking structures") as step:
        loaded = read_structures(structures, absorber)

        def look(_done: int, _total: int) -> None:
            step(1)

        if inputs_only is not None:
            written = write_inputs(
                loaded,
                inputs_only,
                absorber=absorber,
                edge=edge,
                codes=codes,
                protocol=protocol,
                progress=look,
            )
        elif relaxing is not None:
            from nearedge.workflows.relax import submit_relaxed

            report = submit_relaxed(
                loaded,
                relaxing,
                absorber=absorber,
                edge=edge,
                codes=codes,
                protocol=protocol,
                priority=priority,
                settings=settings,
                progress=look,
            )
        else:
            report = campaign.submit(
                loaded,
                absorber=absorber,
                edge=edge,
                codes=codes,
                protocol=protocol,
                project=project,
                rerun_failed=rerun_failed,
                priority=priority,
                pack=pack,
                settings=settings,
                progress=look,
            )
    if inputs_only is not None:
        tell_inputs(written, codes, as_json=as_json)
    else:
        tell_submission(report, as_json=as_json)


def run(
    workers: opt.Workers = None,
    forever: Annotated[
        bool, typer.Option("--forever", help="Wait for more work when the queue is empty.")
    ] = False,
    as_json: opt.Json = False,
) -> None:
    """Work the queue here until it is empty."""
    from nearedge.cli.running import work_the_queue
    from nearedge.cli.watching import live_display
    from nearedge.settings import get_settings

    settings = get_settings()
    with only_data_on_stdout():
        done = work_the_queue(settings, workers or settings.workers, live_display, forever=forever)
    if as_json:
        show_json(asdict(done))
    else:
        if done.put_back_first:
            lost = counted(done.put_back_first, "job")
            show(f"Put back first: {lost} whose worker was gone or whose machine failed.")
        show(
            f"{counted(done.sites, 'site')} and {counted(done.averages, 'average')} completed "
            f"in {done.cpu_seconds:.0f} CPU seconds; {counted(done.left, 'job')} left in the queue."
        )
        for name, count in done.failures.items():
            show(f"failed: {count} × {name}")
        for message in done.messages:
            say(message, style="yellow")
    if done.interrupted:
        say("Interrupted: the jobs that ran were put back; `nearedge run` goes on.")
        raise typer.Exit(130)
    if done.failures or done.messages:
        which = ", and `nearedge query --calculations --state NAME` which"
        say(
            "Error: not everything succeeded; `nearedge status` shows why"
            f"{which if set(done.failures) - {'fizzled'} else ''}.",
            style="red",
        )
        raise typer.Exit(1)


def ingest(
    paths: Annotated[
        list[Path],
        typer.Argument(
            parser=opt.given_path,
            metavar="paths",
            help="Folders or archives of finished calculations.",
        ),
    ],
    code: Annotated[str, typer.Option(help="Which code made them.")] = "feff",
    project: opt.ProjectName = "default",
    as_json: opt.Json = False,
) -> None:
    """Take finished calculations into the database; what is there already is not read again."""
    from nearedge.codes import get_code
    from nearedge.errors import IngestError
    from nearedge.makers.ingest import ingest_path
    from nearedge.store.spectra_store import SpectraStore

    get_code(code)
    for path in paths:
        if not path.exists():
            raise IngestError(f"{path} does not exist: name a folder or an archive.")
    store = SpectraStore.from_settings()
    new = known = 0
    bad: list[tuple[str, str]] = []
    for path in paths:
        try:
            with only_data_on_stdout(), share_of_archive(f"Ingesting {path.name}") as look:
                summary = ingest_path(path, code, store, project, look)
        except (IngestError, OSError) as error:
            if len(paths) == 1:
                raise
            # What the others give is told, whatever this one is.
            bad.append((str(path), str(error)))
            continue
        new, known = new + summary.new, known + summary.known
        bad += summary.bad
    if as_json:
        reasons = [{"label": label, "reason": reason} for label, reason in bad]
        show_json({"new": new, "known": known, "bad": reasons})
    else:
        show(f"{new} new, {known} known, {len(bad)} bad.")
        for label, reason in bad:
            show(f"bad {label}: {reason}")
    if bad and not (new or known):
        if not as_json:
            say("Error: nothing could be read.", style="red")
        raise typer.Exit(1)
