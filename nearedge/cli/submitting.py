"""What `submit` is given, checked before anything starts, and what it tells in the end."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from nearedge.cli.console import counted, say, show, show_json
from nearedge.errors import InputRefused, LaunchError

if TYPE_CHECKING:
    from nearedge.structures.source import LoadedStructure, Refusal
    from nearedge.workflows.campaign import SubmissionReport
    from nearedge.workflows.inputs import InputsReport

_CHANGE = re.compile(r"([A-Za-z_]\w*)=(.+)", re.DOTALL)


def changed_protocol(codes: Sequence[str], protocol: str, changes: Sequence[str]) -> str:
    """Return the protocol with the changed settings, as `load_protocol` takes it.

    Parameters
    ----------
    codes
        All must have the protocol and every setting that is changed.
    protocol
        Name or label.
    changes
        What `--set` was given, each ``NAME=VALUE``.

    Raises
    ------
    InputRefused
        If a code has no such protocol or setting, or the value is of another kind.
    """
    from nearedge.codes import get_code
    from nearedge.codes.protocols import load_protocol

    names = [setting_name(change) for change in changes]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise typer.BadParameter(f"{twice[0]} is set twice.", param_hint="--set")
    settings = {code: load_protocol(get_code(code).name, protocol).settings for code in codes}
    for name in names:
        # Of one code alone, the protocol says which settings it has.
        have = [code for code in codes if name in settings[code]]
        lack = [code for code in codes if name not in settings[code]]
        if len(lack) > 1 and not have:
            raise InputRefused(
                "unknown_setting", f"--set {name}: none of {', '.join(codes)} has this setting."
            )
        if have and lack:
            raise InputRefused(
                "unknown_setting",
                f"--set {name}: {' and '.join(have)} has this setting, {' and '.join(lack)} has "
                "not; submit the codes one by one.",
            )
    changed = "+".join([protocol, *changes])
    for code in codes:
        load_protocol(code, changed)
    return changed


def setting_name(change: str) -> str:
    """Return the name in what `--set` was given, which must be ``NAME=VALUE``."""
    match = _CHANGE.fullmatch(change)
    if match is None:
        raise typer.BadParameter(
            f"{change!r} is not NAME=VALUE, such as fms_radius=5.", param_hint="--set"
        )
    return match.group(1)


def refuse_missing_program(code_name: str, otherwise: str = "") -> None:
    """Refuse a code that cannot run on this machine.

    Parameters
    ----------
    code_name
        Name of the code.
    otherwise
        What the user can do instead of getting it.

    Raises
    ------
    LaunchError
        Saying what is missing, and how to get it.
    """
    from nearedge.codes import get_code

    code = get_code(code_name)
    available = code.availability()
    if not available.found:
        instead = f"; or {otherwise}" if otherwise else ""
        raise LaunchError(
            f"{code.title} cannot run here, {available.detail}: {available.remedy}{instead}."
        )


def read_structures(items: Sequence[str], absorber: str) -> list[LoadedStructure | Refusal]:
    """Read structures as `load_structures` does, with the key of the settings."""
    from nearedge.settings import get_settings
    from nearedge.structures.sources import load_structures

    key = get_settings().mp_api_key
    return load_structures(
        items, absorber=absorber, mp_api_key=None if key is None else key.get_secret_value()
    )


def tell_submission(report: SubmissionReport, *, as_json: bool, dry_run: bool = False) -> None:
    """Print what was queued, or would be; leave with 1 if everything was refused."""
    if as_json:
        show_json(asdict(report))
    else:
        show(
            f"{'Would be: ' if dry_run else ''}{report.new} new, {report.known} known, "
            f"{report.queued} queued already, {len(report.refused)} refused."
        )
        if report.relaxing:
            first = counted(report.relaxing, "structure")
            show(f"{first} to relax first; the sites are listed and computed after.")
        _tell_refusals(report.refused)
        if (report.new or report.queued or report.relaxing) and not dry_run:
            say("`nearedge run` computes them.")
    if report.refused and not (report.new or report.known or report.queued or report.relaxing):
        _leave(as_json=as_json)


def tell_inputs(report: InputsReport, codes: Sequence[str], *, as_json: bool) -> None:
    """Print where inputs were written; leave with 1 if everything was refused."""
    if as_json:
        refused = [asdict(refusal) for refusal in report.refused]
        show_json({"written": [str(folder) for folder in report.written], "refused": refused})
    else:
        show(f"{len(report.written)} written, {len(report.refused)} refused.")
        for folder in report.written:
            show(str(folder))
        _tell_refusals(report.refused)
        if report.written:
            code = codes[0] if len(codes) == 1 else "CODE"
            say(f"`sh run.sh` runs each; `nearedge ingest DIR --code {code}` takes results back.")
    if report.refused and not report.written:
        _leave(as_json=as_json)


def _tell_refusals(refused: Sequence[Refusal]) -> None:
    for refusal in refused:
        show(f"refused {refusal.label}: {refusal.reason}")


def _leave(*, as_json: bool) -> None:
    if not as_json:
        say("Error: every structure was refused.", style="red")
    raise typer.Exit(1)
