"""A launchpad and a job store that give out nothing which names what is not allowed.

A Firework that names it is given out as one that does nothing but raise `JobRefused`. FireWorks
then treats it as any job that ends by an error: it fizzles, once, with that error, and is not made
ready again. What the database holds of it is left as it is: whoever trusts its module runs it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from fireworks import FiretaskBase, explicit_serialize
from fireworks.core.firework import Firework, Launch, Workflow
from fireworks.core.launchpad import get_action_from_gridfs
from jobflow.core.store import JobStore

from nearedge.errors import JobRefused
from nearedge.launch.allowed import SPEC_KEYS, refused_content, refused_spec
from nearedge.launch.fencing import FencedLaunchPad

_OF_A_RUN = ("state", "launches", "archived_launches", "updated_on")
"""What changes of a refused Firework by its being run, ended or put back."""


@explicit_serialize
class RefusedTask(FiretaskBase):  # type: ignore[misc]  # FireWorks has no types
    """Stands for the tasks of a Firework that no worker runs.

    Parameters
    ----------
    reason
        Why not.
    """

    required_params = ("reason",)

    def run_task(self, fw_spec: Mapping[str, object]) -> None:
        """Raise, whatever the spec.

        Raises
        ------
        JobRefused
            With the reason.
        """
        raise JobRefused(f"This job is not run: {self['reason']}.")


class GuardedLaunchPad(FencedLaunchPad):
    """A launchpad that looks through every Firework and launch before FireWorks decodes it."""

    trusted: Collection[str] = ()
    """The setting `trusted_jobs`."""

    def get_fw_dict_by_id(self, fw_id: int) -> dict[str, Any]:
        """Return a Firework as stored, without what is refused."""
        return self.harmless(super().get_fw_dict_by_id(fw_id))

    def get_launch_by_id(self, launch_id: int) -> Launch:
        """Return a launch, without an action that is refused."""
        found = self.launches.find_one({"launch_id": launch_id})
        if found is None:
            raise ValueError(f"There is no launch {launch_id}.")
        return Launch.from_dict(self.harmless_launch(found))

    def get_wf_by_fw_id_lzyfw(self, fw_id: int) -> Workflow:
        """Return a workflow whose Fireworks are read through this launchpad when needed."""
        workflow = super().get_wf_by_fw_id_lzyfw(fw_id)
        for firework in workflow.id_fw.values():
            firework._fwc, firework._lc = _Fireworks(self), _Launches(self)
        return workflow

    def harmless(self, stored: dict[str, Any]) -> dict[str, Any]:
        """Return a stored Firework with what is refused taken out of it."""
        for field in ("launches", "archived_launches"):
            launches = stored.get(field) or []
            if launches and isinstance(launches[0], Mapping):
                stored[field] = [self.harmless_launch(launch) for launch in launches]
        spec = stored.get("spec")
        if not isinstance(spec, dict):
            return stored
        reason = refused_spec(spec, self.trusted)
        if reason is None:
            return stored
        task = {"_fw_name": RefusedTask._fw_name, "reason": reason}
        plain = {key: value for key, value in spec.items() if _is_plain(key, value)}
        return {**stored, "spec": {**plain, "_tasks": [task]}}

    def _write(self, condition: dict[str, Any], firework: Firework) -> bool:
        """Write a Firework that was read before, but not what stands for a refused spec."""
        if not any(isinstance(task, RefusedTask) for task in firework.tasks):
            return super()._write(condition, firework)
        content = firework.to_db_dict()
        change = {"$set": {field: content[field] for field in _OF_A_RUN}}
        return int(self.fireworks.update_one(condition, change).matched_count) == 1

    def harmless_launch(self, launch: dict[str, Any]) -> dict[str, Any]:
        """Return a stored launch with its action, if that is not refused."""
        action = get_action_from_gridfs(launch.get("action"), self.gridfs_fallback)
        if refused_content(action, self.trusted) is not None:
            action = None
        return {**launch, "action": action, "trackers": None}


def _is_plain(key: str, value: object) -> bool:
    """Return whether a part of a refused spec is kept as it is: what it is about, and priority."""
    if key.startswith("_"):
        return key in SPEC_KEYS - {"_tasks"} and isinstance(value, bool | int | float)
    return isinstance(value, Mapping) and all(
        isinstance(each, str | int | float | None) and not str(name).startswith(("_", "@", "$"))
        for name, each in value.items()
    )


class _Fireworks:
    """The one question that a Firework which is loaded when needed asks of its collection."""

    def __init__(self, pad: GuardedLaunchPad) -> None:
        self._pad = pad

    def find_one(self, query: Mapping[str, object], projection: list[str]) -> dict[str, Any]:
        return self._pad.harmless(self._pad.fireworks.find_one(query, projection=projection))


class _Launches:
    """The one question that it asks of the launches."""

    def __init__(self, pad: GuardedLaunchPad) -> None:
        self._pad = pad

    def find(self, query: Mapping[str, object]) -> Iterator[dict[str, Any]]:
        for launch in self._pad.launches.find(query):
            yield self._pad.harmless_launch(launch)


class GuardedJobStore(JobStore):
    """jobflow's store of what jobs returned, which decodes nothing that is not allowed."""

    trusted: Collection[str] = ()
    """The setting `trusted_jobs`."""

    def query(self, *args: Any, **kwargs: Any) -> Iterator[dict[str, Any]]:
        """Yield outputs.

        Raises
        ------
        JobRefused
            If one names what no job of NearEdge returns.
        """
        for found in super().query(*args, **kwargs):
            reason = refused_content(found.get("output"), self.trusted)
            if reason is not None:
                raise JobRefused(f"The output of job {found.get('uuid')} is not read: {reason}.")
            yield found
