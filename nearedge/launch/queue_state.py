"""What the queue knows of a calculation: whether it is waiting, running, or has fizzled."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fireworks.core.launchpad import LaunchPad

from nearedge.launch.fireworks import SPEC_KEY
from nearedge.store.batches import batches

PENDING = ("WAITING", "READY", "RESERVED", "RUNNING", "PAUSED")
"""States of a Firework whose work is still to come, or under way."""

NOT_COMPLETED = (*PENDING, "FIZZLED", "DEFUSED", "ARCHIVED")
"""All states but COMPLETED, of a Firework or a workflow: a campaign is mostly what has completed,
and no index of the embedded server serves "not equal"."""

PACK = "pack"
"""Kind of a job that computes the sites of several crystals."""


@dataclass(frozen=True)
class QueuedJob:
    """A Firework that is about a calculation, alone or with others (see `ids_of`).

    Parameters
    ----------
    kind
        ``site``, ``pack`` or another.
    keeps_failed
        Whether it leaves a calculation that is recorded as failed as it is: of packs, all that were
        not submitted to compute failures again.
    """

    fw_id: int
    state: str
    calculation_id: str
    project: str | None
    label: str
    kind: str
    keeps_failed: bool = False


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
                    keeps_failed=about.get("kind") == PACK and not about.get("rerun_failed"),
                )
                if each in wanted:
                    found.setdefault(each, []).append(job)
    return found
