"""Running one job in this process, with its output kept in the job store like any other's."""

from __future__ import annotations

from typing import Any

from jobflow.core.job import Job

from nearedge.launch.fireworks import configure_jobflow
from nearedge.settings import Settings
from nearedge.store.operations import database_errors


def run_here(job: Job, settings: Settings) -> Any:
    """Run `job` now and return its output; its errors are raised here."""
    store = configure_jobflow(settings)
    with database_errors():
        store.connect()
    return job.run(store=store).output
