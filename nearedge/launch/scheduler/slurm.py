"""What Slurm says of its jobs; tested against a real one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

from nearedge.launch.scheduler.base import ANSWER_SECONDS, JobState, SchedulerSilent, answer, asked

_SLURM_NO_JOB = re.compile(r"Invalid job id specified")
_SLURM = {
    JobState.PENDING: (
        "PENDING REQUEUED REQUEUE_HOLD REQUEUE_FED SPECIAL_EXIT RESV_DEL_HOLD CONFIGURING"
    ),
    JobState.ENDING: "COMPLETING",
    JobState.RUNNING: "RUNNING SUSPENDED STOPPED SIGNALING STAGE_OUT RESIZING",
    JobState.COMPLETED: "COMPLETED",
    JobState.FAILED: "FAILED OUT_OF_MEMORY LAUNCH_FAILED RECONFIG_FAIL",
    JobState.CANCELLED: "CANCELLED PREEMPTED",
    JobState.TIMEOUT: "TIMEOUT DEADLINE",
    JobState.NODE_FAIL: "NODE_FAIL BOOT_FAIL",
}
_SLURM_STATE = {word: state for state, words in _SLURM.items() for word in words.split()}


class SlurmScheduler:
    """Slurm: ``squeue`` for what it remembers, ``sacct`` for older jobs where it keeps accounts.

    Without accounting Slurm forgets a job ``MinJobAge`` seconds (300) after its end.
    """

    name = "slurm"

    def __init__(self, answer_seconds: float = ANSWER_SECONDS) -> None:
        self._answer_seconds = answer_seconds

    def jobs(self, ids: Iterable[str]) -> dict[str, JobState]:
        """Return how each of the jobs stands."""
        return asked(ids, self._ask)

    def _ask(self, ids: Sequence[str]) -> dict[str, JobState]:
        arguments = ["squeue", "--noheader", "--states=all", "--array", "--format=%F|%i|%A|%T"]
        text = answer([*arguments, f"--jobs={','.join(ids)}"], self._answer_seconds, _SLURM_NO_JOB)
        found = read_squeue(text)
        missing = [each for each in ids if each not in found]
        return found | (self._accounts(missing) if missing else {})

    def _accounts(self, ids: Sequence[str]) -> dict[str, JobState]:
        arguments = ["sacct", "--noheader", "--allocations", "--parsable2", "--duplicates"]
        arguments += ["--format=JobID,JobIDRaw,State", f"--jobs={','.join(ids)}"]
        try:
            return read_sacct(answer(arguments, self._answer_seconds))
        except SchedulerSilent:  # no accounting here: `squeue` has answered, that is all there is
            return {}


def slurm_cluster() -> str | None:
    """Return the name of the cluster whose Slurm is asked here, or None if it does not say."""
    try:
        return _named_cluster()
    except SchedulerSilent:  # it may say so later
        return None


@lru_cache(maxsize=1)
def _named_cluster() -> str | None:
    text = answer(["scontrol", "show", "config"], ANSWER_SECONDS)
    found = re.search(r"^ClusterName\s*=\s*(\S+)", text, re.MULTILINE)
    return None if found is None else found.group(1)


def read_squeue(text: str) -> dict[str, JobState]:
    """Read lines ``array job|id|raw id|STATE``; an array's own id stands for all of its tasks."""
    found: dict[str, JobState] = {}
    arrays: dict[str, list[JobState]] = {}
    for line in text.splitlines():
        if line.count("|") != 3:
            continue
        of_array, shown, raw, word = (part.strip() for part in line.split("|"))
        state = _slurm_state(word)
        found[shown] = state
        if raw != of_array or shown == raw:
            found[raw] = state
        arrays.setdefault(of_array, []).append(state)
    return found | {each: _of_all(states) for each, states in arrays.items() if each not in found}


def read_sacct(text: str) -> dict[str, JobState]:
    """Read lines ``id|raw id|STATE``; of a job that was requeued the last line counts."""
    found: dict[str, JobState] = {}
    for line in text.splitlines():
        if line.count("|") == 2:
            shown, raw, word = line.split("|")
            found[shown] = found[raw] = _slurm_state(word)
    return found


def _slurm_state(word: str) -> JobState:
    # sacct says who cancelled: "CANCELLED by 1000".
    return _SLURM_STATE.get(word.partition(" ")[0], JobState.UNKNOWN)


def _of_all(states: Sequence[JobState]) -> JobState:
    for state in (JobState.RUNNING, JobState.PENDING, JobState.ENDING, JobState.UNKNOWN):
        if state in states:
            return state
    return states[-1]
