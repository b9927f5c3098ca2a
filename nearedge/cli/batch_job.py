"""What a batch job runs: ``python -m nearedge.cli.batch_job``; `nearedge queue` writes the command.

It ends with an error before it takes any work where the code's program, the database or a store
that outlives it is missing, and afterwards if a Firework fizzled, so that the scheduler says FAILED
of exactly those jobs.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from nearedge.cli.submitting import refuse_missing_program
from nearedge.errors import DatabaseUnavailable, NearEdgeError
from nearedge.launch.batch.classes import LIGHT, PYTHON, of_class
from nearedge.launch.batch.pilots import run_pilot
from nearedge.launch.batch.reservation import may_run
from nearedge.launch.batch.script import STARTED, UNREACHED
from nearedge.launch.window import Window, end_when_closed
from nearedge.launch.worker import Worker
from nearedge.settings import get_settings

FAILED = 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one Firework or a pilot, and return the batch job's exit status."""
    parser = argparse.ArgumentParser(prog="python -m nearedge.cli.batch_job", description=__doc__)
    parser.add_argument("kind", choices=["one", "pilot"])
    parser.add_argument("job_class")
    parser.add_argument("--walltime", type=float, required=True, help="of this job, in seconds")
    parser.add_argument("--margin", type=float, required=True, help="seconds before that to end in")
    parser.add_argument("--expected", type=float, required=True, help="seconds that a run takes")
    parser.add_argument("--fw-id", type=int, help="the Firework to run")
    parser.add_argument("--workers", type=int, default=1, help="of a pilot")
    parser.add_argument("--project", help="that a pilot keeps to")
    options = parser.parse_args(arguments)
    window = Window.of_this_process(options.walltime, options.margin, options.expected)
    try:
        if options.job_class not in (LIGHT, PYTHON):
            refuse_missing_program(options.job_class)
        work = _pilot if options.kind == "pilot" else _one
        return work(options, window)
    except NearEdgeError as error:
        if isinstance(error, DatabaseUnavailable):
            Path(UNREACHED).touch()
        print(error, file=sys.stderr)
        return FAILED


def _pilot(options: argparse.Namespace, window: Window) -> int:
    settings = get_settings()
    Worker(settings)  # refuses what would lose results, before anything is begun
    Path(STARTED).touch()
    done = run_pilot(settings, options.job_class, options.project, options.workers, window)
    for message in done.messages:
        print(message, file=sys.stderr)
    print(f"{done.completed} completed, {done.failed} fizzled, {done.put_back} put back.")
    return FAILED if done.failed or done.messages else 0


def _one(options: argparse.Namespace, window: Window) -> int:
    worker = Worker(get_settings(), query=of_class(LIGHT), window=window)
    signal.signal(signal.SIGTERM, worker.stop)
    signal.signal(signal.SIGINT, worker.stop)
    Path(STARTED).touch()
    if not may_run(worker.pad, options.fw_id, worker.identity.batch):
        print(f"Firework {options.fw_id} is another's by now, or gone: nothing to do.")
        return 0
    end_when_closed(window)
    done = worker.work(reserved=options.fw_id)
    print(f"{done.completed} completed, {done.failed} fizzled, {done.put_back} put back.")
    return FAILED if done.failed else 0


if __name__ == "__main__":
    # As a module of that name, not as __main__, so that stored tracebacks name what was raised.
    from nearedge.cli.batch_job import main as run_batch_job

    sys.exit(run_batch_job())
