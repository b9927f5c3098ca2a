"""A launch that was given up writes nothing any more.

A worker may be judged gone and yet come back: its node lost the network, the process was suspended,
the scheduler lost sight of it. Its job runs elsewhere by then. What it writes of the queue is
refused because every write is conditional (`nearedge.launch.conditional`): giving a launch up moves
it out of its job's ``launches``, and from then on nothing that it read matches. The output of a job
carries the number of its launch, and never replaces that of a later one.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Any

from fireworks.core.firework import Firework, FWAction, Launch
from fireworks.core.fworker import FWorker
from pymongo.errors import PyMongoError

from nearedge.launch.conditional import (
    TRIES,
    ConditionalLaunchPad,
    InNoWorkflow,
    LockLost,
    Superseded,
)
from nearedge.launch.token import CurrentLaunch, has_progressed, hold, mark_progress, refuse

log = logging.getLogger(__name__)

GIVEN_UP = "given_up"
"""Field of a launch that was given up: why."""


class FencedLaunchPad(ConditionalLaunchPad):
    """FireWorks' launchpad, whose every write is refused to a launch that was given up."""

    of_store: str | None = None
    """The database that it works for, where it is not the queue that every database has."""

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
        if has_progressed() and state == "FIZZLED":  # FireWorks wrote the launch anew
            mark_progress(self.db, launch_id)
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
        for _ in range(TRIES):
            try:
                with self._locked(fw_id):
                    workflow = self.get_wf_by_fw_id_lzyfw(fw_id)
                    if not _still(workflow.id_fw[fw_id], launch_id, state):
                        return False
                    if not self._note(workflow.id_fw[fw_id], state, why):
                        continue
                    updated = workflow.rerun_fw(fw_id)
                    if fizzle is not None:
                        workflow.id_fw[fw_id].launches = [self._fizzled(fw_id, fizzle)]
                        updated = workflow.refresh(fw_id, set(updated))
                    self._update_wf(workflow, updated)
                return True
            except LockLost:
                self._refresh_wf(fw_id)
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

    def _note(self, firework: Firework, state: str, why: str) -> bool:
        """Note in a job's last launch why it is given up, if it still is as it was read."""
        last = max(firework.launches, key=lambda launch: launch.launch_id, default=None)
        if last is None:
            return True
        note: dict[str, Any] = {GIVEN_UP: why, "given_up_on": datetime.now(UTC)}
        if state == "RESERVED":
            note["state"] = "READY"  # as FireWorks calls a cancelled reservation
        as_read = {"launch_id": last.launch_id, "state": last.state}
        return bool(self.launches.update_one(as_read, {"$set": note}).matched_count)

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
