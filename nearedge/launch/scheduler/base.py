"""What every scheduler says of its jobs, and how one is asked by its commands."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Protocol

ANSWER_SECONDS = 30.0
"""Longest wait for an answer: a controller that is down lets its commands retry for a while."""

_CHUNK = 200
"""Jobs asked for at once, so that no command line grows too long."""


class JobState(StrEnum):
    """How a batch job stands.

    ``UNKNOWN``: the scheduler did not answer. ``FORGOTTEN``: it answered, and knows no such job
    (any more). ``ENDING``: its processes are being ended, and may still write. None of these says
    that the job is over. ``ENDED``: it is over, and how is not known, or not yet. ``FAILED`` holds
    jobs that ended by themselves with an error, and those that ran out of memory.
    """

    PENDING = "pending"
    RUNNING = "running"
    ENDING = "ending"
    ENDED = "ended"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TIMEOUT = "timeout"
    NODE_FAIL = "node_fail"
    UNKNOWN = "unknown"
    FORGOTTEN = "forgotten"

    @property
    def over(self) -> bool:
        """Whether the job has ended for certain."""
        return self in _OVER


_OVER = frozenset(
    {
        JobState.ENDED,
        JobState.COMPLETED,
        JobState.FAILED,
        JobState.CANCELLED,
        JobState.TIMEOUT,
        JobState.NODE_FAIL,
    }
)


class SchedulerSilent(Exception):
    """The scheduler did not answer; never leaves this package."""


class Scheduler(Protocol):
    """What the launchpad is compared with."""

    name: str

    def jobs(self, ids: Iterable[str]) -> dict[str, JobState]:
        """Return how each of the jobs stands; ids are the scheduler's own."""


class _Ask(Protocol):
    def __call__(self, ids: Sequence[str]) -> dict[str, JobState]: ...


def asked(ids: Iterable[str], ask: _Ask) -> dict[str, JobState]:
    """Ask in chunks; what is not answered is unknown, what is not listed is forgotten."""
    found: dict[str, JobState] = {}
    wanted = list(dict.fromkeys(ids))
    for start in range(0, len(wanted), _CHUNK):
        chunk = wanted[start : start + _CHUNK]
        try:
            states = ask(chunk)
        except SchedulerSilent:
            found |= dict.fromkeys(chunk, JobState.UNKNOWN)
        else:
            found |= {each: states.get(each, JobState.FORGOTTEN) for each in chunk}
    return found


def answer(command: Sequence[str], seconds: float, harmless: re.Pattern[str] | None = None) -> str:
    """Return what a command prints; an error that `harmless` matches is an answer as well."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=seconds, check=False, errors="replace"
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SchedulerSilent(f"{command[0]}: {error}") from error
    if done.returncode != 0 and (harmless is None or not harmless.search(done.stderr)):
        raise SchedulerSilent(f"{command[0]}: {done.stderr.strip()}")
    return done.stdout
