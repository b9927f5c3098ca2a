"""Storing what an attempt gave: patiently where the database is away, and not at all too late."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable
from contextlib import suppress

from nearedge.errors import DatabaseUnavailable, LaunchGivenUp, ResultRefused
from nearedge.launch.token import note_progress, refuse_given_up
from nearedge.makers.leftover import remove_leftover
from nearedge.schemas import CalculationDoc
from nearedge.settings import Settings
from nearedge.store.claims import Claim
from nearedge.store.connection import connect
from nearedge.store.records import Record
from nearedge.store.spectra_store import SpectraStore

log = logging.getLogger(__name__)

LONGEST_PAUSE = 30.0
"""Seconds between two attempts to store a result while the database is away."""


def store_patiently(
    record: Record,
    seen: CalculationDoc | None,
    claim: Claim,
    settings: Settings,
    project: str | None,
    patience: float,
) -> None:
    """Store a record, trying for `patience` seconds while the database is away.

    Parameters
    ----------
    record
        What the attempt gave.
    seen
        What was recorded of the calculation when it began.
    claim
        Under which it was made.
    settings
        Which database.
    project
        Name that the record is filed under, besides those it has.
    patience
        In seconds.

    Raises
    ------
    DatabaseUnavailable
        If the database stays away; the result waits on the disk.
    LaunchGivenUp
        If the job was put back meanwhile. Nothing of the record is left, here and in the database.
    ResultRefused
        The same, if only the claim was lost, or another attempt was faster.
    """
    try:
        patiently(lambda: _store(record, seen, claim, settings, project), patience)
    except (LaunchGivenUp, ResultRefused):
        discard(record, settings)
        raise
    except DatabaseUnavailable as error:
        folder = settings.runs / record.calculation.calculation_id
        raise DatabaseUnavailable(
            f"{error} The finished result waits in {folder}: running the job again on "
            "this machine stores it without computing."
        ) from error


def patiently(store: Callable[[], None], patience: float) -> None:
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
    record: Record,
    seen: CalculationDoc | None,
    claim: Claim,
    settings: Settings,
    project: str | None,
) -> None:
    # Connected anew each time: an embedded server may come back on another port.
    database = connect(settings)
    refuse_given_up(database.client[settings.launchpad_database])
    name = record.calculation.calculation_id
    if not claim.confirmed():
        raise ResultRefused(
            f"The claim on calculation {name} is another's by now, so this result is not kept."
        )
    store = SpectraStore(database)
    store.conclude(record, seen, claim.owner)
    note_progress()
    # A result left over from another project's job is this one's as well.
    if project is not None and project not in record.calculation.projects:
        store.add_project([name], project)


def discard(record: Record, settings: Settings) -> None:
    """Remove the files of a record that was refused."""
    folder = settings.runs / record.calculation.calculation_id
    if record.calculation.run_dir is not None:
        shutil.rmtree(record.calculation.run_dir, ignore_errors=True)
    remove_leftover(folder)
    with suppress(OSError):  # another attempt works in it
        folder.rmdir()
