"""Watching the queue while workers run: what has just ended, and what runs at which stage."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from fireworks.core.launchpad import LaunchPad
from pymongo.errors import PyMongoError
from rich.console import Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from nearedge.cli.console import messages
from nearedge.errors import DatabaseError
from nearedge.launch.fireworks import SPEC_KEY, launchpad
from nearedge.launch.queue_state import PENDING, JobKind, ids_of, queued
from nearedge.schemas import COMPLETED
from nearedge.settings import Settings
from nearedge.store.batches import batches
from nearedge.store.claims import ClaimInfo, Claims
from nearedge.store.connection import connect
from nearedge.store.operations import MongoDatabase

_ENDED = ("COMPLETED", "FIZZLED", "DEFUSED", "ARCHIVED")


@dataclass(frozen=True)
class Ended:
    """A job that ended while it was watched.

    Parameters
    ----------
    kind, label
        ``site``, ``average`` or another kind of job, and what it was about.
    state
        ``completed`` or a failure's name; for jobs that are not sites, FireWorks' state in lower
        case.
    cpu_seconds
        Of the calculation; None where it was not computed now or is no site.
    """

    kind: str
    label: str
    state: str
    cpu_seconds: float | None = None


@dataclass
class QueueWatch:
    """Looks at the queue each time it is called, and survives a database that goes away.

    Parameters
    ----------
    settings
        Which queue.
    tell
        Called once with each job that has ended since the last look.
    about
        Look only at jobs that say this of themselves, such as one ``convergence_id``.
    """

    settings: Settings
    tell: Callable[[Ended], None] | None = None
    about: Mapping[str, str] = field(default_factory=dict)
    ended: list[Ended] = field(default_factory=list)
    running: list[str] = field(default_factory=list)
    pending: int = 0
    _known: set[int] = field(default_factory=set)
    _pad: LaunchPad | None = None
    _database: MongoDatabase | None = None

    def __call__(self) -> None:
        """Look once; an outage is left to the workers, who wait for its end."""
        try:
            if self._pad is None or self._database is None:
                self._pad, self._database = launchpad(self.settings), connect(self.settings)
            self._look(self._pad, self._database)
        except (DatabaseError, PyMongoError):
            # An embedded server that comes back may listen on another port.
            self._pad = self._database = None

    @property
    def failures(self) -> Counter[str]:
        """How many sites failed, by the failure's name, and how many other jobs fizzled."""
        return Counter(job.state for job in self.ended if job.state != COMPLETED)

    def _look(self, pad: LaunchPad, database: MongoDatabase) -> None:
        ours = {f"spec.{SPEC_KEY}.{name}": value for name, value in self.about.items()}
        pending = pad.fireworks.find(_IN_PENDING | ours, {"fw_id": 1, "_id": 0})
        now = {row["fw_id"] for row in pending}
        gone = sorted(self._known - now)
        self._known |= now
        self.pending = len(now)
        claims = [claim for claim in Claims(database).live() if claim.owner != "dead"]
        self.running = [
            f"{label}: {claim.stage or 'starting'}"
            for claim, label in under_way(pad, claims)
            if label is not None
        ]
        for some in batches(gone):
            for job in _ended(pad, database, some):
                self.ended.append(job)
                if self.tell is not None:
                    self.tell(job)
        self._known -= set(gone)


_IN_PENDING = {"state": {"$in": list(PENDING)}}


def under_way(pad: LaunchPad, claims: Sequence[ClaimInfo]) -> list[tuple[ClaimInfo, str | None]]:
    """Return the last claim of each process, a pack has many, with the label of its job if known.

    Parameters
    ----------
    claims
        The oldest first, as `Claims.live` gives them.
    """
    last = {(claim.host, claim.pid): claim for claim in claims}
    jobs = queued(pad, [claim.calculation_id for claim in last.values()])
    found: list[tuple[ClaimInfo, str | None]] = []
    for claim in last.values():
        # Another job that is about the same may still wait.
        known = sorted(jobs.get(claim.calculation_id, []), key=lambda job: job.state != "RUNNING")
        found.append((claim, known[0].label if known else None))
    return found


def _ended(pad: LaunchPad, database: MongoDatabase, ids: list[int]) -> Iterator[Ended]:
    wanted = {"fw_id": {"$in": ids}, "state": {"$in": list(_ENDED)}}
    for stored in pad.fireworks.find(wanted, {"state": 1, "name": 1, f"spec.{SPEC_KEY}": 1}):
        about = stored.get("spec", {}).get(SPEC_KEY, {})
        kind, label = about.get("kind", "job"), about.get("label", stored.get("name", ""))
        state = str(stored["state"]).lower()
        if kind == JobKind.PACK and state == COMPLETED:
            yield from _of_pack(database, label, about)
            continue
        seconds = None
        if kind == JobKind.SITE and state == COMPLETED:
            calculation = database["calculations"].find_one(
                {"_id": about.get("calculation_id")}, {"state": 1, "cpu_seconds": 1}
            )
            if calculation is not None:
                state, seconds = str(calculation["state"]), calculation.get("cpu_seconds")
        if kind == JobKind.RELAX and state == COMPLETED:
            relaxation = database["relaxations"].find_one(
                {"_id": about.get("relaxation_id")}, {"state": 1}
            )
            state = state if relaxation is None else str(relaxation["state"])
        yield Ended(kind, label, state, seconds)


def _of_pack(database: MongoDatabase, label: str, about: Mapping[str, Any]) -> Iterator[Ended]:
    """Yield what became of each site of a pack, and each average."""
    fields = {"formula": 1, "absorber": 1, "absorbing_index": 1, "state": 1, "cpu_seconds": 1}
    for ids in batches(ids_of(about)):
        for each in database["calculations"].find({"_id": {"$in": ids}}, fields):
            site = f"{each['formula']} {each['absorber']}{each['absorbing_index']}, of {label}"
            yield Ended(JobKind.SITE, site, str(each["state"]), each.get("cpu_seconds"))
    fields = {"formula": 1, "absorber": 1, "edge": 1}
    for ids in batches(about.get("average_id", ())):
        for each in database["spectra"].find({"_id": {"$in": ids}}, fields):
            crystal = f"{each['formula']} {each['absorber']} {each['edge']}, of {label}"
            yield Ended(JobKind.AVERAGE, crystal, COMPLETED)


@contextmanager
def live_display(watch: QueueWatch, title: str) -> Iterator[Callable[[], None]]:
    """Show a bar and what runs on a terminal; in a pipe only look."""
    if not sys.stderr.isatty():
        yield watch
        return
    bar = Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    )
    task = bar.add_task(title, total=None)
    with Live(console=messages(), transient=True, refresh_per_second=4) as live:

        def look() -> None:
            watch()
            done = len(watch.ended)
            bar.update(task, completed=done, total=done + watch.pending)
            live.update(Group(bar, *(Text(f"  {line}", style="dim") for line in watch.running)))

        yield look
