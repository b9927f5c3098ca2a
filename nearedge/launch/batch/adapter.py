"""The scheduler, through FireWorks' queue adapter and its templates.

Slurm and Grid Engine are used for real by the tests; what PBS would be given, a stand-in runs.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import socket
import subprocess
from pathlib import Path

from fireworks.user_objects.queue_adapters.common_adapter import CommonAdapter

from nearedge.errors import LaunchError
from nearedge.queue_settings import QueueSettings, Resources, SchedulerName, clock

SUBMIT_SECONDS = 120.0
"""Longest wait for `sbatch`; with its controller down it tries again for a while by itself."""

ASK_SECONDS = 30.0

_NAMES: dict[SchedulerName, str] = {"slurm": "SLURM", "pbs": "PBS", "sge": "SGE"}
_DIRECTIVE: dict[SchedulerName, str] = {"slurm": "#SBATCH", "pbs": "#PBS", "sge": "#$"}
_VERSION: dict[SchedulerName, list[str]] = {
    "slurm": ["sinfo", "--version"],
    "pbs": ["qstat", "--version"],
    "sge": ["qstat", "-help"],
}
_SELECT = re.compile(r"-l\s*select=")
_PBS_NUMBER = re.compile(r"^\s*(\d+[\w.-]*)\s*$", re.MULTILINE)
_MEGABYTES = {"K": 1 / 1024, "M": 1, "G": 1024, "T": 1024**2}


class BatchAdapter(CommonAdapter):  # type: ignore[misc]
    """FireWorks' adapter, whose submission says what went wrong and ends in time."""

    def get_script_str(self, launch_dir: str) -> str:
        """Return the script; FireWorks' templates do not quote the folder."""
        text = str(super().get_script_str(launch_dir))
        folder = os.path.abspath(launch_dir)
        return text.replace(f"\ncd {folder}\n", f"\ncd {shlex.quote(folder)}\n")

    def submit_to_queue(self, script_file: str) -> str:
        """Submit a script from its own folder and return the job's number.

        Raises
        ------
        LaunchError
            With what the scheduler said.
        """
        command = [self.q_commands[self.q_type]["submit_cmd"], script_file]
        try:
            done = subprocess.run(
                command,
                cwd=Path(script_file).parent,
                capture_output=True,
                text=True,
                timeout=SUBMIT_SECONDS,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise LaunchError(f"{command[0]} could not submit a job: {error}.") from None
        if done.returncode != 0:
            said = " ".join(done.stderr.split()) or f"it ended with {done.returncode}"
            raise LaunchError(f"{command[0]} refused a job: {said}")
        # With its server, whose number it is; FireWorks leaves that out.
        if self.q_type == "PBS" and (found := _PBS_NUMBER.search(done.stdout)):
            return found.group(1)
        return str(self._parse_jobid(done.stdout))


def find_scheduler(settings: QueueSettings) -> SchedulerName:
    """Return the scheduler of the settings, or the one whose commands are found.

    Raises
    ------
    LaunchError
        If there is none.
    """
    found = settings.scheduler
    if found is None and shutil.which("sbatch"):
        found = "slurm"
    if found is None and shutil.which("qsub"):
        found = "sge" if "SGE_ROOT" in os.environ else "pbs"
    if found is None:
        raise LaunchError(
            "No batch scheduler is found here (neither sbatch nor qsub is on the PATH): give the "
            "command on a login node of the cluster; without one, `nearedge run` computes here."
        )
    return found


def version(scheduler: SchedulerName) -> str:
    """Return the name and version that a scheduler gives itself.

    Raises
    ------
    LaunchError
        If its commands do not answer.
    """
    command = _VERSION[scheduler]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=ASK_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise LaunchError(f"{command[0]} does not answer: {error}.") from None
    said = (done.stdout.strip() or done.stderr.strip()).splitlines()
    if done.returncode != 0 or not said:
        raise LaunchError(
            f"{command[0]} does not answer: {said[-1] if said else 'it says nothing'}"
        )
    return said[0]


def adapter(
    scheduler: SchedulerName, resources: Resources, *, job_name: str, lines: list[str], command: str
) -> BatchAdapter:
    """Return the adapter for one batch job.

    Parameters
    ----------
    scheduler
        Whose template.
    resources
        What the job asks for.
    job_name
        What the scheduler shows.
    lines
        Shell before the command.
    command
        What the job runs.

    Raises
    ------
    LaunchError
        If the scheduler has no such option.
    """
    _refuse_what_is_not_there(scheduler, resources)
    keys, directives = _OPTIONS[scheduler](resources)
    before = [f"{_DIRECTIVE[scheduler]} {each}" for each in (*directives, *resources.options)]
    return BatchAdapter(
        q_type=_NAMES[scheduler],
        timeout=ASK_SECONDS,
        job_name=_name(job_name),
        walltime=clock(resources.walltime) if scheduler != "sge" else None,
        queue=resources.partition,
        account=resources.account,
        pre_rocket="\n".join([*before, *lines]),
        rocket_launch=command,
        **keys,
    )


def _name(text: str) -> str:
    """Return a name that every scheduler takes: of PBS and SGE, one that begins with a letter."""
    begun = text if text[:1].isalpha() else f"n{text}"
    return begun[:15]  # more is too long for Torque


def _refuse_what_is_not_there(scheduler: SchedulerName, resources: Resources) -> None:
    instead = "leave it out, or say it in the scheduler's own words under `options`"
    if scheduler != "slurm" and resources.qos:
        raise LaunchError(f"qos is an option of Slurm, not of {_NAMES[scheduler]}: {instead}.")
    if scheduler != "sge":
        return
    if resources.nodes > 1:
        raise LaunchError(f"SGE gives slots, not nodes: {instead}.")
    if resources.tasks * resources.threads > 1 and not resources.parallel_environment:
        raise LaunchError(
            "SGE gives more than one core only in a parallel environment: name one of your site "
            "under parallel_environment (`qconf -spl` lists them), or set tasks and threads to 1."
        )


def _slurm(resources: Resources) -> tuple[dict[str, object], list[str]]:
    return {
        "nodes": resources.nodes,
        "ntasks": resources.tasks,
        "cpus_per_task": resources.threads,
        "mem": resources.memory,
        "qos": resources.qos,
        # Begun again by Slurm, a job would have the number of the workers that its node took along.
    }, ["--no-requeue"]


def _pbs(resources: Resources) -> tuple[dict[str, object], list[str]]:
    # Its script runs in the user's own shell otherwise; begun again, it would have the same number.
    directives = ["-S /bin/bash", "-r n"]
    if any(_SELECT.match(each) for each in resources.options):
        return {}, directives  # PBS refuses `select` beside nodes or mem
    cores = -(-resources.tasks * resources.threads // resources.nodes)
    if resources.memory is not None:
        # PBS counts the memory of all nodes together.
        amount, unit = int(resources.memory[:-1]) * resources.nodes, resources.memory[-1].lower()
        directives.append(f"-l mem={amount}{unit}b")
    return {"nnodes": resources.nodes, "ppnode": cores}, directives


def _sge(resources: Resources) -> tuple[dict[str, object], list[str]]:
    slots = resources.tasks * resources.threads
    directives = [
        "-S /bin/bash",
        # Else its output goes to the home directory, into one file of all jobs.
        "-cwd",
        # Begun again by Grid Engine, a job would have the number of the workers that are gone.
        "-r n",
        f"-l h_rt={clock(resources.walltime)}",
    ]
    if resources.memory is not None:
        megabytes = int(resources.memory[:-1]) * _MEGABYTES[resources.memory[-1]]
        directives.append(f"-l h_vmem={-(-megabytes // slots):.0f}M")
    if resources.parallel_environment is not None:
        directives.append(f"-pe {resources.parallel_environment} {slots}")
    return {}, directives


_OPTIONS = {"slurm": _slurm, "pbs": _pbs, "sge": _sge}


def jobs_in_queue(scheduler: SchedulerName, settings: QueueSettings) -> int:
    """Return how many jobs this user has in the queue, whoever submitted them.

    Raises
    ------
    LaunchError
        If the scheduler does not answer, or FireWorks cannot count its jobs.
    """
    partition = settings.all.partition
    if scheduler == "pbs" and partition is None:
        raise LaunchError(
            "FireWorks counts jobs of PBS by their queue: name it in the settings, under queue, "
            "all, partition."
        )
    counter = BatchAdapter(
        q_type=_NAMES[scheduler],
        timeout=ASK_SECONDS,
        queue=partition if scheduler == "pbs" else None,
    )
    found: int | None = counter.get_njobs_in_queue()
    if found is None:
        raise LaunchError(
            f"{_NAMES[scheduler]} does not say how many jobs are in its queue; nothing was "
            "submitted. Try again when it answers."
        )
    return found


def on_this_machine_alone(scheduler: SchedulerName, settings: QueueSettings) -> bool:
    """Return whether batch jobs certainly run on this machine, so that they reach its loopback."""
    if settings.same_machine:
        return True
    if scheduler != "slurm":
        return False
    command = ["sinfo", "--noheader", "--Node", "--format=%n"]
    if settings.all.partition:
        command.append(f"--partition={settings.all.partition}")
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=ASK_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    hosts = {line.strip().split(".")[0] for line in done.stdout.splitlines() if line.strip()}
    return hosts == {socket.gethostname().split(".")[0]}
