"""One look at what is ready, and batch jobs for it: what `nearedge queue` does again and again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from fireworks.core.launchpad import LaunchPad

from nearedge.errors import LaunchError
from nearedge.launch.batch.adapter import jobs_in_queue, on_this_machine_alone
from nearedge.launch.batch.classes import APART, FOR_PILOTS, LIGHT, of_classes, ready
from nearedge.launch.batch.kept_settings import JOBS, batch_folder, discard_settings
from nearedge.launch.batch.pilots import capacity, pilot_task, pilots_alive, submit_pilot
from nearedge.launch.batch.reservation import (
    BatchJob,
    SubmissionRefused,
    reserve_one,
    settle_half_made,
    task_of,
)
from nearedge.launch.batch.script import job_of
from nearedge.launch.worker import AT_LEAST
from nearedge.queue_settings import SchedulerName
from nearedge.settings import Settings
from nearedge.store.operations import database_errors, operation


@dataclass(frozen=True)
class Wanted:
    """What a pass is to submit.

    Parameters
    ----------
    max_jobs
        Of this user in the queue at one time, those of others' programs included.
    project
        Only work of this project; None: of all.
    classes
        Only these classes of work; None: all.
    pilots
        For all, or for none; None: as the settings say for each class.
    """

    max_jobs: int
    project: str | None = None
    classes: tuple[str, ...] | None = None
    pilots: bool | None = None

    def takes(self, job_class: str) -> bool:
        """Whether anything of this class is wanted; light work always is."""
        return self.classes is None or job_class in self.classes or job_class == LIGHT

    def by_pilots(self, job_class: str, settings: Settings) -> bool:
        """Whether this class is worked by pilots."""
        return job_class == LIGHT or settings.batch.resources(job_class, self.pilots).pilots


@dataclass
class Pass:
    """What one pass did.

    Parameters
    ----------
    submitted
        New batch jobs.
    refused
        Why the scheduler took none of a class.
    in_queue
        Jobs of this user before.
    ready
        Runs that were ready before, by class; a pack is as many as it has sites.
    too_long
        Of these, runs that no pilot would begin: they had longer than its walltime allows before,
        and had not ended.
    """

    submitted: list[BatchJob] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    in_queue: int = 0
    ready: Counter[str] = field(default_factory=Counter)
    too_long: Counter[str] = field(default_factory=Counter)


def refuse_unreachable(settings: Settings, scheduler: SchedulerName) -> None:
    """Raise if batch jobs could not reach the database.

    Raises
    ------
    LaunchError
        If it is the embedded one, and jobs may run on other machines.
    """
    if settings.mongo_uri is None and not on_this_machine_alone(scheduler, settings.batch):
        raise LaunchError(
            "The embedded database listens on this machine's loopback alone, where batch jobs on "
            "other nodes cannot reach it: name a MongoDB in NEAREDGE_MONGO_URI, or, if jobs run on "
            "this very machine, set same_machine in the section `queue` of the settings."
        )


def refuse_unknown_classes(settings: Settings, known: Sequence[str]) -> None:
    """Raise if the settings name a code that does not exist.

    Raises
    ------
    LaunchError
        Naming it, and what there is.
    """
    for name in settings.batch.codes:
        if name not in known:
            raise LaunchError(
                f"The settings' queue.codes.{name} is about no code: there are {', '.join(known)}."
            )


@database_errors()  # not repeated: it submits
def fill(
    pad: LaunchPad,
    scheduler: SchedulerName,
    settings: Settings,
    wanted: Wanted,
    skip: frozenset[str] = frozenset(),
) -> Pass:
    """Submit pilots for what they work and a job for each other Firework, as far as there is room.

    Nothing is submitted for the classes in `skip`.

    Raises
    ------
    LaunchError
        If the scheduler does not say how many jobs are in its queue; nothing is submitted then.
    SettingsError
        If the settings leave the jobs of a class with ready work no time for it.
    """
    settle_half_made(pad, scheduler)
    done = Pass(in_queue=jobs_in_queue(scheduler, settings.batch), ready=ready(pad, wanted.project))
    room = max(0, wanted.max_jobs - done.in_queue)
    count = Counter({name: n for name, n in done.ready.items() if n and wanted.takes(name)})
    for name in skip:
        del count[name]
    done.too_long = _too_long(pad, count, settings, wanted)
    apart = ready(pad, wanted.project, APART) & Counter(
        {name: n for name, n in count.items() if wanted.by_pilots(name, settings)}
    )
    for_pilots = count - done.too_long - apart
    alive = pilots_alive(pad, scheduler, wanted.project)
    for name, number in _missing_pilots(for_pilots, alive, settings, wanted).items():
        for _ in range(min(number, room - len(done.submitted))):
            try:
                job = submit_pilot(pad, name, scheduler, settings, wanted.project)
            except SubmissionRefused as error:
                done.refused[name] = str(error)
                break
            done.submitted.append(job)
    singly = [name for name in count if not wanted.by_pilots(name, settings)]
    for names, also in ((list(apart), APART), (singly, {})):
        while names and len(done.submitted) < room:
            try:
                one = reserve_one(pad, sorted(names), scheduler, settings, wanted.project, also)
            except SubmissionRefused as error:
                done.refused[error.job_class] = str(error)
                names.remove(error.job_class)
                continue
            if one is None:
                break
            done.submitted.append(one)
    discard_settings(settings, scheduler)
    return done


def _too_long(
    pad: LaunchPad, count: Counter[str], settings: Settings, wanted: Wanted
) -> Counter[str]:
    """Count the ready runs that pilots would leave: one would follow the other for ever."""
    found: Counter[str] = Counter()
    for name in count:
        if name == LIGHT or not wanted.by_pilots(name, settings):
            continue
        longest = settings.batch.resources(name).longest_run
        too_long = {AT_LEAST: {"$gte": longest}, **FOR_PILOTS}
        found[name] = ready(pad, wanted.project, too_long)[name]
    return +found


def _missing_pilots(
    count: Counter[str], alive: dict[str, int], settings: Settings, wanted: Wanted
) -> dict[str, int]:
    """Return how many pilots of each class are missing."""
    missing: dict[str, int] = {}
    for name in sorted(count, key=lambda each: each == LIGHT):
        if not wanted.by_pilots(name, settings):
            continue
        if name == LIGHT and (alive or len(count) > 1):
            continue  # the jobs that run, or are coming, take it along
        needed = -(-count[name] // capacity(settings.batch.resources(name)))
        missing[name] = max(0, needed - alive.get(name, 0))
    return missing


@operation
def scripts(
    pad: LaunchPad, scheduler: SchedulerName, settings: Settings, wanted: Wanted
) -> dict[str, str]:
    """Return the script that would be submitted for each class with ready work; changes no queue.

    Raises
    ------
    LaunchError
        If the settings ask for what the scheduler does not have.
    """
    found: dict[str, str] = {}
    for name in sorted(ready(pad, wanted.project)):
        if not wanted.takes(name):
            continue
        task = pilot_task(name, wanted.project)
        if not wanted.by_pilots(name, settings):
            query = {"state": "READY", **of_classes([name], wanted.project)}
            first = pad.fireworks.find_one(query, {"fw_id": 1}, sort=[("spec._priority", -1)])
            if first is None:
                continue
            task = task_of(pad.get_fw_by_id(first["fw_id"]))
        job = job_of(task, scheduler, settings.batch.resources(name), settings)
        found[name] = job.get_script_str(str(batch_folder(settings) / JOBS / "<job>"))
    return found
