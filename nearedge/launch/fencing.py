"""A launch that was given up writes nothing any more.

A worker may be judged gone and yet come back: its node lost the network, the process was suspended,
the scheduler lost sight of it. Its job runs elsewhere by then. So every write of the queue is a
condition and a change of one document at once, which no other process can come between:

- A Firework is replaced only if its state and its launches are those that were read. Giving a
  launch up moves it out of ``launches``: from then on nothing of it matches.
- A workflow is replaced only by who holds its lock, whose token is part of the condition. A lock
  that stands still for `LOCK_SECONDS` was left by a process that is gone, and is taken over.
- The output of a job carries the number of its launch, and never replaces that of a later one.

FireWorks itself replaces all of these by whatever it read before.
"""

from __future__ import annotations

import logging
import random
import time
import uuid
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from fireworks.core.firework import Firework, FWAction, Launch, Workflow
from fireworks.core.fworker import FWorker
from fireworks.core.launchpad import LazyFirework
from pymongo.errors import PyMongoError

from nearedge.launch.choosing import ChoosingLaunchPad
from nearedge.launch.token import CurrentLaunch, current_launch, hold, refuse

log = logging.getLogger(__name__)

LOCK_SECONDS = 5.0
"""A workflow's lock is held for milliseconds; one held this long belongs to a killed worker."""

GIVEN_UP = "given_up"
"""Field of a launch that was given up: why."""

_TRIES = 5
"""How often an update of a workflow is begun anew because a part of it changed meanwhile."""


class Superseded(Exception):
    """A document of the queue is no longer what was read."""


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


class FencedLaunchPad(ChoosingLaunchPad):
    """FireWorks' launchpad, whose every write is refused to a launch that was given up."""

    _lock: str | None = None
    _taking = False

    # ---- taking and ending a job

    def checkout_fw(
        self,
        fworker: FWorker,
        launch_dir: str,
        fw_id: int | None = None,
        host: str | None = None,
        ip: str | None = None,
        state: str = "RUNNING",
    ) -> tuple[Firework | None, int | None]:
        """Reserve a job and note its launch; None if it was taken away between the two."""
        hold(None)
        # FireWorks keeps a copy of every job for ever.
        self.backup_launch_data.clear()
        self.backup_fw_data.clear()
        try:
            firework, launch_id = super().checkout_fw(
                fworker, launch_dir, fw_id=fw_id, host=host, ip=ip, state=state
            )
        except Superseded as refused:
            log.warning("%s", refused)
            hold(None)
            self._remove_unused(launch_dir, fworker.name)
            return None, None
        except InNoWorkflow as left:
            # Fizzled, so that nobody takes it again; the next `recover` takes it out.
            log.warning("%s It was left by a process that was killed.", left)
            self.fireworks.update_one({"fw_id": left.fw_id}, {"$set": {"state": "FIZZLED"}})
            return None, None
        if firework is not None and launch_id is not None and state == "RUNNING":
            hold(CurrentLaunch(firework.fw_id, launch_id))
        return firework, launch_id

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

    def complete_launch(
        self, launch_id: int, action: FWAction | None = None, state: str = "COMPLETED"
    ) -> dict[str, Any]:
        """End a launch.

        Raises
        ------
        LaunchGivenUp
            If it was given up; nothing of the job has changed then.
        """
        refuse(self.db, launch_id)
        ended: dict[str, Any] = super().complete_launch(launch_id, action, state)
        refuse(self.db, launch_id)  # given up meanwhile: the job did not end by this
        return ended

    def restore_backup_data(self, launch_id: int, fw_id: int) -> None:
        """Restore the launch alone: the job may be another launch's by now."""
        if launch_id in self.backup_launch_data:
            kept = self.backup_launch_data[launch_id]
            # Of one that was given up it stays noted why: that is counted.
            its_own = {"launch_id": launch_id, GIVEN_UP: {"$exists": False}}
            self.launches.find_one_and_replace(its_own, kept)

    def ping_launch(
        self,
        launch_id: int,
        ptime: datetime | None = None,
        checkpoint: dict[str, Any] | None = None,
    ) -> None:
        """Ping, and survive a database that is away: FireWorks' thread would end for good."""
        try:
            super().ping_launch(launch_id, ptime, checkpoint)
        except PyMongoError as error:
            log.warning("Launch %d could not be pinged: %s", launch_id, error)

    # ---- giving up

    def give_up(
        self, fw_id: int, launch_id: int | None, state: str, why: str, *, fizzle: str | None = None
    ) -> bool:
        """Archive a launch and make its job ready, if the job still is as it was seen.

        Parameters
        ----------
        fw_id
            The job.
        launch_id
            Its last launch; None if it had none.
        state
            The job's state as it was seen.
        why
            Noted in the launch.
        fizzle
            Leave the job fizzled, by an error of this text, rather than ready.

        Returns
        -------
        bool
            Whether this call did it; not so where somebody was faster, or the job has ended.
        """
        for _ in range(_TRIES):
            try:
                with self._locked(fw_id):
                    workflow = self.get_wf_by_fw_id_lzyfw(fw_id)
                    if not _still(workflow.id_fw[fw_id], launch_id, state):
                        return False
                    if launch_id is not None:
                        note: dict[str, Any] = {GIVEN_UP: why, "given_up_on": datetime.now(UTC)}
                        if state == "RESERVED":
                            note["state"] = "READY"  # as FireWorks calls a cancelled reservation
                        self.launches.update_one({"launch_id": launch_id}, {"$set": note})
                    updated = workflow.rerun_fw(fw_id)
                    if fizzle is not None:
                        workflow.id_fw[fw_id].launches = [self._fizzled(fw_id, fizzle)]
                        updated = workflow.refresh(fw_id, set(updated))
                    self._update_wf(workflow, updated)
                return True
            except Superseded:
                continue
        return False

    def rerun_fw(
        self,
        fw_id: int,
        rerun_duplicates: bool = True,
        recover_launch: int | str | None = None,
        recover_mode: str | None = None,
    ) -> list[int]:
        """Make a job ready again, whatever its launches: for people and commands that say so."""
        if recover_launch is not None:
            rerun: list[int] = super().rerun_fw(
                fw_id, rerun_duplicates, recover_launch, recover_mode
            )
            return rerun
        fields = {"state": 1, "launches": 1}
        stored = self.fireworks.find_one({"fw_id": fw_id}, fields)
        if stored is None:
            raise ValueError(f"There is no job {fw_id} in the queue.")
        if stored["state"] == "WAITING":
            return []
        last = max(stored["launches"], default=None)
        return [fw_id] if self.give_up(fw_id, last, stored["state"], "rerun") else []

    def _remove_unused(self, launch_dir: str, worker: str) -> None:
        """Remove a launch that no job came to know of."""
        for launch in self.launches.find({"launch_dir": launch_dir, "fworker.name": worker}):
            held = [{field: launch["launch_id"]} for field in ("launches", "archived_launches")]
            if self.fireworks.find_one({"$or": held}, {"_id": 1}) is None:
                self.launches.delete_one({"_id": launch["_id"]})

    def _fizzled(self, fw_id: int, error: str) -> Launch:
        trace = {"_exception": {"_stacktrace": error, "_details": None}}
        action = FWAction(stored_data={"_message": error, "_task": None, **trace}, exit=True)
        launch = Launch(
            "FIZZLED",
            "",
            FWorker(name="reconcile"),
            action=action,
            launch_id=self.get_new_launch_id(),
            fw_id=fw_id,
        )
        self.launches.insert_one(launch.to_db_dict())
        return launch

    # ---- reading and writing with a condition

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
        for _ in range(_TRIES):
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
        query = {"fw_id": {"$in": open_ones}, "state": "COMPLETED"}
        updated: set[int] = set()
        for row in list(self.fireworks.find(query, {"fw_id": 1})):
            firework = workflow.id_fw[row["fw_id"]]
            if firework.state == "COMPLETED":
                firework.partial_fw._state = workflow.fw_states[row["fw_id"]]
                updated = workflow.refresh(row["fw_id"], updated)
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
            raise Superseded(f"The lock of job {node}'s workflow was taken over.")
        if ready:
            linked = {"fw_id": {"$in": [each.fw_id for each in ready]}, "state": "WAITING"}
            self.fireworks.update_many(linked, {"$set": {"state": "READY"}})

    @contextmanager
    def _locked(self, fw_id: int) -> Iterator[None]:
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


def _still(firework: Firework, launch_id: int | None, state: str) -> bool:
    """Return whether a job is as it was seen, and has not ended meanwhile."""
    if firework.state != state or state in ("ARCHIVED", "DEFUSED"):
        return False
    launches = firework.launches
    last = max((launch.launch_id for launch in launches), default=None)
    if last != launch_id:
        return False
    over = any(launch.state in ("COMPLETED", "FIZZLED") for launch in launches)
    return not (over and state in ("RUNNING", "RESERVED"))
