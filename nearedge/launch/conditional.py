"""A launchpad that writes only what is still as it was read.

Every write of the queue is a condition and a change of one document at once, which no other process
can come between:

- A Firework is replaced only if its state and its launches are those that were read.
- A workflow is replaced only by who holds its lock, whose token is part of the condition. A lock
  that stands still for `LOCK_SECONDS` was left by a process that is gone, and is taken over.

FireWorks itself replaces both by whatever it read before.
"""

from __future__ import annotations

import logging
import random
import time
import uuid
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from fireworks.core.firework import Firework, Workflow
from fireworks.core.launchpad import LazyFirework
from pymongo.errors import PyMongoError

from nearedge.launch.choosing import ChoosingLaunchPad
from nearedge.launch.token import current_launch
from nearedge.store.batches import batches

log = logging.getLogger(__name__)

LOCK_SECONDS = 5.0
"""A workflow's lock is held for milliseconds; one held this long belongs to a killed worker."""

TRIES = 5
"""How often an update of a workflow is begun anew because a part of it changed meanwhile."""


class Superseded(Exception):
    """A document of the queue is no longer what was read."""


class LockLost(Superseded):
    """The jobs of a workflow were written, and its lock was taken over before that was noted."""


class _Away(BaseException):
    """The database went away; not an `Exception`, which FireWorks would take for a broken job."""

    def __init__(self, error: PyMongoError) -> None:
        super().__init__(str(error))
        self.error = error


class InNoWorkflow(ValueError):
    """A job belongs to no workflow, so nothing waits for it and nothing may run it."""

    def __init__(self, fw_id: int) -> None:
        super().__init__(f"Job {fw_id} is in no workflow.")
        self.fw_id = fw_id


@dataclass(frozen=True)
class _Seen:
    """What a Firework was when it was read, as far as another's change would show."""

    state: str
    launches: tuple[int, ...]
    archived: int

    def condition(self, fw_id: int) -> dict[str, Any]:
        launches: dict[str, Any] = {"$size": len(self.launches)}
        if self.launches:
            launches["$all"] = list(self.launches)
        return {
            "fw_id": fw_id,
            "state": self.state,
            "launches": launches,
            "archived_launches": {"$size": self.archived},
        }


class _SeenFirework(LazyFirework):  # type: ignore[misc]  # FireWorks has no types
    """FireWorks' Firework that is loaded when needed, which remembers what it was."""

    seen: _Seen | None = None

    @property
    def partial_fw(self) -> Firework:
        first = self._fw is None
        firework = super().partial_fw
        if first:
            ids = self._lids
            self.seen = _Seen(firework.state, tuple(ids["launches"]), len(ids["archived_launches"]))
        return firework


class ConditionalLaunchPad(ChoosingLaunchPad):
    """FireWorks' launchpad, which writes a document only if it still is what was read."""

    _lock: str | None = None
    _taking = False
    _has_read = False

    def _get_a_fw_to_run(
        self,
        query: Mapping[str, Any] | None = None,
        fw_id: int | None = None,
        checkout: bool = True,
    ) -> Firework | None:
        """Return a job to run, if any; FireWorks makes one fizzle that it cannot read."""
        self._taking = True
        try:
            return super()._get_a_fw_to_run(query, fw_id=fw_id, checkout=checkout)
        except _Away as away:
            raise away.error from None
        finally:
            self._taking = False

    def get_fw_by_id(self, fw_id: int) -> Firework:
        """Return a Firework that remembers what it was."""
        try:
            stored = self.get_fw_dict_by_id(fw_id)
        except PyMongoError as error:
            if self._taking:
                raise _Away(error) from None
            raise
        launches = tuple(launch["launch_id"] for launch in stored["launches"])
        seen = _Seen(stored["state"], launches, len(stored["archived_launches"]))
        firework = Firework.from_dict(stored)
        firework.seen = seen
        return firework

    def get_wf_by_fw_id_lzyfw(self, fw_id: int) -> Workflow:
        """Return a workflow whose Fireworks are loaded when needed, and remember what they were."""
        found = self.workflows.find_one({"nodes": fw_id})
        if found is None:
            raise InNoWorkflow(fw_id)
        states = found.get("fw_states")
        return Workflow(
            [
                _SeenFirework(node, self.fireworks, self.launches, self.gridfs_fallback)
                for node in found["nodes"]
            ],
            found["links"],
            found["name"],
            found["metadata"],
            found["created_on"],
            found["updated_on"],
            None if states is None else {int(name): state for name, state in states.items()},
        )

    def _upsert_fws(self, fws: list[Firework], reassign_all: bool = False) -> dict[int, int]:
        read = [each for each in fws if getattr(each, "seen", None) is not None]
        others = [each for each in fws if getattr(each, "seen", None) is None]
        new: dict[int, int] = super()._upsert_fws(others, reassign_all) if others else {}
        # Launched ones first: they alone can have been given up, and nothing has changed yet.
        for firework in sorted(read, key=lambda each: not each.seen.launches):
            condition = firework.seen.condition(firework.fw_id)
            if not self._write(condition, firework):
                self.fireworks.delete_many({"fw_id": {"$in": list(new.values())}})
                raise Superseded(f"Job {firework.fw_id} changed while it was being updated.")
        return new

    def _write(self, condition: dict[str, Any], firework: Firework) -> bool:
        """Write a Firework that was read before; return whether it is still what was read."""
        replaced = self.fireworks.replace_one(condition, firework.to_db_dict())
        return int(replaced.matched_count) == 1

    def _refresh_wf(self, fw_id: int) -> None:
        for _ in range(TRIES):
            try:
                with self._locked(fw_id):
                    workflow = self.get_wf_by_fw_id_lzyfw(fw_id)
                    updated = self._apply_again(workflow)
                    self._update_wf(workflow, workflow.refresh(fw_id, updated))
                return
            except Superseded as changed:
                log.info("%s", changed)
            except (PyMongoError, InNoWorkflow):
                raise
            except Exception as error:
                self._fizzle_unreadable(fw_id)
                raise RuntimeError(f"Job {fw_id} could not be updated: {error}") from error
        log.warning("Job %d changes all the time; the next `recover` brings it up to date.", fw_id)

    def _apply_again(self, workflow: Workflow) -> set[int]:
        """Apply what jobs asked for whose end was recorded in them, but not in their workflow.

        FireWorks does so only when it sees a job's state change. Whoever wrote the job was killed
        before it wrote the workflow, or lost its lock; what it would have added is in no workflow.
        """
        open_ones = [each for each, state in workflow.fw_states.items() if state != "COMPLETED"]
        ended: list[int] = []
        for batch in batches(open_ones):
            query = {"fw_id": {"$in": batch}, "state": "COMPLETED"}
            ended += [row["fw_id"] for row in self.fireworks.find(query, {"fw_id": 1})]
        updated: set[int] = set()
        for fw_id in ended:
            firework = workflow.id_fw[fw_id]
            if firework.state == "COMPLETED":
                firework.partial_fw._state = workflow.fw_states[fw_id]
                updated = workflow.refresh(fw_id, updated)
        return updated

    def _fizzle_unreadable(self, fw_id: int) -> None:
        """Stop a job whose workflow cannot be updated, as FireWorks does, unless it runs anew."""
        launch = current_launch()
        held = {} if launch is None else {"launches": launch.launch_id}
        change = {"$set": {"state": "FIZZLED"}}
        if self.fireworks.update_one({"fw_id": fw_id, **held}, change).matched_count:
            states = {"state": "FIZZLED", f"fw_states.{fw_id}": "FIZZLED"}
            self.workflows.update_one({"nodes": fw_id}, {"$set": states})

    def _update_wf(self, wf: Workflow, updated_ids: Collection[int]) -> None:
        fireworks = [wf.id_fw[each] for each in updated_ids]
        ready = [each for each in fireworks if each.fw_id < 0 and each.state == "READY"]
        for firework in ready:
            firework.state = "WAITING"  # until it is linked, so that no worker takes it before
        new = self._upsert_fws(fireworks)
        wf._reassign_ids(new)
        node = next(each for each in wf.id_fw if each not in new.values())
        held = self._lock or True
        content = {**wf.to_db_dict(), "locked": held}
        if self.workflows.replace_one({"nodes": node, "locked": held}, content).matched_count == 0:
            # What was written of jobs that were there before is found by `_apply_again`.
            self.fireworks.delete_many({"fw_id": {"$in": list(new.values())}})
            raise LockLost(f"The lock of job {node}'s workflow was taken over.")
        if ready:
            linked = {"fw_id": {"$in": [each.fw_id for each in ready]}, "state": "WAITING"}
            self.fireworks.update_many(linked, {"$set": {"state": "READY"}})

    @contextmanager
    def _locked(self, fw_id: int) -> Iterator[None]:
        if not ConditionalLaunchPad._has_read:
            # The first job that a process reads has it import for seconds what jobs are made of: by
            # the end of that the lock would be another's.
            with suppress(ValueError):  # there is none: said where it matters
                self.get_fw_by_id(fw_id)
            ConditionalLaunchPad._has_read = True
        token = uuid.uuid4().hex
        self._acquire(fw_id, token)
        self._lock = token
        try:
            yield
        finally:
            self._lock = None
            mine = {"nodes": fw_id, "locked": token}
            self.workflows.update_one(mine, {"$unset": {"locked": True}})

    def _acquire(self, fw_id: int, token: str) -> None:
        take = {"$set": {"locked": token}}
        free: dict[str, Any] = {"nodes": fw_id, "locked": {"$exists": False}}
        seen, since = None, time.monotonic()
        while self.workflows.update_one(free, take).matched_count == 0:
            found = self.workflows.find_one({"nodes": fw_id}, {"locked": 1})
            if found is None:
                raise InNoWorkflow(fw_id)
            holder = found.get("locked")
            if holder != seen:
                seen, since = holder, time.monotonic()
            elif holder is not None and time.monotonic() - since > LOCK_SECONDS:
                # Exactly the lock that stood still; its holder's writes are refused from now on.
                left = {"nodes": fw_id, "locked": holder}
                if self.workflows.update_one(left, take).matched_count:
                    return
            time.sleep(random.uniform(0.01, 0.05))
