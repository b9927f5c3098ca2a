"""Flows that enter the queue once: asked for again, they go on where they stopped."""

from __future__ import annotations

from typing import Any, Literal

from fireworks.core.launchpad import LaunchPad
from jobflow.core.flow import Flow
from jobflow.managers.fireworks import flow_to_workflow

from nearedge.launch.fireworks import SPEC_KEY, ensure_launchpad_indexes, job_store, launchpad
from nearedge.launch.queue_state import PENDING
from nearedge.launch.submission import add_workflows, withdraw_torn
from nearedge.settings import Settings
from nearedge.store.operations import database_errors, operation

Submitted = Literal["queued", "put_back", "new"]


def submit_once(flow: Flow, about: tuple[str, str], settings: Settings) -> Submitted:
    """Add a flow to the queue unless it is there, and return what became of it.

    Parameters
    ----------
    about
        What each of its jobs says of itself, such as ``("search_id", "…")``. Jobs that say it and
        failed are put back; where some wait or run, nothing is added.
    """
    pad = launchpad(settings)
    ensure_launchpad_indexes(pad)
    return _submit(pad, flow, about)


@operation
def _submit(pad: LaunchPad, flow: Flow, about: tuple[str, str]) -> Submitted:
    withdraw_torn(pad)  # or what no worker can finish would count as queued
    key, value = about
    ours = {f"spec.{SPEC_KEY}.{key}": value}
    fizzled = list(pad.fireworks.find(ours | {"state": "FIZZLED"}, {"fw_id": 1}))
    for firework in fizzled:
        pad.rerun_fw(firework["fw_id"])
    if fizzled:
        return "put_back"
    if pad.fireworks.count_documents(ours | {"state": {"$in": list(PENDING)}}):
        return "queued"
    add_workflows(pad, [flow_to_workflow(flow)])
    return "new"


def outputs_of(about: dict[str, str], settings: Settings, limit: int = 0) -> list[dict[str, Any]]:
    """Return what jobs returned that say this of themselves, as it is stored; newest first.

    Parameters
    ----------
    limit
        How many at most; 0 for all.
    """
    store = job_store(settings)
    with database_errors():
        store.connect()
        conditions = {f"metadata.{SPEC_KEY}.{key}": value for key, value in about.items()}
        found = list(store.query(conditions, sort={"completed_at": -1}, limit=limit))
    return [each["output"] for each in found]
