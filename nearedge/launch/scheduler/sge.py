"""What Grid Engine says of its jobs."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from xml.etree import ElementTree

from nearedge.launch.scheduler.base import ANSWER_SECONDS, JobState, SchedulerSilent, answer, asked

_LISTED = ["qstat", "-u", "*", "-s", "prsz", "-xml"]
"""What waits, runs or is suspended, and the last ``finished_jobs`` (100) that have ended."""
_RUNNING = re.compile(r"[rtsST]")
_ENDED = "zombie"

_LIMIT = "37"
"""Of `qacct`'s ``failed``, see sge_status(5): a limit of time or of memory."""
_KILLED = ("17", "100")
"""By a signal: by `qdel`, whose record does not differ from that of `kill -9`."""
_NODE = ("19", "21")
"""The shepherd of the job, or all of its machine, was gone before it could write how it ended."""


class SgeScheduler:
    """Grid Engine: ``qstat -xml`` for what it remembers, ``qacct`` for how that has ended.

    A job that is deleted while it waits is never in the accounts; one that has ended is not in them
    for a moment.
    """

    name = "sge"

    def __init__(self, answer_seconds: float = ANSWER_SECONDS) -> None:
        self._answer_seconds = answer_seconds

    def jobs(self, ids: Iterable[str]) -> dict[str, JobState]:
        """Return how each of the jobs stands."""
        return asked(ids, self._ask)

    def _ask(self, ids: Sequence[str]) -> dict[str, JobState]:
        found = read_sge_qstat(answer(_LISTED, self._answer_seconds))
        for each in ids:
            if found.get(each, JobState.ENDED) is JobState.ENDED:
                try:
                    text = answer(["qacct", "-j", each], self._answer_seconds)
                except SchedulerSilent:  # not in the accounts, or not yet
                    continue
                found |= {each: read_qacct(text)}
        return found


def sge_cluster() -> str | None:
    """Return the name of the cluster whose Grid Engine is asked here, or None if it has none.

    Its installation writes the name into the folder of its cell, and has ``settings.sh`` put it
    into the environment from there, which batch jobs do not always have.
    """
    root, cell = os.environ.get("SGE_ROOT"), os.environ.get("SGE_CELL", "default")
    if root is None:
        return None
    try:
        named = (Path(root) / cell / "common" / "cluster_name").read_text().strip()
    except OSError:
        named = ""
    return named or os.environ.get("SGE_CLUSTER_NAME") or None


def read_sge_qstat(text: str) -> dict[str, JobState]:
    """Read ``qstat -xml``: jobs that wait or run, and what has ended not long ago."""
    try:
        document = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise SchedulerSilent(str(error)) from error
    return {job.findtext("JB_job_number", ""): _listed(job) for job in document.iter("job_list")}


def _listed(job: ElementTree.Element) -> JobState:
    if job.get("state") == _ENDED:
        return JobState.ENDED
    letters = job.findtext("state", "")
    if job.get("state") == "running" or _RUNNING.search(letters.replace("w", "")):
        return JobState.ENDING if letters.startswith("d") else JobState.RUNNING
    return JobState.PENDING


def read_qacct(text: str) -> JobState:
    """Read ``qacct -j``; of several records of a number the last counts, and no record is none."""
    fields = dict(line.split(None, 1) for line in text.splitlines() if len(line.split()) > 1)
    failed, exit_status = (
        fields.get(name, "?").split(maxsplit=1)[0] for name in ("failed", "exit_status")
    )
    if not (failed.isdigit() and exit_status.isdigit()):
        return JobState.UNKNOWN
    if failed == _LIMIT:
        return JobState.TIMEOUT if _had_its_time(fields) else JobState.FAILED
    if failed in _KILLED:
        return JobState.CANCELLED
    if failed in _NODE:
        return JobState.NODE_FAIL
    return JobState.COMPLETED if failed == "0" and exit_status == "0" else JobState.FAILED


def _had_its_time(fields: Mapping[str, str]) -> bool:
    """Whether a job that met a limit ran as long as it had asked for; else it met another."""
    limit = re.search(r"\bh_rt=(\d+)", fields.get("category", ""))
    ran = re.match(r"[\d.]+", fields.get("ru_wallclock", ""))
    return limit is None or ran is None or float(ran.group()) >= float(limit.group(1))
