"""What Grid Engine says of its jobs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from xml.etree import ElementTree

from nearedge.launch.scheduler.base import ANSWER_SECONDS, JobState, SchedulerSilent, answer, asked

_SGE_RUNNING = re.compile(r"[rtsST]")
_SGE_WALLTIME = "37"
"""Of `qacct`'s ``failed``: a limit that the queue master enforced."""
_SGE_SIGNALS = (128 + 9, 128 + 10)
_SGE_KILLED = ("17", "100")


class SgeScheduler:
    """Grid Engine: ``qstat -xml`` for what waits and runs, ``qacct`` for what has ended."""

    name = "sge"

    def __init__(self, answer_seconds: float = ANSWER_SECONDS) -> None:
        self._answer_seconds = answer_seconds

    def jobs(self, ids: Iterable[str]) -> dict[str, JobState]:
        """Return how each of the jobs stands."""
        return asked(ids, self._ask)

    def _ask(self, ids: Sequence[str]) -> dict[str, JobState]:
        found = read_sge_qstat(answer(["qstat", "-u", "*", "-xml"], self._answer_seconds))
        for each in ids:
            if each not in found:
                try:
                    text = answer(["qacct", "-j", each], self._answer_seconds)
                except SchedulerSilent:  # not in the accounts, or not yet
                    continue
                found |= {each: read_qacct(text)}
        return found


def read_sge_qstat(text: str) -> dict[str, JobState]:
    """Read ``qstat -xml``: jobs that wait or run."""
    try:
        document = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise SchedulerSilent(str(error)) from error
    found = {}
    for job in document.iter("job_list"):
        number, letters = job.findtext("JB_job_number", ""), job.findtext("state", "")
        runs = job.get("state") == "running" or _SGE_RUNNING.search(letters.replace("w", ""))
        found[number] = JobState.RUNNING if runs else JobState.PENDING
    return found


def read_qacct(text: str) -> JobState:
    """Read ``qacct -j``; of an array the last task counts.

    Whether a killed job was deleted or met its hard time limit, its record says only by the limit
    that was asked for: one that ran as long as that is a timeout.
    """
    fields = dict(line.split(None, 1) for line in text.splitlines() if len(line.split()) > 1)
    failed = str(fields.get("failed", "0")).split(maxsplit=1)[0]
    exit_status = int(str(fields.get("exit_status", "0")).split(maxsplit=1)[0])
    if failed == _SGE_WALLTIME or _met_limit(fields):
        return JobState.TIMEOUT
    if failed in _SGE_KILLED or exit_status in _SGE_SIGNALS:
        return JobState.CANCELLED
    return JobState.COMPLETED if failed == "0" and exit_status == 0 else JobState.FAILED


def _met_limit(fields: Mapping[str, str]) -> bool:
    limit = re.search(r"h_rt=(\d+)", fields.get("category", ""))
    ran = re.match(r"[\d.]+", fields.get("ru_wallclock", ""))
    return limit is not None and ran is not None and float(ran.group()) >= float(limit.group(1))
