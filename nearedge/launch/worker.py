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

from nearedge.errors import DatabaseUnavailable, NearEdgeError, ResourceError
from nearedge.launch.fireworks import (
    SPEC_KEY,
    configure_jobflow,
    ensure_launchpad_indexes,
    launchpad,
    refuse_memory_store,
)
from nearedge.launch.identity import WorkerIdentity
from nearedge.launch.recovery import bring_on, database_fault
from nearedge.settings import Settings, get_settings
from nearedge.store.connection import connect
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

_OUTAGES = (ConnectionFailure, DatabaseUnavailable)


class WorkerStopped(BaseException):
    """The worker was asked to end while it ran a job.

    Not an `Exception`, so that nothing on the way mistakes it for a failure of the job.
    """


@dataclass
class WorkerSummary:
    """What a worker did: numbers of Fireworks."""

    completed: int = 0
    failed: int = 0
    put_back: int = 0
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

    Raises
    ------
    DatabaseUnavailable, ForeignDatabase
        If the database is not there or not NearEdge's.
    LaunchError
        If results would not outlive the process.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        outage_patience: float = OUTAGE_PATIENCE,
        about: Mapping[str, str] | None = None,
    ) -> None:
        self.settings = settings
        self.outage_patience = outage_patience
        self.identity = WorkerIdentity.of_this_process()
        wanted = {f"spec.{SPEC_KEY}.{name}": value for name, value in (about or {}).items()}
        self.fworker = FWorker(name=self.identity.name, query=wanted)
        self.summary = WorkerSummary()
        self.stopping = False
        self._tries: Counter[int] = Counter()
        connect(settings)
        configure_jobflow(settings)
        refuse_memory_store(jobflow.SETTINGS.JOB_STORE)
        self.pad = launchpad(settings)
        ensure_launchpad_indexes(self.pad)

    def work(self, *, forever: bool = False) -> WorkerSummary:
        """Work the queue until nothing is ready, or until `stop`.

        Raises
        ------
        DatabaseUnavailable
            If the database stays away for longer than the worker's patience.
        ResourceError
            If no folder can be made for a run.
        """
        while not self.stopping:
            folder: Path | None = None
            try:
                if not self.pad.run_exists(self.fworker):
                    if not forever and not bring_on(self.pad, self.fworker.query):
                        break
                    time.sleep(IDLE_SECONDS if forever else COMING_SECONDS)
                    continue
                folder = self._new_folder()
                self._one(folder)
            except WorkerStopped:
                self.stopping = True
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
        return self.summary

    def stop(self, _signal: int = 0, _frame: FrameType | None = None) -> None:
        """Take no further job; interrupt the one that runs, so that it ends its processes."""
        interrupting = CURRENT_JOB.job is not None and not self.stopping
        self.stopping = True
        if interrupting:
            raise WorkerStopped

    def _one(self, folder: Path) -> None:
        before = os.open(".", os.O_RDONLY)
        os.chdir(folder)
        CURRENT_JOB.reset()  # type: ignore[no-untyped-call]
        try:
            launch_rocket(self.pad, self.fworker, strm_lvl="CRITICAL")
        finally:
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
        if launch is not None and self._left_half_way(launch):
            if ended == "COMPLETED":
                self.pad._refresh_wf(launch["fw_id"])
            else:
                self.pad.rerun_fw(launch["fw_id"])
                self.summary.put_back += 1
                ended = None
        if ended == "COMPLETED":
            self.summary.completed += 1
        elif ended == "FIZZLED" and launch is not None:
            self.summary.failed += 1
            self.summary.fizzled.append(launch["fw_id"])
        if ended != "FIZZLED" and not self.settings.keep_runs:
            shutil.rmtree(folder, ignore_errors=True)

    def _left_half_way(self, launch: Mapping[str, Any]) -> bool:
        """Return whether the database went away, or we were stopped, before the launch was over."""
        query = {"fw_id": launch["fw_id"], "launches": launch["launch_id"]}
        firework = self.pad.fireworks.find_one(query, {"state": 1})
        if firework is None or firework["state"] not in ("RUNNING", "FIZZLED"):
            return False
        if firework["state"] == "RUNNING" or self.stopping:
            return True
        if launch["state"] == "RUNNING":  # FireWorks could not say so, and gave the job up
            return True
        self._tries[launch["fw_id"]] += 1
        return database_fault(launch) and self._tries[launch["fw_id"]] < OUTAGE_TRIES

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
    options = parser.parse_args(arguments)
    try:
        worker = Worker(get_settings(), about=dict(each.split("=", 1) for each in options.about))
        signal.signal(signal.SIGTERM, worker.stop)
        signal.signal(signal.SIGINT, worker.stop)
        if options.parent is not None:
            _end_with_parent(options.parent)
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
