"""What a site's batch jobs ask for: the section ``queue`` of the settings."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator

from nearedge.errors import SettingsError

SchedulerName = Literal["slurm", "pbs", "sge"]

_CLOCK = re.compile(r"(?:(?P<d>\d+)-)?(?:(?P<h>\d+):)?(?P<m>\d+):(?P<s>[0-5]\d)")
_WORD = r"^[A-Za-z0-9][A-Za-z0-9._,:+@/-]*$"
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def read_duration(value: object) -> object:
    """Return seconds for ``HH:MM:SS``, ``D-HH:MM:SS`` or ``MM:SS``; pass numbers on.

    YAML itself reads ``24:00:00`` without quotes as a number of seconds, so both come out alike.
    """
    match = _CLOCK.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        return value
    days, hours, minutes, seconds = (int(match[part] or 0) for part in "dhms")
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds


def clock(seconds: int) -> str:
    """Return ``HH:MM:SS``, which every scheduler reads."""
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"


START_SECONDS = 30
"""What a batch job may need before its workers look for work."""

Duration = Annotated[int, BeforeValidator(read_duration)]
Word = Annotated[str, Field(pattern=_WORD)]


class Resources(BaseModel):
    """What one batch job asks for; durations in seconds, or written ``HH:MM:SS``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    nodes: int = Field(1, ge=1, description="Machines of a job.")
    tasks: int = Field(
        1,
        ge=1,
        description="MPI processes of the code; of a pilot, runs that go on side by side.",
    )
    threads: int = Field(1, ge=1, description="Cores of each task; OMP_NUM_THREADS is set to it.")
    memory: Annotated[str, Field(pattern=r"^[1-9]\d*[KMGT]$")] | None = Field(
        None, description="Memory on each node, such as 16G. Unset: the site's default."
    )
    walltime: Duration = Field(3600, ge=60, description="Longest time of a job.")
    margin: Duration = Field(
        120,
        ge=10,
        description="Time before the walltime's end at which what still runs is ended in order.",
    )
    expected: Duration = Field(
        60, ge=1, description="Time a run usually takes: a pilot starts none without it."
    )
    partition: Word | None = Field(None, description="Partition of Slurm; queue of PBS and SGE.")
    account: Word | None = Field(None, description="Account that is charged.")
    qos: Word | None = Field(None, description="Quality of service of Slurm.")
    parallel_environment: Word | None = Field(None, description="Parallel environment of SGE.")
    options: tuple[str, ...] = Field(
        (), description="Further options of the scheduler, such as --constraint=icelake."
    )
    setup: tuple[str, ...] = Field(
        (), description="Lines of shell before the worker starts, such as module load vasp."
    )
    environment: dict[str, str] = Field(
        {}, description="Variables for the worker, taken as they stand; never secrets."
    )
    pilots: bool = Field(
        False,
        description="Jobs that take many runs, one after the other; otherwise a job for each run.",
    )

    @property
    def longest_run(self) -> int:
        """Seconds that a run may be expected to take so that a pilot begins it."""
        return self.walltime - self.margin - START_SECONDS

    @field_validator("options", "setup")
    @classmethod
    def _one_line_each(cls, lines: tuple[str, ...]) -> tuple[str, ...]:
        for line in lines:
            # FireWorks' templates drop every line with two dollar signs.
            if "\n" in line or "$$" in line:
                raise ValueError(f"{line!r} must be one line without $$")
        return lines

    @field_validator("environment", mode="before")
    @classmethod
    def _texts(cls, variables: object) -> object:
        if not isinstance(variables, Mapping):
            return variables
        for name, value in variables.items():
            if not _VARIABLE.fullmatch(str(name)):
                raise ValueError(f"{name!r} is no name of a variable")
            if "\n" in str(value) or "$$" in str(value):
                raise ValueError(f"the value of {name} must be one line without $$")
        return {name: str(value) for name, value in variables.items()}


USUAL: dict[str, dict[str, Any]] = {
    "feff": {"pilots": True, "tasks": 2},
    "light": {"pilots": True, "expected": 10},
}
"""What differs from the defaults of `Resources` unless the settings say otherwise: runs of FEFF
take seconds to minutes, so each would wait longer for its allocation than it computes."""


_NOW_CALLED = {"pack": "pilots"}
"""Keys of `Resources` under an older name: `nearedge submit --pack` is another thing."""


class QueueSettings(BaseModel):
    """How batch jobs are submitted here."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    scheduler: SchedulerName | None = Field(
        None, description="slurm, pbs or sge. Unset: the one whose commands are found."
    )
    same_machine: bool = Field(
        False, description="Batch jobs run on this very machine, so they reach its loopback."
    )
    max_jobs: int = Field(20, ge=1, description="Jobs of yours in the queue at one time.")
    interval: float = Field(30.0, ge=1, description="Seconds between two passes of --forever.")
    tries: int = Field(
        3,
        ge=1,
        description="How often a run may meet the same end (walltime, memory, a lost worker, a "
        "fault of the machine) before it is left as a failure.",
    )
    all: Resources = Field(Resources(), description="For every code.")
    codes: dict[str, Resources] = Field(
        {}, description="For one code each; beats what stands under all."
    )

    @property
    def longest_walltime(self) -> int:
        """Seconds that a batch job of any class of work may take."""
        return max(self.resources(name).walltime for name in ("", *USUAL, *self.codes))

    def resources(self, name: str, pilots: bool | None = None) -> Resources:
        """Return what a job for the code, or other class of work, asks for.

        Parameters
        ----------
        name
            The class of work.
        pilots
            Beats what is stated about them; None: as stated.

        Raises
        ------
        SettingsError
            If the margin leaves no time to work, or a pilot would never begin a run.
        """
        stated = USUAL.get(name, {}) | self.all.model_dump(exclude_unset=True)
        if own := self.codes.get(name):
            stated |= own.model_dump(exclude_unset=True)
        if pilots is not None:
            stated["pilots"] = pilots
        resources = Resources(**stated)
        if resources.walltime < 2 * resources.margin:
            raise SettingsError(
                f"queue, {name}: a walltime of {clock(resources.walltime)} with a margin of "
                f"{clock(resources.margin)} leaves no time to work: raise one or lower the other."
            )
        # What is light is begun however little time is left.
        if resources.pilots and name != "light" and resources.expected >= resources.longest_run:
            raise SettingsError(
                f"queue, {name}: a pilot would never begin a run that is expected to take "
                f"{clock(resources.expected)}: its walltime of {clock(resources.walltime)}, less "
                f"the margin and the start, leaves {clock(resources.longest_run)}. Raise the "
                "walltime, lower `expected`, or set `pilots` to false."
            )
        return resources


def sentence(error: ValidationError) -> str | None:
    """Say what is wrong in the section ``queue`` with what may stand there, or return None.

    Parameters
    ----------
    error
        Of settings that hold the section.
    """
    first = error.errors(include_input=False, include_url=False)[0]
    place = [str(part) for part in first["loc"]]
    if place[0] != "queue" or first["type"] != "extra_forbidden":
        return None
    where = QueueSettings if len(place) == 2 else Resources
    if where is Resources and (now := _NOW_CALLED.get(place[-1])) is not None:
        return f"Setting {'.'.join(place)!r} is now called {now!r}: write {now} in its place"
    return (
        f"Setting {'.'.join(place)!r} is not known: {'.'.join(place[:-1])} takes "
        f"{', '.join(where.model_fields)}"
    )
