"""What PBS Professional, OpenPBS and Torque say of their jobs."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence

from nearedge.launch.scheduler.base import ANSWER_SECONDS, JobState, SchedulerSilent, answer, asked

_PBS_OK = re.compile(r"Unknown Job Id|has finished, use -x", re.IGNORECASE)
_PBS_WAITING, _PBS_RUNNING, _PBS_ENDED = "QHWTM", "RESUB", "FCX"
_PBS_SIGTERM, _PBS_WALLTIME = 256 + 15, -29
"""Exit statuses: ended by a signal, as `qdel` does; ended by PBS at the walltime."""
_JOB_ID = re.compile(r"^Job Id:\s*(\S+)", re.MULTILINE)
_FIELD = re.compile(r"^\s+(\w+) = (.*)$", re.MULTILINE)


class PbsScheduler:
    """PBS Professional and OpenPBS (``qstat -x -f -F json``), and Torque (``qstat -f``)."""

    name = "pbs"

    def __init__(self, answer_seconds: float = ANSWER_SECONDS) -> None:
        self._answer_seconds = answer_seconds

    def jobs(self, ids: Iterable[str]) -> dict[str, JobState]:
        """Return how each of the jobs stands."""
        return asked(ids, self._ask)

    def _ask(self, ids: Sequence[str]) -> dict[str, JobState]:
        try:
            found = read_qstat_json(self._qstat("-x", "-f", "-F", "json", *ids))
        except (SchedulerSilent, ValueError):  # Torque, or a release of PBS without JSON
            found = read_qstat_text(self._qstat("-f", *ids))
        return _by_short_id(ids, found)

    def _qstat(self, *arguments: str) -> str:
        return answer(["qstat", *arguments], self._answer_seconds, _PBS_OK)


def read_qstat_json(text: str) -> dict[str, JobState]:
    """Read ``qstat -x -f -F json``.

    Raises
    ------
    ValueError
        If it is not JSON.
    """
    jobs: dict[str, dict[str, object]] = json.loads(text or "{}").get("Jobs", {})
    return {name: _pbs_state(fields) for name, fields in jobs.items()}


def read_qstat_text(text: str) -> dict[str, JobState]:
    """Read ``qstat -f`` of PBS or Torque: a paragraph per job."""
    names = list(_JOB_ID.finditer(text))
    ends = [each.start() for each in names[1:]] + [len(text)]
    return {
        name.group(1): _pbs_state(dict(_FIELD.findall(text[name.end() : end])))
        for name, end in zip(names, ends, strict=True)
    }


def _pbs_state(fields: Mapping[str, object]) -> JobState:
    letter = str(fields.get("job_state", "")).strip()
    if letter and letter in _PBS_WAITING:
        return JobState.PENDING
    if letter and letter in _PBS_RUNNING:
        return JobState.RUNNING
    if not letter or letter not in _PBS_ENDED:
        return JobState.UNKNOWN
    return _pbs_end(fields)


def _pbs_end(fields: Mapping[str, object]) -> JobState:
    comment = str(fields.get("comment", "")).lower()
    status = fields.get("Exit_status", fields.get("exit_status"))
    code = None if status is None else int(str(status))
    if code == _PBS_WALLTIME or "walltime" in comment:
        return JobState.TIMEOUT
    if "node" in comment and "fail" in comment:
        return JobState.NODE_FAIL
    # A job that is deleted while it waits never has an exit status.
    if code is None or code == _PBS_SIGTERM or "deleted" in comment:
        return JobState.CANCELLED
    return JobState.COMPLETED if code == 0 else JobState.FAILED


def _by_short_id(ids: Sequence[str], found: Mapping[str, JobState]) -> dict[str, JobState]:
    """Return the states under the ids that were asked for: PBS adds its server's name to them."""
    short = {name.split(".", 1)[0]: state for name, state in found.items()}
    return {
        each: state
        for each in ids
        if (state := found.get(each, short.get(each.split(".", 1)[0]))) is not None
    }
