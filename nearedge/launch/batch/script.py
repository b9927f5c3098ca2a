"""The script of a batch job, and the settings that travel with it.

All that a worker needs to know stands in a copy of the settings under ``<home>/batch``, which only
its owner can read; the script names that file. So neither the script, which schedulers show to
others, nor any command line holds a password, and it does not matter whether a scheduler passes
the environment of the submission on.
"""

from __future__ import annotations

import re
import shlex
import sys
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from nearedge.errors import LaunchError
from nearedge.launch.batch.adapter import BatchAdapter, adapter
from nearedge.launch.batch.kept_settings import (
    JOBS,
    SCRIPT,
    batch_folder,
    keep_settings,
    note_number,
)
from nearedge.queue_settings import Resources, SchedulerName
from nearedge.settings import CONFIG_FILE_VARIABLE, PREFIX, Settings
from nearedge.store.server_process import write_private

STARTED = "started"
"""File that a batch job leaves in its folder once it is able to work."""
UNREACHED = "no-database"
"""File that one leaves there which cannot reach the database."""

_ENTRY = "nearedge.cli.batch_job"
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_SECRETS = {
    PREFIX + name.upper(): f"set {name} itself, and it travels in a file that only you can read"
    for name, field in Settings.model_fields.items()
    if "SecretStr" in str(field.annotation)
} | dict.fromkeys(
    ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"),
    "give it in ~/.aws/credentials, which only you can read",
)
"""Variables that hold a secret, and where it belongs."""


@dataclass(frozen=True)
class Task:
    """What a batch job is for.

    Parameters
    ----------
    job_class
        Class of work whose resources it has.
    fw_id
        The Firework that it runs; None for a pilot.
    project
        What a pilot keeps to; None: all projects.
    name
        What the scheduler shows.
    """

    job_class: str
    fw_id: int | None
    project: str | None
    name: str

    @property
    def kind(self) -> Literal["pilot", "one"]:
        """What `nearedge.cli.batch_job` calls it."""
        return "pilot" if self.fw_id is None else "one"


def new_job_folder(settings: Settings) -> Path:
    """Return a folder that no other batch job has; its script and output go there."""
    folder = batch_folder(settings) / JOBS / uuid.uuid4().hex
    folder.mkdir(parents=True)
    return folder


def job_of(
    task: Task, scheduler: SchedulerName, resources: Resources, settings: Settings
) -> BatchAdapter:
    """Return FireWorks' adapter for a batch job.

    Raises
    ------
    LaunchError
        If a secret stands where others can read it, or the scheduler lacks an option.
    """
    _refuse_secrets(resources)
    command = ["exec", shlex.quote(sys.executable), "-P", "-m", _ENTRY, task.kind, task.job_class]
    command += ["--walltime", str(resources.walltime), "--margin", str(resources.margin)]
    command += ["--expected", str(resources.expected)]
    if task.project is not None:
        command += ["--project", shlex.quote(task.project)]
    if task.fw_id is None:
        command += ["--workers", str(resources.tasks)]
    else:
        command += ["--fw-id", str(task.fw_id)]
    return adapter(
        scheduler,
        resources,
        job_name=_job_name(task.name),
        lines=_lines(resources, keep_settings(settings)),
        command=" ".join(command),
    )


def submit_script(job: BatchAdapter, scheduler: SchedulerName, folder: Path) -> str:
    """Write the script into the job's folder, for its owner only, and return the job's number.

    The number is noted in the folder.

    Raises
    ------
    LaunchError
        With what the scheduler said.
    """
    script = folder / SCRIPT
    write_private(script, job.get_script_str(str(folder)))
    number = job.submit_to_queue(str(script))
    note_number(folder, scheduler, number)
    return number


def _lines(resources: Resources, settings_file: Path) -> list[str]:
    variables = {name: str(resources.threads) for name in _THREADS} | resources.environment
    return [
        # What the submission's environment says of NearEdge is in the file.
        f'unset "${{!{PREFIX}@}}"',
        f"export {CONFIG_FILE_VARIABLE}={shlex.quote(str(settings_file))}",
        *(f"export {name}={shlex.quote(value)}" for name, value in variables.items()),
        *resources.setup,
    ]


def _refuse_secrets(resources: Resources) -> None:
    said = "\n".join([*resources.setup, *resources.options, *resources.environment])
    for variable, instead in _SECRETS.items():
        if variable in said:
            raise LaunchError(
                f"{variable} must not stand in the section `queue` of the settings, since others "
                f"can read the scripts of batch jobs: {instead}."
            )


def _job_name(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", text).strip("-.") or "nearedge"
