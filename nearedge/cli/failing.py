"""`failures`, `rerun` and `clean`: what failed, running it again, and the folders it left."""

from __future__ import annotations

from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from nearedge.cli import options as opt
from nearedge.cli.console import (
    counted,
    only_data_on_stdout,
    progress,
    say,
    show,
    show_json,
    show_table,
)
from nearedge.cli.submitting import setting_name, tell_submission
from nearedge.errors import WeightsError

if TYPE_CHECKING:
    from nearedge.workflows.campaign import SubmissionReport


def failures(
    project: opt.ProjectFilter = None,
    code: opt.CodeFilter = None,
    since: Annotated[
        timedelta | None, opt.age_option("--since", "Only what failed within this time")
    ] = None,
    as_json: opt.Json = False,
) -> None:
    """Say what failed: by code and name, how often, what it cost, and one example each."""
    from nearedge.cli.failure_groups import cpu, gather, table_of
    from nearedge.settings import get_settings

    now = datetime.now(UTC)
    after = None if since is None else now - since
    groups = gather(get_settings(), project=project, code=code, since=after)
    if as_json:
        show_json([asdict(group) for group in groups])
        return
    if not groups:
        show("Nothing failed.")
        return
    columns, rows = table_of(groups, now)
    show_table(columns, rows, numbers="How often,CPU,Last")
    seconds = sum(group.cpu_seconds or 0.0 for group in groups)
    total = sum(group.count for group in groups)
    show(f"{counted(total, 'failure')}, {cpu(seconds)} of CPU time spent on them.")
    say("`nearedge rerun --error NAME` runs a group again, with --set with other parameters.")


def rerun(
    error: Annotated[str, typer.Option(help="Name of the failure, as `failures` has it.")],
    code: opt.CodeFilter = None,
    project: opt.ProjectFilter = None,
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="protocol=NAME, or another value for a setting of the protocol; may be repeated.",
        ),
    ] = None,
    whole_crystals: Annotated[
        bool,
        typer.Option(
            "--whole-crystals", help="With --set: the crystals' other sites too, for their average."
        ),
    ] = False,
    pack: opt.Pack = 1,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")
    ] = False,
    as_json: opt.Json = False,
) -> None:
    """Run a group of failures again, as they were or with other parameters."""
    protocol = None
    settings = []
    for change in changes or []:
        if setting_name(change) != "protocol":
            settings.append(change)
        elif protocol is not None:
            raise typer.BadParameter("protocol is set twice.", param_hint="--set")
        else:
            protocol = change.partition("=")[2]
    if whole_crystals and not changes:
        raise typer.BadParameter("goes with --set.", param_hint="--whole-crystals")
    from nearedge.workflows.again import Changes, run_again

    with only_data_on_stdout(), progress("Looking at failures") as step:
        report = run_again(
            error,
            code=code,
            project=project,
            changes=Changes(protocol, tuple(settings), whole_crystals),
            pack=pack,
            dry_run=dry_run,
            progress=step,
        )
        missing: WeightsError | None = None
        if not changes and code is None:
            try:
                report = _with_relaxations(report, error, project, dry_run=dry_run)
            except WeightsError as caught:  # the calculations are queued already
                missing = caught
    tell_submission(report, as_json=as_json, dry_run=dry_run)
    if missing is not None:
        raise WeightsError(f"No relaxation was queued again: {missing}") from missing


def _with_relaxations(
    report: SubmissionReport, error: str, project: str | None, *, dry_run: bool
) -> SubmissionReport:
    """Run relaxations again that failed by the name `error`, and count them too."""
    from nearedge.settings import get_settings
    from nearedge.store.connection import connect
    from nearedge.store.relaxations import RelaxationStore

    settings = get_settings()
    stored = RelaxationStore(connect(settings)).failed(project=project)
    failed = [each for each in stored if each.state == error]
    if not failed:
        return report
    if dry_run:
        return replace(report, new=report.new + len(failed))
    from nearedge.workflows.relax import relax_again

    also = relax_again(failed, project=project, settings=settings)
    return replace(
        report,
        new=report.new + also.new,
        queued=report.queued + also.queued,
        refused=(*report.refused, *also.refused),
    )


def clean(
    older_than: Annotated[
        timedelta,
        opt.age_option("--older-than", "Folders that nothing was written to for this long", "30d"),
    ] = timedelta(days=30),
    yes: Annotated[
        bool, typer.Option("--yes", help="Remove them; without it they are only shown.")
    ] = False,
    as_json: opt.Json = False,
) -> None:
    """Show the folders of old failed runs and batch jobs, and remove them with --yes.

    The records of the runs stay.
    """
    from nearedge.launch.fireworks import launchpad
    from nearedge.launch.folders import old_folders, remove, written
    from nearedge.settings import get_settings
    from nearedge.store.connection import connect

    settings = get_settings()
    database = connect(settings)
    found = old_folders(settings, launchpad(settings), database, older_than)
    removed = remove(found, database) if yes else []
    if as_json:
        show_json({"folders": [asdict(each) for each in found], "removed": len(removed)})
        return
    total = written(sum(each.size for each in found))
    for each in found:
        show(f"{written(each.size):>9}  {each.path}")
    if yes:
        show(f"Removed {counted(len(removed), 'folder')} of {len(found)}, {total}.")
    else:
        show(f"{counted(len(found), 'folder')}, {total}.")
        if found:
            say("`nearedge clean --yes` removes them; what failed and why stays in the database.")
