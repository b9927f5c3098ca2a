"""A worker process: ``python -m nearedge.launch.worker``.

It works the queue until nothing is ready. What distinguishes it from FireWorks' ``rlaunch``: the
database is proved to be NearEdge's before a job is taken, outputs cannot go to a MemoryStore, a
database that goes away is waited for, and a worker that is stopped puts its job back.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import shutil
import signal
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import jobflow
from fireworks.core.fworker import FWorker
from fireworks.core.rocket_launcher import launch_rocket
from jobflow.core.state import CURRENT_JOB
from pymongo.errors import ConnectionFailure

from nearedge.errors import DatabaseUnavailable, LaunchGivenUp, NearEdgeError, ResourceError
from nearedge.launch.batch.classes import LIGHT, of_class
from nearedge.launch.failures import database_fault
from nearedge.launch.fireworks import (
    SPEC_KEY,
    configure_jobflow,
    ensure_launchpad_indexes,
    launchpad,
    refuse_memory_store,
)
from nearedge.launch.heartbeat import Heartbeat
from nearedge.launch.identity import WorkerIdentity
from nearedge.launch.reconcile import take_turn
from nearedge.launch.recovery import bring_on, recover
from nearedge.launch.token import has_progressed, let_go
from nearedge.launch.window import Window, end_when_closed
from nearedge.settings import Settings, get_settings
from nearedge.store.connection import connect
from nearedge.store.objects import storage_of
from nearedge.store.operations import database_errors

log = logging.getLogger(__name__)

OUTAGE_PATIENCE = 600.0
"""Seconds that a worker waits for a database that went away before it gives up."""

OUTAGE_TRIES = 3
"""How often one worker starts the same Firework again because the database went away meanwhile."""

IDLE_SECONDS = 2.0
"""Seconds between two looks into an empty queue, with ``--forever``."""

COMING_SECONDS = 0.2
"""Seconds between two looks at a job that somebody has reserved and not yet begun."""

RECONCILE_SECONDS = 120.0
"""Seconds between two times that one of all workers compares the launchpad with what is true."""

LIGHT_SECONDS = 10.0
"""Seconds that must be left of a window for averages and the like, which take milliseconds."""

AT_LEAST = f"spec.{SPEC_KEY}.at_least_seconds"
"""Where a Firework says how long it ran without coming to its end."""

_OUTAGES = (ConnectionFailure, DatabaseUnavailable)


class WorkerStopped(BaseException):
    """The worker was asked to end while it ran a job.

    Not an `Exception`, so that nothing on the way mistakes it for a failure of the job.
    """


class WalltimeExceeded(WorkerStopped):
    """A job had as good as all the time of its batch job, and had not ended."""


@dataclass
class WorkerSummary:
    """What a worker did: numbers of Fireworks.

    `refused` were given up while it ran them, so that their newer launches count, not its own.
    """

    completed: int = 0
    failed: int = 0
    put_back: int = 0
    refused: int = 0
    fizzled: list[int] = field(default_factory=list)


class Worker:
    """Takes Fireworks one after the other, each in a folder of its own under ``settings.runs``.

    Parameters
    ----------
    settings
        Which queue.
    outage_patience
        Seconds to wait for a database that went away.
    about
        Take only Fireworks that say this of themselves, such as one ``convergence_id``.
    query
        Take only Fireworks that it finds.
    window
        Begin nothing that is not likely to end in this time; None: there is no end.

    Raises
    ------
    DatabaseUnavailable, ForeignDatabase
        If the database, or the storage of its blobs, is not there or not NearEdge's.
    LaunchError
        If results would not outlive the process.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        outage_patience: float = OUTAGE_PATIENCE,
        about: Mapping[str, str] | None = None,
        query: Mapping[str, Any] | None = None,
        window: Window | None = None,
    ) -> None:
        self.settings = settings
        self.outage_patience = outage_patience
        self.identity = WorkerIdentity.of_this_process()
        wanted = {f"spec.{SPEC_KEY}.{name}": value for name, value in (about or {}).items()}
        self._wanted = {**wanted, **(query or {})}
        self.window = window
        self.summary = WorkerSummary()
        self.stopping = False
        self.too_long = False
        self._progressed = False
        self._began = 0.0
        self._tries: Counter[int] = Counter()
        self._looked = time.monotonic()
        storage_of(connect(settings))
        configure_jobflow(settings)
        refuse_memory_store(jobflow.SETTINGS.JOB_STORE)
        self.pad = launchpad(settings)
        ensure_launchpad_indexes(self.pad)

    def work(self, *, forever: bool = False, reserved: int | None = None) -> WorkerSummary:
        """Work the queue until nothing is ready, the window closes, or `stop` is called.

        Parameters
        ----------
        forever
            Wait for more work when nothing is ready.
        reserved
            The Firework to begin with, which a batch job was submitted for.

        Raises
        ------
        DatabaseUnavailable
            If the database stays away for longer than the worker's patience.
        ResourceError
            If no folder can be made for a run.
        """
        heartbeat = Heartbeat(self.settings, self.identity.name)
        heartbeat.start()
        try:
            self._work(forever=forever, reserved=reserved)
        finally:
            heartbeat.stop()
        return self.summary

    def _work(self, *, forever: bool, reserved: int | None) -> None:
        while not self.stopping:
            folder: Path | None = None
            try:
                if reserved is None and not self._await_work(forever=forever):
                    break
                folder = self._new_folder()
                self._one(folder, reserved)
                reserved = None
            except WorkerStopped:
                self.stopping = True
            except LaunchGivenUp as error:
                log.warning("%s", error)
                self.summary.refused += 1
            except _OUTAGES as error:
                log.warning("The database went away: %s", error)
                self._reconnect()
            except RuntimeError as error:
                # What FireWorks makes of any error while it refreshes a workflow.
                if not isinstance(error.__context__, _OUTAGES):
                    raise
                log.warning("The database went away: %s", error.__context__)
                self._reconnect()
            if folder is not None:
                self._settle_patiently(folder)

    def stop(self, _signal: int = 0, _frame: FrameType | None = None) -> None:
        """Take no further job; interrupt the one that runs, so that it ends its processes."""
        interrupting = CURRENT_JOB.job is not None and not self.stopping
        self.stopping = True
        if not interrupting:
            return
        had = time.monotonic() - self._began
        if self._closed and self.window is not None and self.window.too_short_for(had):
            self.too_long = True
            raise WalltimeExceeded(
                f"It had {had:.0f} s, as good as all the time of its batch job, and had not ended: "
                "give its code a longer walltime in the section `queue` of the settings."
            )
        raise WorkerStopped

    def _await_work(self, *, forever: bool) -> bool:
        """Return whether something is ready and likely to end in time; wait for what is coming."""
        while not self.stopping and (self.window is None or self.window.left > LIGHT_SECONDS):
            self._reconcile_in_turn()
            if self.pad.run_exists(self._fworker()):
                return True
            if not forever and not bring_on(self.pad, self._fworker().query):
                return False
            time.sleep(IDLE_SECONDS if forever else COMING_SECONDS)
        return False

    def _reconcile_in_turn(self) -> None:
        if time.monotonic() - self._looked < RECONCILE_SECONDS:
            return
        self._looked = time.monotonic()
        with database_errors():
            if take_turn(self.pad.db, RECONCILE_SECONDS):
                recover(self.pad, connect(self.settings))

    @property
    def _closed(self) -> bool:
        return self.window is not None and self.window.left <= 0

    def _fworker(self) -> FWorker:
        """Return who asks for work: nothing that is likely to take longer than there is time."""
        fits: dict[str, Any] = {}
        if self.window is not None and self.window.takes_more:
            fits = {AT_LEAST: {"$not": {"$gt": self.window.left}}}
        elif self.window is not None:
            fits = of_class(LIGHT)
        return FWorker(name=self.identity.name, query={**self._wanted, **fits})

    def _one(self, folder: Path, reserved: int | None) -> None:
        before = os.open(".", os.O_RDONLY)
        os.chdir(folder)
        CURRENT_JOB.reset()  # type: ignore[no-untyped-call]
        self._began = time.monotonic()
        try:
            launch_rocket(self.pad, self._fworker(), fw_id=reserved, strm_lvl="CRITICAL")
        finally:
            self._progressed = has_progressed()
            let_go()
            CURRENT_JOB.reset()  # type: ignore[no-untyped-call]
            os.fchdir(before)
            os.close(before)

    def _new_folder(self) -> Path:
        """Make a folder that no other launch has, whose name finds the launch again."""
        folder = self.settings.runs / "launches" / uuid.uuid4().hex
        try:
            folder.mkdir(parents=True)
        except OSError as error:
            raise ResourceError(f"No folder can be made in {folder.parent}: {error}.") from None
        return folder

    def _settle_patiently(self, folder: Path) -> None:
        while True:
            try:
                return self._settle(folder)
            except _OUTAGES:
                self._reconnect()

    def _settle(self, folder: Path) -> None:
        """Count what became of the launch in `folder`; put it back if it was left half-way."""
        launch = self.pad.launches.find_one({"launch_dir": str(folder)})
        ended = None if launch is None else str(launch["state"])
        if launch is not None and (state := self._left_half_way(launch)) is not None:
            if ended == "COMPLETED":
                self.pad._refresh_wf(launch["fw_id"])
            elif self.pad.give_up(launch["fw_id"], launch["launch_id"], state, "put back"):
                if self._closed and not self._progressed:
                    had = time.monotonic() - self._began
                    self.pad.fireworks.update_one(
                        {"fw_id": launch["fw_id"]}, {"$max": {AT_LEAST: had}}
                    )
                self.summary.put_back += 1
                ended = None
        if ended == "RUNNING":
            self.pad._remove_unused(str(folder), self.identity.name)
        if ended == "COMPLETED":
            self.summary.completed += 1
            if self.window is not None:
                self.window.took(time.monotonic() - self._began)
        elif ended == "FIZZLED" and launch is not None:
            self.summary.failed += 1
            self.summary.fizzled.append(launch["fw_id"])
        if ended != "FIZZLED" and not self.settings.keep_runs:
            shutil.rmtree(folder, ignore_errors=True)

    def _left_half_way(self, launch: Mapping[str, Any]) -> str | None:
        """Return the job's state if its launch was cut off by an outage, or by our being stopped.

        None where the launch came to its end, or is no longer the job's.
        """
        query = {"fw_id": launch["fw_id"], "launches": launch["launch_id"]}
        firework = self.pad.fireworks.find_one(query, {"state": 1})
        if firework is None or firework["state"] not in ("RESERVED", "RUNNING", "FIZZLED"):
            return None
        state = str(firework["state"])
        if state == "RESERVED":  # the launch was noted, and not yet that the job runs
            return state
        if state == "RUNNING" and launch["state"] == "FIZZLED":  # not yet recorded in the job
            self.pad._refresh_wf(launch["fw_id"])
            state = "FIZZLED"
        # A pack that met the walltime has less to do the next time, if it has stored something.
        for_ever = self.too_long and not self._progressed
        if state == "RUNNING" or (self.stopping and not for_ever):
            return state
        if launch["state"] == "RUNNING":  # FireWorks could not say so, and gave the job up
            return state
        self._tries[launch["fw_id"]] += 1
        again = database_fault(launch) and self._tries[launch["fw_id"]] < OUTAGE_TRIES
        return state if again else None

    def _reconnect(self) -> None:
        """Wait until the database is back, then make every connection anew.

        An embedded server that was started again may listen on another port.
        """
        deadline = time.monotonic() + self.outage_patience
        pause = 0.5
        while True:
            try:
                connect(self.settings)
                self.pad = launchpad(self.settings)
                configure_jobflow(self.settings)
                with database_errors():
                    self.pad.run_exists()
                return
            except DatabaseUnavailable:
                if self.stopping or time.monotonic() > deadline:
                    raise
            time.sleep(pause)
            pause = min(2 * pause, 15.0)


def _end_with_parent(parent: int) -> None:
    """End this process, by the usual signal, once it is no longer a child of `parent`."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="parent", daemon=True).start()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a worker; its last line on stdout is its summary as JSON."""
    parser = argparse.ArgumentParser(prog="python -m nearedge.launch.worker", description=__doc__)
    parser.add_argument("--forever", action="store_true", help="wait for work when there is none")
    parser.add_argument("--parent", type=int, help="process to end with")
    parser.add_argument("--about", action="append", default=[], help="take only jobs of NAME=VALUE")
    parser.add_argument("--query", type=json.loads, help="take only jobs that it finds, as JSON")
    parser.add_argument("--window", type=Window.parse, help="end in order when it closes")
    options = parser.parse_args(arguments)
    about = dict(each.split("=", 1) for each in options.about)
    try:
        worker = Worker(get_settings(), about=about, query=options.query, window=options.window)
        signal.signal(signal.SIGTERM, worker.stop)
        signal.signal(signal.SIGINT, worker.stop)
        if options.parent is not None:
            _end_with_parent(options.parent)
        if options.window is not None:
            end_when_closed(options.window)
        summary = worker.work(forever=options.forever)
    except NearEdgeError as error:
        print(error, file=sys.stderr)
        return 1
    print(json.dumps(asdict(summary)))
    return 0


if __name__ == "__main__":
    # As a module of that name, not as __main__, so that stored tracebacks name WorkerStopped.
    from nearedge.launch.worker import main as run_worker

    sys.exit(run_worker())
