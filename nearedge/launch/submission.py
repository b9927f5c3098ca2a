"""Workflows enter the queue whole or not at all.

FireWorks inserts workflows first and their Fireworks after, in two steps. A submitter that is
killed between the two, or loses its database, leaves workflows that lack Fireworks: no worker can
bring such a workflow to an end, and a second submission would believe it queued. So each batch is
announced before it is inserted, and what was left torn by a submitter that is gone is taken out
again; it was never acknowledged.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from fireworks.core.launchpad import LaunchPad

from nearedge.errors import LaunchError
from nearedge.launch.allowed import refused_keys
from nearedge.launch.heartbeat import WORKERS, stands_still
from nearedge.launch.identity import WorkerIdentity
from nearedge.launch.numbering import NumberedLaunchPad
from nearedge.store.operations import operation

if TYPE_CHECKING:
    from fireworks import Workflow

SUBMISSIONS = "submissions"
"""Collection of batches that are being inserted, in the launchpad's database."""

BULK = 100
"""Workflows per batch, so that an insertion never exceeds a message of the wire protocol."""

_TOKEN = "nearedge_submission"
_under_way: set[str] = set()
"""Batches that this process is inserting now."""


def add_workflows(pad: NumberedLaunchPad, workflows: Sequence[Workflow]) -> None:
    """Add workflows in bulk.

    Should this process or the database die on the way, the batches before are there, and what is
    torn of the last one is taken out by `withdraw_torn`.

    Raises
    ------
    LaunchError
        If a job's metadata has a key that FireWorks or the database act on; nothing is added then.
    """
    for workflow in workflows:
        for firework in workflow.fws:
            reason = refused_keys(firework.spec)
            if reason is not None:
                raise LaunchError(f"The job {firework.name} is not submitted: {reason}.")
    for start in range(0, len(workflows), BULK):
        _add_batch(pad, workflows[start : start + BULK])


def _add_batch(pad: NumberedLaunchPad, workflows: Sequence[Workflow]) -> None:
    token = uuid.uuid4().hex
    for workflow in workflows:
        workflow.metadata[_TOKEN] = token
    _under_way.add(token)
    try:
        pad.db[SUBMISSIONS].insert_one(
            {
                "_id": token,
                "submitter": WorkerIdentity.of_this_process().name,
                "since": datetime.now(UTC),
            }
        )
        pad.bulk_add_wfs(workflows)
        pad.db[SUBMISSIONS].delete_one({"_id": token})
    finally:
        _under_way.discard(token)


@operation
def withdraw_torn(pad: LaunchPad) -> int:
    """Take out workflows that a submitter left without all their Fireworks; return how many."""
    withdrawn = 0
    for announced in list(pad.db[SUBMISSIONS].find({})):
        if not _abandoned(pad, announced):
            continue
        of_batch = {f"metadata.{_TOKEN}": announced["_id"]}
        for workflow in list(pad.workflows.find(of_batch, {"nodes": 1})):
            withdrawn += _withdraw_if_torn(pad, workflow)
        pad.db[SUBMISSIONS].delete_one({"_id": announced["_id"]})
        pad.db[WORKERS].delete_one({"_id": _watched(announced)})
    return withdrawn


def _withdraw_if_torn(pad: LaunchPad, workflow: dict[str, Any]) -> bool:
    nodes = list(workflow["nodes"])
    if pad.fireworks.count_documents({"fw_id": {"$in": nodes}}) == len(nodes):
        return False
    # Fireworks first: should this be interrupted, the workflow is still torn, and found again.
    pad.fireworks.delete_many({"fw_id": {"$in": nodes}})
    pad.workflows.delete_one({"_id": workflow["_id"]})
    return True


def _abandoned(pad: LaunchPad, announced: dict[str, Any]) -> bool:
    if announced["submitter"] == WorkerIdentity.of_this_process().name:
        return announced["_id"] not in _under_way
    submitter = WorkerIdentity.parse(announced["submitter"])
    if submitter is not None and submitter.here:
        return not submitter.alive()
    # Inserting a batch takes seconds: one that is watched not to end was left.
    return stands_still(pad.db, _watched(announced), "")


def _watched(announced: dict[str, Any]) -> str:
    return f"submission {announced['_id']}"
