"""What the queue knows of a calculation: whether it is waiting, running, or has fizzled."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from fireworks.core.launchpad import LaunchPad

from nearedge.launch.fireworks import SPEC_KEY
from nearedge.store.batches import batches

PENDING = ("WAITING", "READY", "RESERVED", "RUNNING", "PAUSED")
"""States of a Firework whose work is still to come, or under way."""

NOT_COMPLETED = (*PENDING, "FIZZLED", "DEFUSED", "ARCHIVED")
"""All states but COMPLETED, of a Firework or a workflow: a campaign is mostly what has completed,
and no index of the embedded server serves "not equal"."""


class JobKind(StrEnum):
    """What a job is, as it says of itself; jobs of other kinds are named by what makes them."""

    SITE = "site"
    AVERAGE = "average"
    PACK = "pack"
    RELAX = "relax"
    CONTINUE = "continue"
    CONVERGE = "converge"
    BENCHMARK = "benchmark"
    TRIAL = "trial"
    CHOOSE = "choose"
    EVALUATE = "evaluate"


@dataclass(frozen=True)
class QueuedJob:
    """A Firework that is about a calculation, alone or with others (see `ids_of`).

    Parameters
    ----------
    kind
        Mostly a `JobKind`.
    repeats
        Which failure of the calculation it computes again, as it was told when it was submitted;
        None where it leaves every failure as it is, and an empty text where it leaves none.
    """

    fw_id: int
    state: str
    calculation_id: str
    project: str | None
    label: str
    kind: str
    repeats: str | None = ""

    def computes_again(self, failure: str) -> bool:
        """Return whether it computes a calculation of which that failure is recorded."""
        return self.repeats in ("", failure)


def ids_of(about: Mapping[str, Any]) -> list[str]:
    """Return the calculations that a Firework is about; a pack is about many, others about one."""
    stated = about.get("calculation_id")
    if stated is None:
        return []
    return [stated] if isinstance(stated, str) else list(stated)


def queued(
    pad: LaunchPad, calculation_ids: Iterable[str], *, states: Sequence[str] = PENDING
) -> dict[str, list[QueuedJob]]:
    """Return the Fireworks in `states` that are about each of `calculation_ids`.

    Calculations that no such Firework is about have no entry.
    """
    found: dict[str, list[QueuedJob]] = {}
    for batch in batches(dict.fromkeys(calculation_ids)):
        wanted = set(batch)
        query = {f"spec.{SPEC_KEY}.calculation_id": {"$in": batch}, "state": {"$in": list(states)}}
        fields = {"_id": 0, "fw_id": 1, "state": 1, f"spec.{SPEC_KEY}": 1}
        for stored in pad.fireworks.find(query, fields):
            about = stored["spec"][SPEC_KEY]
            for each in ids_of(about):
                job = QueuedJob(
                    fw_id=stored["fw_id"],
                    state=stored["state"],
                    calculation_id=each,
                    project=about.get("project"),
                    label=about.get("label", ""),
                    kind=about.get("kind", ""),
                    repeats=_repeats(about, each),
                )
                if each in wanted:
                    found.setdefault(each, []).append(job)
    return found


def averages_to_come(pad: LaunchPad, average_ids: Iterable[str]) -> dict[str, list[str | None]]:
    """Return the projects under which jobs, still in the queue, will file each of these averages.

    Averages that no such job makes have no entry.
    """
    found: dict[str, list[str | None]] = {}
    for batch in batches(dict.fromkeys(average_ids)):
        query = {f"spec.{SPEC_KEY}.average_id": {"$in": batch}, "state": {"$in": list(PENDING)}}
        for stored in pad.fireworks.find(query, {"_id": 0, f"spec.{SPEC_KEY}": 1}):
            about = stored["spec"][SPEC_KEY]
            made = about["average_id"]
            for each in [made] if isinstance(made, str) else made:
                found.setdefault(each, []).append(about.get("project"))
    return found


def _repeats(about: Mapping[str, Any], calculation_id: str) -> str | None:
    if about.get("kind") != JobKind.PACK:
        return ""
    if not about.get("rerun_failed"):
        return None
    # Before 23 November 2026 a pack did not say which.
    failures = about.get("failures")
    return "" if failures is None else failures.get(calculation_id)
