"""A class of work whose batch jobs cannot begin is not submitted again and again."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from nearedge.launch.batch.reservation import BatchJob
from nearedge.launch.batch.script import STARTED
from nearedge.launch.scheduler import JobState, states_of

LIMIT = 3
"""So many batch jobs of a class in a row that end before they can work stop its submission."""


@dataclass
class Brake:
    """Watches the batch jobs that this process submitted."""

    watched: dict[str, BatchJob] = field(default_factory=dict)
    in_a_row: dict[str, list[str]] = field(default_factory=dict)

    def watch(self, jobs: Iterable[BatchJob]) -> None:
        """Watch further jobs until they end."""
        self.watched |= {job.batch_id: job for job in jobs}

    def look(self) -> None:
        """Ask how the jobs stand; a job that began to work clears its class."""
        for batch_id, state in states_of(self.watched).items():
            job = self.watched[batch_id]
            if (job.folder / STARTED).exists():
                self.in_a_row.pop(job.job_class, None)
            elif state is JobState.FAILED:
                self.in_a_row.setdefault(job.job_class, []).append(_last_words(job.folder))
            elif not state.over and state is not JobState.FORGOTTEN:
                continue
            del self.watched[batch_id]

    def forgive(self) -> None:
        """Hold nothing against the jobs so far: the database is away, for them as well."""
        self.watched.clear()
        self.in_a_row.clear()

    @property
    def stopped(self) -> dict[str, str]:
        """The classes that are not submitted any more, and what their jobs said last."""
        return {
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
