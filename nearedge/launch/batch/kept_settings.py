"""The settings that travel with batch jobs, and their end.

One file under ``<home>/batch`` for each content, readable by its owner alone: it may hold
passwords. Jobs that wait keep the settings they were submitted with; a file that no job in the
queue was submitted with is removed, whoever of several queues looks first.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

import yaml
from pydantic import SecretStr

from nearedge.errors import ResourceError
from nearedge.launch.scheduler import JobState, cluster_of, states_of
from nearedge.queue_settings import QueueSettings, SchedulerName
from nearedge.settings import Settings
from nearedge.store.server_process import write_private

SCRIPT = "submit.sh"
JOBS = "jobs"
"""Folder under that of batch jobs with one for each: its script, and what it said."""

_NUMBER = "number"
"""File in a job's folder: its batch job such as ``slurm:1234``, and its cluster."""

_OVER = "over"
"""File in the folder of a job that was found to be over, which is not asked about again."""

_NOT_FOR_WORKERS = ("mp_api_key", "webgui_password")
_OF_THE_QUEUE = {"scheduler", "tries"}
"""What a worker puts back lost work by; the rest of the section only the submission needs."""

_NAME = re.compile(r"settings-[0-9a-f]{16}\.yaml")
_GOING = ".going"

RECENT_SECONDS = 600.0
"""A file used so lately may be for a job that is being submitted, and is in no queue yet."""


def batch_folder(settings: Settings) -> Path:
    """Return the folder of scripts, outputs and settings of batch jobs, readable by its owner only.

    Raises
    ------
    ResourceError
        If it cannot be made.
    """
    folder = settings.home / "batch"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
    except OSError as error:
        raise ResourceError(f"No folder can be made at {folder}: {error.strerror}.") from None
    return folder


def keep_settings(settings: Settings) -> Path:
    """Write what workers need of `settings` to a file of mode 0600 and return its path.

    The file is named by its content; its time says when a job was last submitted with it.
    """
    values: dict[str, object] = {}
    for name in Settings.model_fields:
        value = getattr(settings, name)
        if name in _NOT_FOR_WORKERS or value is None:
            continue
        if isinstance(value, SecretStr):
            value = value.get_secret_value()
        if isinstance(value, QueueSettings):
            value = value.model_dump(include=_OF_THE_QUEUE)
        values[name] = str(value) if isinstance(value, Path) else value
    text = yaml.safe_dump(values)
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    path = batch_folder(settings) / f"settings-{digest}.yaml"
    try:
        os.utime(path)
    except FileNotFoundError:
        write_private(path, text)
    return path


def note_number(folder: Path, scheduler: SchedulerName, number: str) -> None:
    """Note in a job's folder which batch job it is of; without it, its settings stay."""
    with contextlib.suppress(OSError):  # the job is submitted, whatever becomes of this
        (folder / _NUMBER).write_text(f"{scheduler}:{number}\n{cluster_of(scheduler) or ''}\n")


def discard_settings(settings: Settings, scheduler: SchedulerName) -> list[Path]:
    """Remove the files that no batch job in the queue was submitted with, and return them.

    One stays that a job names whose scheduler is asked elsewhere, or does not answer.
    """
    kept = list(batch_folder(settings).glob("settings-*"))
    if not kept:
        return []
    current = keep_settings(settings)
    now = current.stat().st_mtime  # by the clock of who writes these times
    old = {path for path in kept if path != current and now - _used(path, now) > RECENT_SECONDS}
    if not old:
        return []
    needed = _needed(current.parent / JOBS, scheduler, {path.name for path in old})
    return [path for path in old if path.name not in needed and _removed(path, now)]


def _needed(jobs: Path, scheduler: SchedulerName, old: Collection[str]) -> set[str]:
    """Return which of the files the scripts of jobs name that may not be over."""
    names: dict[Path, str] = {}
    for script in jobs.glob(f"*/{SCRIPT}"):
        if (script.parent / _OVER).exists():
            continue
        with contextlib.suppress(OSError):
            found = _NAME.search(script.read_text(errors="replace"))
            if found is not None and found.group() in old:
                names[script.parent] = found.group()
    over = set(_over(names, scheduler))
    return {name for folder, name in names.items() if folder not in over}


def _over(folders: Iterable[Path], scheduler: SchedulerName) -> Iterator[Path]:
    """Yield the folders whose batch jobs this scheduler is known to have no more in its queue."""
    here = cluster_of(scheduler) or ""
    numbers: dict[Path, str] = {}
    for folder in folders:
        with contextlib.suppress(OSError, ValueError):
            batch, cluster = (folder / _NUMBER).read_text().splitlines()
            if batch.startswith(f"{scheduler}:") and cluster == here:
                numbers[folder] = batch
    states = states_of(numbers.values()) if numbers else {}
    for folder, batch in numbers.items():
        if states[batch].over:
            with contextlib.suppress(OSError):
                (folder / _OVER).touch()
        if states[batch].over or states[batch] is JobState.FORGOTTEN:
            yield folder


def _removed(path: Path, now: float) -> bool:
    """Remove a file, unless another queue has used it since it was looked at."""
    going = path.with_suffix(_GOING)
    try:
        if path.suffix != _GOING:  # of one that was killed here
            path.rename(going)
        if now - going.stat().st_mtime <= RECENT_SECONDS:
            going.rename(path)
            return False
        going.unlink()
    except FileNotFoundError:  # another queue does the same
        return False
    return True


def _used(path: Path, otherwise: float) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return otherwise
