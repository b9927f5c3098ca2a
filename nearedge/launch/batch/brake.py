"""A class of work whose batch jobs cannot begin is not submitted again and again.

Where the environment is wrong (a module is missing, a program is not found), no job of the class
will ever begin, and a person has to mend it. A job that cannot reach the database says so by a file
of its own: most often that is an outage, which may come and go between two looks of the queue, so
it only makes the queue wait, each time longer, and stops the class after hours of it, when the
nodes will hardly ever reach the address.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from nearedge.launch.batch.reservation import BatchJob
from nearedge.launch.batch.script import STARTED, UNREACHED
from nearedge.launch.scheduler import JobState, states_of

LIMIT = 3
"""So many batch jobs of a class in a row that end before they can work stop its submission."""

PAUSE_SECONDS = 60.0
LONGEST_PAUSE_SECONDS = 3600.0
"""Pause after the second look in a row that finds jobs without a database; then twice as long."""

LOOKS = 10
"""So many looks in a row that find jobs without a database stop a class; that takes three hours."""


@dataclass
class _Unreached:
    """Looks in a row that found jobs of a class without a database, and when the next may be."""

    said: str
    looks: int = 0
    until: float = 0.0


@dataclass
class Brake:
    """Watches the batch jobs that this process submitted."""

    watched: dict[str, BatchJob] = field(default_factory=dict)
    in_a_row: dict[str, list[str]] = field(default_factory=dict)
    unreached: dict[str, _Unreached] = field(default_factory=dict)

    def watch(self, jobs: Iterable[BatchJob]) -> None:
        """Watch further jobs until they end."""
        self.watched |= {job.batch_id: job for job in jobs}

    def look(self) -> None:
        """Ask how the jobs stand; a job that began to work clears its class."""
        unreached: dict[str, str] = {}
        for batch_id, state in states_of(self.watched).items():
            job = self.watched[batch_id]
            if (job.folder / STARTED).exists():
                self.in_a_row.pop(job.job_class, None)
                self.unreached.pop(job.job_class, None)
                unreached.pop(job.job_class, None)
            elif state is JobState.FAILED and (job.folder / UNREACHED).exists():
                unreached[job.job_class] = _last_words(job.folder)
            elif state is JobState.FAILED:
                self.in_a_row.setdefault(job.job_class, []).append(_last_words(job.folder))
            elif state is JobState.ENDED:
                continue  # how, its scheduler may say in a moment, and forgets it after all
            elif not state.over and state is not JobState.FORGOTTEN:
                continue
            del self.watched[batch_id]
        for name, said in unreached.items():
            self._wait(name, said)

    def _wait(self, name: str, said: str) -> None:
        """Pause a class; of one look all its jobs count as one, since they met one outage."""
        row = self.unreached.setdefault(name, _Unreached(said))
        row.said = said
        row.looks += 1
        if row.looks > 1:
            pause = PAUSE_SECONDS * 2 ** (row.looks - 2)
            row.until = time.monotonic() + min(pause, LONGEST_PAUSE_SECONDS)

    def forgive(self) -> None:
        """Hold nothing against the jobs so far: the database is away, for them as well."""
        self.watched.clear()
        self.in_a_row.clear()
        self.unreached.clear()

    @property
    def paused(self) -> frozenset[str]:
        """The classes that nothing is submitted for now: the stopped ones, and those that wait."""
        now = time.monotonic()
        waiting = {name for name, row in self.unreached.items() if now < row.until}
        return frozenset(waiting | set(self.stopped))

    @property
    def stopped(self) -> dict[str, str]:
        """The classes that are not submitted any more, and what their jobs said last."""
        found = {
            name: f"for {row.looks} looks in a row no batch job reached the database, which this "
            f"process does: {row.said}"
            for name, row in self.unreached.items()
            if row.looks >= LOOKS
        }
        return found | {
            name: f"{len(said)} batch jobs ended before they could work: {said[-1]}"
            for name, said in self.in_a_row.items()
            if len(said) >= LIMIT
        }


def _last_words(folder: Path) -> str:
    for path in sorted(folder.glob("*.error")):
        lines = [line for line in path.read_text(errors="replace").splitlines() if line.strip()]
        if lines:
            return lines[-1].strip()
    return f"see {folder}"
