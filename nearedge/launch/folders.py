"""What lies on this machine's disk: folders of failed runs and of batch jobs, and their size."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from fireworks.core.launchpad import LaunchPad

from nearedge.launch.batch.pilots import ALIVE, PILOTS
from nearedge.launch.fencing import GIVEN_UP
from nearedge.launch.fireworks import launchpad_databases
from nearedge.launch.reconcile import FOLDER
from nearedge.schemas import COMPLETED
from nearedge.settings import Settings
from nearedge.store.claims import Claims
from nearedge.store.operations import MongoDatabase, operation

LAUNCHES = "launches"
"""Folder, beside those of the calculations, that holds a folder for each launch."""

_BATCH_JOBS = "jobs"
"""Folder under ``<home>/batch`` with one for each batch job: its script, and what it said."""

_WAITING_RESULT = "result.json"
"""A finished result that the database did not take yet: never removed."""


@dataclass(frozen=True)
class DiskUse:
    """Bytes on disk; None where it is not known.

    Parameters
    ----------
    runs, run_folders
        Folders of runs that failed or are under way, and how many there are.
    cache
        What can be made again: pseudopotentials, setups.
    database
        Documents, blobs, queue and indexes.
    """

    runs: int
    run_folders: int
    cache: int
    database: int | None


@dataclass(frozen=True)
class OldFolder:
    """The folder of a run, or of a launch, that failed, or of a batch job that is over.

    Parameters
    ----------
    size
        Bytes.
    days
        Since something was last written to it.
    """

    path: str
    size: int
    days: float


def disk_use(settings: Settings, database: MongoDatabase) -> DiskUse:
    """Return how much disk NearEdge takes."""
    folders = list(_run_folders(settings.runs))
    return DiskUse(
        runs=_measured(settings.runs)[0],
        run_folders=len(folders),
        cache=_measured(settings.cache)[0],
        database=_database_size(settings, database),
    )


@operation
def old_folders(
    settings: Settings, pad: LaunchPad, database: MongoDatabase, older_than: timedelta
) -> list[OldFolder]:
    """Return the folders that may go, the oldest first.

    Left alone are what somebody works on, the files of calculations that completed, a finished
    result that waits for the database, and the script and output of a batch job that may run.
    """
    jobs = settings.home / "batch" / _BATCH_JOBS
    age = older_than.total_seconds()
    # What a batch job writes last may be that it has begun.
    age_of_jobs = max(age, settings.batch.longest_walltime) if jobs.is_dir() else age
    old = [
        *_unwritten(_run_folders(settings.runs), age),
        *_unwritten(_folders_in(jobs), age_of_jobs),
    ]
    claimed = {claim.calculation_id for claim in Claims(database).live()}
    # Other queues of the database may have their launches in the same folder.
    queues = {each.name: each for each in (*launchpad_databases(settings, database), pad.db)}
    in_use = {name for queue in queues.values() for name in _in_use(queue)}
    found = [each for each in old if _may_go(Path(each.path), in_use, database, claimed)]
    return sorted(found, key=lambda each: -each.days)


@operation
def remove(folders: Sequence[OldFolder], database: MongoDatabase) -> list[OldFolder]:
    """Remove folders and what the database says of where they are; return those that are gone."""
    gone = []
    for each in folders:
        shutil.rmtree(each.path, ignore_errors=True)
        if Path(each.path).exists():
            continue
        gone.append(each)
        calculation = {"_id": Path(each.path).parent.name}
        stored = database["calculations"].find_one(calculation, {"run_dir": 1}) or {}
        if _is_named(Path(each.path), stored.get("run_dir")):
            as_seen = {**calculation, "run_dir": stored["run_dir"]}
            database["calculations"].update_one(as_seen, {"$set": {"run_dir": None}})
        with suppress(OSError):  # another attempt's folder is in it
            Path(each.path).parent.rmdir()
    return gone


def written(size: int) -> str:
    """Return a number of bytes as people read it, such as ``1.5 MB``."""
    amount = float(size)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"


def _run_folders(runs: Path) -> Iterator[Path]:
    """Yield the folders of launches, and those of the attempts of each calculation."""
    for above in _folders_in(runs):
        yield from _folders_in(above)


def _folders_in(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            return sorted(Path(e.path) for e in entries if e.is_dir(follow_symlinks=False))
    except OSError:  # gone meanwhile, or another's
        return []


def _unwritten(folders: Iterable[Path], seconds: float) -> Iterator[OldFolder]:
    """Yield the folders that nothing was written to for so long."""
    now = time.time()
    for path in folders:
        size, last_written = _measured(path)
        if now - last_written > seconds:
            yield OldFolder(str(path), size, (now - last_written) / 86400.0)


def _in_use(queue: MongoDatabase) -> Iterator[str]:
    """Yield the names of the folders of launches and batch jobs that are under way, or will be.

    By their last part, which is drawn at random: what is above it has more names than one where
    links lead there. A launch that was reserved for a batch job gets a folder of its own when it
    begins, and its history still says that of the batch job.
    """
    under_way = {"state": {"$in": ["RUNNING", "RESERVED"]}, GIVEN_UP: {"$exists": False}}
    fields = {"launch_dir": 1, f"state_history.{FOLDER}": 1}
    for launch in queue["launches"].find(under_way, fields):
        of_batch_jobs = (each.get(FOLDER) for each in launch.get("state_history", ()))
        for folder in filter(None, (launch["launch_dir"], *of_batch_jobs)):
            yield Path(folder).name
    for pilot in queue[PILOTS].find(ALIVE, {"folder": 1}):
        yield Path(pilot["folder"]).name


def _may_go(path: Path, in_use: set[str], database: MongoDatabase, claimed: set[str]) -> bool:
    above = path.parent
    if above.name in (LAUNCHES, _BATCH_JOBS):
        return path.name not in in_use
    if above.name in claimed or (above / _WAITING_RESULT).exists():
        return False
    stored = database["calculations"].find_one({"_id": above.name, "state": COMPLETED}) or {}
    return not _is_named(path, stored.get("run_dir"))


def _is_named(path: Path, stored: str | None) -> bool:
    return stored is not None and Path(stored).name == path.name


def _measured(folder: Path) -> tuple[int, float]:
    """Return the bytes under a folder, and when something was last written there."""
    size, last_written = 0, 0.0
    with suppress(OSError):
        last_written = folder.stat().st_mtime
    for above, _, files in os.walk(folder):
        for name in files:
            with suppress(OSError):  # gone meanwhile
                status = os.lstat(os.path.join(above, name))
                size += status.st_size
                last_written = max(last_written, status.st_mtime)
    return size, last_written


def _database_size(settings: Settings, database: MongoDatabase) -> int | None:
    if settings.mongo_uri is None:
        return _measured(settings.home / "database")[0]
    databases = (database, *launchpad_databases(settings, database))
    stated = [each.command("dbStats") for each in databases]
    return int(sum(each.get("storageSize", 0) + each.get("indexSize", 0) for each in stated))
