"""What PBS Professional, OpenPBS and Torque say of their jobs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from nearedge.launch.scheduler.base import ANSWER_SECONDS, JobState, SchedulerSilent, answer, asked

_OK = re.compile(r"Unknown Job Id|has finished, use -x", re.IGNORECASE)
_STATE = {
    letter: state
    for state, letters in {
        JobState.PENDING: "QHWTM",
        JobState.RUNNING: "RSUB",
        JobState.ENDING: "E",
    }.items()
    for letter in letters
}
_ENDED = "FCX"
_OVER_WALLTIME = -29
_SIGNAL = 256
"""An exit status above is that plus the number of the signal that ended the job."""
_SIGTERM = _SIGNAL + 15
_JOB_ID = re.compile(r"^Job Id:\s*(\S+)", re.MULTILINE)
_FIELD = re.compile(r"^ {4}([\w.]+) = (.*)$", re.MULTILINE)


class PbsScheduler:
    """PBS Professional and OpenPBS (``qstat -x -f``), and Torque (``qstat -f``).

    Not as JSON, which some releases print of the first of several jobs only (openpbs/openpbs#2672),
    and others so that it cannot be read (openpbs/openpbs#1255).
    """

    name = "pbs"

    def __init__(self, answer_seconds: float = ANSWER_SECONDS) -> None:
        self._answer_seconds = answer_seconds

    def jobs(self, ids: Iterable[str]) -> dict[str, JobState]:
        """Return how each of the jobs stands."""
        return asked(ids, self._ask)

    def _ask(self, ids: Sequence[str]) -> dict[str, JobState]:
        try:
            text = self._qstat("-x", "-f", *ids)
        except SchedulerSilent:
            text = None
        if text is None or text.lstrip().startswith("<"):  # Torque's -x is for XML
            text = self._qstat("-f", *ids)
        return _by_short_id(ids, read_qstat(text))

    def _qstat(self, *arguments: str) -> str:
        return answer(["qstat", *arguments], self._answer_seconds, _OK)


def read_qstat(text: str) -> dict[str, JobState]:
    """Read ``qstat -f``: a paragraph per job."""
    names = list(_JOB_ID.finditer(text))
    ends = [each.start() for each in names[1:]] + [len(text)]
    return {
        name.group(1): _state(_fields(text[name.end() : end]))
        for name, end in zip(names, ends, strict=True)
    }


def _fields(paragraph: str) -> dict[str, str]:
    # The state stands before the job's environment, in whose values there may be anything.
    return dict(reversed(_FIELD.findall(paragraph)))


def _state(fields: Mapping[str, str]) -> JobState:
    letter = fields.get("job_state", "").strip()
    if letter and letter in _ENDED:
        return _end(fields)
    return _STATE.get(letter, JobState.UNKNOWN)


def _end(fields: Mapping[str, str]) -> JobState:
    status = fields.get("Exit_status", fields.get("exit_status"))
    if status is None:  # it was deleted while it waited
        return JobState.CANCELLED
    try:
        code = int(status)
    except ValueError:
        return JobState.ENDED
    if code == _OVER_WALLTIME or ((code < 0 or code >= _SIGNAL) and _had_its_time(fields)):
        return JobState.TIMEOUT
    # PBS ends the comment of what was deleted so; Torque and others have the signal of `qdel` only.
    if code == _SIGTERM or fields.get("comment", "").rstrip().endswith("terminated"):
        return JobState.CANCELLED
    return JobState.COMPLETED if code == 0 else JobState.FAILED


def _had_its_time(fields: Mapping[str, str]) -> bool:
    limit, used = fields.get("Resource_List.walltime"), fields.get("resources_used.walltime")
    try:
        return limit is not None and used is not None and _seconds(used) >= _seconds(limit)
    except ValueError:
        return False


def _seconds(clock: str) -> int:
    parts = [int(part) for part in clock.strip().split(":")]
    return sum(part * 60**place for place, part in enumerate(reversed(parts)))


def _by_short_id(ids: Sequence[str], found: Mapping[str, JobState]) -> dict[str, JobState]:
    """Return the states under the ids that were asked for: PBS adds its server's name to them.

    That may have several names, but what was itself asked for is no other server's job.
    """
    states: dict[str, JobState] = {}
    for each in ids:
        number, _, server = each.partition(".")
        taken = set(ids) if server else set()
        for name, state in found.items():
            same = name.partition(".")[0] == number and name not in taken
            if name == each or same or name.startswith(f"{each}."):
                states[each] = state
    return states
