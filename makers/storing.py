"""Storing what an attempt gave: patiently where the database is away, and not at all too late."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from nearedge.errors import DatabaseUnavailable, LaunchGivenUp
from nearedge.launch.token import note_progress, refuse_given_up
from nearedge.makers.leftover import remove_leftover, save_leftover
from nearedge.schemas import CalculationDoc
from nearedge.settings import Settings
from nearedge.store.claims import Claim
from nearedge.store.connection import connect
from nearedge.store.records import Record
from nearedge.store.spectra_store import SpectraStore

log = logging.getLogger(__name__)

LONGEST_PAUSE = 30.0
"""Seconds between two attempts to store a result while the database is away."""

Repeats = Callable[[CalculationDoc], bool]
"""Whether a job computes again what is recorded so."""


def store_patiently(
    records: Sequence[Record],
    seen: Mapping[str, CalculationDoc],
    claim: Claim,
    settings: Settings,
    *,
    project: str | None,
    patience: float,
    repeats: Repeats,
) -> set[str]:
    """Store records, trying for `patience` seconds while the database is away.

    May be repeated at any moment. What is stored, or refused, is cleared away from this machine's
    disk.

    Parameters
    ----------
    records
        What the attempt gave, each of another calculation.
    seen
        What was recorded when it began, by calculation: failures that are to be replaced.
    claim
        Under which they were made.
    settings
        Which database.
    project
        Name that the records are filed under, besides those they have.
    patience
        In seconds.
    repeats
        Whether the job's next launch would compute again what is stored now.

    Returns
    -------
    set of str
        Calculations whose results are not kept: the claim was lost, or another attempt was faster.

    Raises
    ------
    DatabaseUnavailable
        If the database stays away; the results wait on the disk.
    LaunchGivenUp
        If the job was put back meanwhile. Nothing of the records is left, here and in the database.
    """
    refused: set[str] = set()

    def store() -> None:
        refused.update(_store(records, seen, claim, settings, project, repeats))

    try:
        _patiently(store, patience)
    except LaunchGivenUp:
        for record in records:
            _discard(record, settings)
        raise
    except DatabaseUnavailable as error:
        for record in records:
            save_leftover(settings.runs / record.calculation.calculation_id, record)
        names = [record.calculation.calculation_id for record in records]
        where = settings.runs / names[0] if len(names) == 1 else settings.runs
        raise DatabaseUnavailable(
            f"{error} What was computed waits in {where}: running the job again on this machine "
            "stores it without computing."
        ) from error
    for record in records:
        if record.calculation.calculation_id in refused:
            _discard(record, settings)
        else:
            _clear_away(record, settings)
    return refused


def _patiently(store: Callable[[], None], patience: float) -> None:
    """Call `store` until it goes well, for `patience` seconds while the database is away.

    Raises
    ------
    DatabaseUnavailable
        If it stays away.
    """
    deadline = time.monotonic() + patience
    pause = 0.5
    while True:
        try:
            return store()
        except DatabaseUnavailable as error:
            if time.monotonic() + pause > deadline:
                raise
            log.warning("The result waits for the database: %s", error)
        time.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)


def _store(
    records: Sequence[Record],
    seen: Mapping[str, CalculationDoc],
    claim: Claim,
    settings: Settings,
    project: str | None,
    repeats: Repeats,
) -> set[str]:
    """Write records; return the calculations whose results are not kept."""
    # Connected anew each time: an embedded server may come back on another port.
    database = connect(settings)
    queue = database.client[settings.launchpad_database]
    refuse_given_up(queue)
    held = claim.held()
    store = SpectraStore(database)
    mine = [record for record in records if record.calculation.calculation_id in held]
    refused = {record.calculation.calculation_id for record in records} - held
    refused |= store.conclude(mine, seen, claim.owner)
    kept = [r.calculation for r in mine if r.calculation.calculation_id not in refused]
    if not all(map(repeats, kept)):
        note_progress(queue)
    # A result left over from another project's job is this one's as well.
    other = [each.calculation_id for each in kept if project not in each.projects]
    if project is not None and other:
        store.add_project(other, project)
    for name in sorted(refused):
        log.warning("The result of calculation %s came late and is not kept.", name)
    return refused


def _clear_away(record: Record, settings: Settings) -> None:
    """Remove from this machine's disk what the database holds now."""
    folder = settings.runs / record.calculation.calculation_id
    remove_leftover(folder)
    if record.calculation.run_dir is None:
        shutil.rmtree(folder, ignore_errors=True)


def _discard(record: Record, settings: Settings) -> None:
    """Remove the files of a record that was refused."""
    if record.calculation.run_dir is not None:
        shutil.rmtree(record.calculation.run_dir, ignore_errors=True)
    clear_leftover(record.calculation.calculation_id, settings)


def clear_leftover(calculation_id: str, settings: Settings) -> None:
    """Remove a result that waits on this machine's disk and need not be stored."""
    folder = settings.runs / calculation_id
    remove_leftover(folder)
    with suppress(OSError):  # it is not there, or another attempt works in it
        folder.rmdir()
