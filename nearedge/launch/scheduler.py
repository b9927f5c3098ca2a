"""What a batch scheduler says of its jobs.

Slurm is asked for real and tested against one. PBS and SGE are read by their documented formats,
tested on texts written after those; nobody has run these two parsers against the real thing yet.

A scheduler that cannot be asked says nothing about any job, in particular not that it is over.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from functools import lru_cache
from typing import Protocol
from xml.etree import ElementTree

ANSWER_SECONDS = 30.0
"""Longest wait for an answer: a controller that is down lets its commands retry for a while."""

_CHUNK = 200
"""Jobs asked for at once, so that no command line grows too long."""


class JobState(StrEnum):
    """How a batch job stands.

    ``UNKNOWN``: the scheduler did not answer. ``FORGOTTEN``: it answered, and knows no such job
    (any more). ``ENDING``: its processes are being ended, and may still write. None of these says
    that the job is over. ``FAILED`` holds jobs that ended by themselves
    with an error, and those that ran out of memory.
    """

    PENDING = "pending"
    RUNNING = "running"
    ENDING = "ending"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TIMEOUT = "timeout"
    NODE_FAIL = "node_fail"
    UNKNOWN = "unknown"
    FORGOTTEN = "forgotten"

    @property
    def over(self) -> bool:
        """Whether the job has ended for certain."""
        return self in _OVER


_OVER = frozenset(
    {
        JobState.COMPLETED,
        JobState.FAILED,
        JobState.CANCELLED,
        JobState.TIMEOUT,
        JobState.NODE_FAIL,
    }
)


class SchedulerSilent(Exception):
    """The scheduler did not answer; never leaves this module."""


class Scheduler(Protocol):
    """What the launchpad is compared with."""

    name: str

    def jobs(self, ids: Iterable[str]) -> dict[str, JobState]:
        """Return how each of the jobs stands; ids are the scheduler's own."""


def states_of(
    batch_ids: Iterable[str], schedulers: Mapping[str, Scheduler] | None = None
) -> dict[str, JobState]:
    """Return how batch jobs stand that are named like ``slurm:1234``.

    Parameters
    ----------
    batch_ids
        ``<scheduler>:<id>``; one of a scheduler that is not known here is ``UNKNOWN``.
    schedulers
        By name; default: Slurm, PBS and SGE by their commands.
    """
    known = SCHEDULERS if schedulers is None else schedulers
    of: dict[str, list[str]] = {}
    for batch in set(batch_ids):
        name, _, number = batch.partition(":")
        of.setdefault(name, []).append(number)
    found: dict[str, JobState] = {}
    for name, numbers in of.items():
        states = known[name].jobs(sorted(numbers)) if name in known else {}
        for number in numbers:
            found[f"{name}:{number}"] = states.get(number, JobState.UNKNOWN)
    return found


class SlurmScheduler:
    """Slurm: ``squeue`` for what it remembers, ``sacct`` for older jobs where it keeps accounts.

    Without accounting Slurm forgets a job ``MinJobAge`` seconds (300) after its end.
    """

    name = "slurm"

    def __init__(self, answer_seconds: float = ANSWER_SECONDS) -> None:
        self._answer_seconds = answer_seconds

    def jobs(self, ids: Iterable[str]) -> dict[str, JobState]:
        """Return how each of the jobs stands."""
        return _asked(ids, self._ask)

    def _ask(self, ids: Sequence[str]) -> dict[str, JobState]:
        arguments = ["squeue", "--noheader", "--states=all", "--array", "--format=%F|%i|%A|%T"]
        text = _run([*arguments, f"--jobs={','.join(ids)}"], self._answer_seconds, _SLURM_NO_JOB)
        found = read_squeue(text)
        missing = [each for each in ids if each not in found]
        return found | (self._accounts(missing) if missing else {})

    def _accounts(self, ids: Sequence[str]) -> dict[str, JobState]:
        arguments = ["sacct", "--noheader", "--allocations", "--parsable2", "--duplicates"]
        arguments += ["--format=JobID,JobIDRaw,State", f"--jobs={','.join(ids)}"]
        try:
            return read_sacct(_run(arguments, self._answer_seconds))
        except SchedulerSilent:  # no accounting here: `squeue` has answered, that is all there is
            return {}


def slurm_cluster() -> str | None:
    """Return the name of the cluster whose Slurm is asked here, or None if it does not say."""
    try:
        return _named_cluster()
    except SchedulerSilent:  # it may say so later
        return None


def cluster_of(scheduler: str) -> str | None:
    """Return the cluster whose scheduler is asked here: two may give the same numbers to jobs.

    Of Slurm alone; PBS names its server in a job's id, and of SGE it is not known.
    """
    return slurm_cluster() if scheduler == "slurm" else None


@lru_cache(maxsize=1)
def _named_cluster() -> str | None:
    text = _run(["scontrol", "show", "config"], ANSWER_SECONDS)
    found = re.search(r"^ClusterName\s*=\s*(\S+)", text, re.MULTILINE)
    return None if found is None else found.group(1)


class PbsScheduler:
    """PBS Professional and OpenPBS (``qstat -x -f -F json``), and Torque (``qstat -f``)."""

    name = "pbs"

    def __init__(self, answer_seconds: float = ANSWER_SECONDS) -> None:
        self._answer_seconds = answer_seconds

    def jobs(self, ids: Iterable[str]) -> dict[str, JobState]:
        """Return how each of the jobs stands."""
        return _asked(ids, self._ask)

    def _ask(self, ids: Sequence[str]) -> dict[str, JobState]:
        try:
            command = ["qstat", "-x", "-f", "-F", "json", *ids]
            return _by_short_id(ids, read_qstat_json(_run(command, self._answer_seconds, _PBS_OK)))
        except (SchedulerSilent, ValueError):  # Torque, or a release of PBS without JSON
            command = ["qstat", "-f", *ids]
            return _by_short_id(ids, read_qstat_text(_run(command, self._answer_seconds, _PBS_OK)))


class SgeScheduler:
    """Grid Engine: ``qstat -xml`` for what waits and runs, ``qacct`` for what has ended."""

    name = "sge"

    def __init__(self, answer_seconds: float = ANSWER_SECONDS) -> None:
        self._answer_seconds = answer_seconds

    def jobs(self, ids: Iterable[str]) -> dict[str, JobState]:
        """Return how each of the jobs stands."""
        return _asked(ids, self._ask)

    def _ask(self, ids: Sequence[str]) -> dict[str, JobState]:
        found = read_sge_qstat(_run(["qstat", "-u", "*", "-xml"], self._answer_seconds))
        for each in ids:
            if each not in found:
                try:
                    text = _run(["qacct", "-j", each], self._answer_seconds)
                except SchedulerSilent:  # not in the accounts, or not yet
                    continue
                found |= {each: read_qacct(text)}
        return found


SCHEDULERS: dict[str, Scheduler] = {
    each.name: each for each in (SlurmScheduler(), PbsScheduler(), SgeScheduler())
}

# ---- Slurm

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


def read_squeue(text: str) -> dict[str, JobState]:
    """Read lines ``array job|id|raw id|STATE``; an array's own id stands for all of its tasks."""
    found: dict[str, JobState] = {}
    arrays: dict[str, list[JobState]] = {}
    for line in text.splitlines():
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


# ---- PBS

_PBS_OK = re.compile(r"Unknown Job Id|has finished, use -x", re.IGNORECASE)
_PBS_WAITING, _PBS_RUNNING, _PBS_ENDED = "QHWTM", "RESUB", "FCX"
_PBS_SIGTERM, _PBS_WALLTIME = 256 + 15, -29
"""Exit statuses: ended by a signal, as `qdel` does; ended by PBS at the walltime."""
_JOB_ID = re.compile(r"^Job Id:\s*(\S+)", re.MULTILINE)
_FIELD = re.compile(r"^\s+(\w+) = (.*)$", re.MULTILINE)


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


# ---- SGE

_SGE_RUNNING = re.compile(r"[rtsST]")
_SGE_WALLTIME = "37"
"""Of `qacct`'s ``failed``: a limit that the queue master enforced."""
_SGE_SIGNALS = (128 + 9, 128 + 10)
_SGE_KILLED = ("17", "100")


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


# ---- asking


class _Ask(Protocol):
    def __call__(self, ids: Sequence[str]) -> dict[str, JobState]: ...


def _asked(ids: Iterable[str], ask: _Ask) -> dict[str, JobState]:
    """Ask in chunks; what is not answered is unknown, what is not listed is forgotten."""
    found: dict[str, JobState] = {}
    wanted = list(dict.fromkeys(ids))
    for start in range(0, len(wanted), _CHUNK):
        chunk = wanted[start : start + _CHUNK]
        try:
            states = ask(chunk)
        except SchedulerSilent:
            found |= dict.fromkeys(chunk, JobState.UNKNOWN)
        else:
            found |= {each: states.get(each, JobState.FORGOTTEN) for each in chunk}
    return found


def _run(command: Sequence[str], seconds: float, harmless: re.Pattern[str] | None = None) -> str:
    """Return what a command prints; an error that `harmless` matches is an answer as well."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=seconds, check=False, errors="replace"
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SchedulerSilent(f"{command[0]}: {error}") from error
    if done.returncode != 0 and (harmless is None or not harmless.search(done.stderr)):
        raise SchedulerSilent(f"{command[0]}: {done.stderr.strip()}")
    return done.stdout
