"""The launch that this process runs: the token by which its writes are accepted or refused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pymongo.database import Database

from nearedge.errors import LaunchGivenUp


@dataclass(frozen=True)
class CurrentLaunch:
    """What this process runs: the token that its writes are checked by."""

    fw_id: int
    launch_id: int


PROGRESSED = "progressed"
"""Field of a launch that stored something which the job's next launch need not compute."""

_current: CurrentLaunch | None = None
_progressed = False


def current_launch() -> CurrentLaunch | None:
    """Return the launch that this process runs now, or None outside of the queue."""
    return _current


def let_go() -> None:
    """Forget the launch that this process ran: what it writes from now on is no launch's."""
    hold(None)


def hold(launch: CurrentLaunch | None) -> None:
    """Remember what this process runs from now on."""
    global _current, _progressed
    _current, _progressed = launch, False


def note_progress(database: Database[dict[str, Any]]) -> None:
    """Note that something is stored which the job's next launch need not compute.

    In the launch as well: if this process is killed, another has to know.

    Parameters
    ----------
    database
        The launchpad's.
    """
    global _progressed  # noqa: PLW0603 - as above
    if _current is not None and not _progressed:
        mark_progress(database, _current.launch_id)
    _progressed = True


def mark_progress(database: Database[dict[str, Any]], launch_id: int) -> None:
    """Write into a launch that it stored something new."""
    database["launches"].update_one({"launch_id": launch_id}, {"$set": {PROGRESSED: True}})


def has_progressed() -> bool:
    """Return whether the launch that this process runs has stored something new."""
    return _progressed


def refuse_given_up(database: Database[dict[str, Any]]) -> None:
    """Raise if the launch that this process runs was given up.

    Parameters
    ----------
    database
        The launchpad's.

    Raises
    ------
    LaunchGivenUp
        If another launch has, or will have, this job.
    """
    if _current is not None:
        refuse(database, _current.launch_id)


def refuse(database: Database[dict[str, Any]], launch_id: int) -> None:
    """Raise `LaunchGivenUp` unless a job still has this launch."""
    if database["fireworks"].find_one({"launches": launch_id}, {"_id": 1}) is None:
        raise LaunchGivenUp(
            f"Launch {launch_id} was given up and its job put back, so this process may write "
            "nothing of it: the job's newer launch does. Nothing needs to be done."
        )
