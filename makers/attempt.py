"""One attempt at a site: the code is run here, and what came of it is a record."""

from __future__ import annotations

import logging
import shutil
import socket
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from nearedge.codes import Code, get_code
from nearedge.codes.base import CodeResult
from nearedge.codes.execution.process import cpu_seconds_so_far
from nearedge.codes.finished.sidecar import SIDECAR
from nearedge.codes.outputs import speaks_of_damage
from nearedge.errors import CodeError, DatabaseError, DatabaseUnavailable, ResourceError
from nearedge.makers.documents import Cost, Site, completed_record, failed_record
from nearedge.makers.leftover import load_leftover
from nearedge.schemas import CalculationDoc
from nearedge.settings import Settings
from nearedge.store.connection import connect
from nearedge.store.records import Record, Restart
from nearedge.store.spectra_store import SpectraStore

log = logging.getLogger(__name__)


def attempt(
    site: Site,
    seen: CalculationDoc | None,
    settings: Settings,
    project: str | None,
    progress: Callable[[str], None],
) -> Record:
    """Return what an earlier attempt left on this machine's disk and did not store, or compute.

    Parameters
    ----------
    site
        What is computed.
    seen
        What is recorded of it: a failure that is to be replaced.
    settings
        Where it runs, and which database may hold what it can be made from.
    project
        Name that the record is filed under.
    progress
        Told each stage as it begins.

    Raises
    ------
    ResourceError
        If the machine is at fault.
    DatabaseUnavailable
        If the database is away when it is asked what an earlier calculation left.
    """
    record = load_leftover(settings.runs / site.calculation_id, site.calculation_id)
    # Whoever stored it may have been killed before it cleared its files away.
    if record is None or (seen is not None and record.calculation.created_at == seen.created_at):
        restart, warnings = _restart(site, settings)
        record = _run(site, settings, progress, restart, warnings, project)
    return record


def _restart(site: Site, settings: Settings) -> tuple[Restart | None, list[str]]:
    """Return what another calculation left for this one, if any, and what is to be known."""
    if site.inputs.restart_key is None or site.refusal is not None:
        return None, []
    try:
        left = SpectraStore(connect(settings)).restart(
            site.inputs.restart_key,
            structure_key=site.structure.structure_key,
            absorbing_index=site.absorbing_index,
            edge=site.edge,
            code=site.inputs.code,
            code_version=site.inputs.code_version,
        )
    except DatabaseUnavailable:
        raise
    except DatabaseError as error:
        warning = _in_full(str(error))
        log.warning("%s: %s", site.label, warning)
        return None, [warning]
    return left, []


def _run(
    site: Site,
    settings: Settings,
    progress: Callable[[str], None],
    restart: Restart | None,
    warnings: list[str],
    project: str | None,
) -> Record:
    """Run the code in a fresh folder; a named failure gives a record like a result does."""
    host = socket.gethostname()
    spent = _Spent()
    if site.refusal is not None:
        return failed_record(site, site.refusal, project=project, host=host)
    # A folder of its own for each attempt: an earlier one may have left files behind.
    run_dir = settings.runs / site.calculation_id / uuid.uuid4().hex[:12]
    code = get_code(site.inputs.code)
    refuse_missing(code)
    kept = False
    try:
        result, parents = _computed(
            lambda files: code.run(
                site.inputs,
                run_dir,
                stage_timeout=settings.stage_timeout,
                progress=progress,
                restart=files,
            ),
            run_dir,
            restart,
        )
        result = replace(result, warnings=[*result.warnings, *warnings])
        kept = settings.keep_runs
        return completed_record(
            site,
            result,
            project=project,
            host=host,
            run_dir=str(run_dir) if kept else None,
            parents=parents,
        )
    except CodeError as error:
        kept = True
        return failed_record(
            site,
            error,
            project=project,
            host=host,
            run_dir=str(run_dir),
            cost=spent.until_now(),
        )
    except OSError as error:
        raise ResourceError(f"{site.label} could not be run in {run_dir}: {error}.") from error
    finally:
        # Also after a full disk or a stop: files that nobody will read make neither better.
        if kept:
            _say_what_it_is(site, run_dir)
        else:
            shutil.rmtree(run_dir, ignore_errors=True)


class _Spent:
    """What the programs cost that this process starts from now on."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.monotonic(), cpu_seconds_so_far()

    def until_now(self) -> Cost:
        return Cost(time.monotonic() - self._wall, cpu_seconds_so_far() - self._cpu)


def _computed(
    run: Callable[[Mapping[str, bytes] | None], CodeResult],
    run_dir: Path,
    restart: Restart | None,
) -> tuple[CodeResult, list[str]]:
    """Return a code's result, and the ids of the calculations that it was made from.

    It is computed in full where there is none, or where what one left turns out to be damaged.
    """
    if restart is None:
        return run(None), []
    try:
        return run(restart.files), [restart.calculation_id]
    except CodeError as error:
        if not speaks_of_damage(error):
            raise
        warning = _in_full(f"that of {restart.calculation_id}: {error}")
    log.warning(warning)
    shutil.rmtree(run_dir, ignore_errors=True)
    result = run(None)
    return replace(result, warnings=[*result.warnings, warning]), []


def _in_full(why: str) -> str:
    why = why.removesuffix(".")
    return f"Computed in full, since what an earlier calculation left cannot be used ({why})."


def refuse_missing(code: Code) -> None:
    """Refuse to run a code here if what it starts is not there.

    Raises
    ------
    ResourceError
        Naming what is missing, and how to get it.
    """
    availability = code.availability()
    if not availability.found:
        raise ResourceError(
            f"{code.title} cannot run on {socket.gethostname()}: {availability.detail}; "
            f"{availability.remedy}."
        )


def _say_what_it_is(site: Site, run_dir: Path) -> None:
    """Put `nearedge.json` into a folder that is kept; without it, it is only harder to ingest."""
    text = site.sidecar(ran=True)
    with suppress(OSError):
        (run_dir / SIDECAR).write_text(text, encoding="utf-8")
