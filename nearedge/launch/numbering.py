"""Numbers of Fireworks and launches that nobody else is given."""

from __future__ import annotations

from collections.abc import Iterable

from fireworks.core.firework import Firework, Workflow
from fireworks.core.launchpad import LaunchPad
from pymongo import ReturnDocument


class NumberedLaunchPad(LaunchPad):  # type: ignore[misc]  # FireWorks has no types
    """FireWorks' launchpad, which counts by what it has written.

    FireWorks takes the counter as it was before its own step. SecantusDB 0.7.0b3 reads that apart
    from the step, so two workers at once get the same number (127 of 300), and the later launch
    replaces the earlier one; the document after the step is of the step itself.
    """

    def get_new_fw_id(self, quantity: int = 1) -> int:
        """Return the first of `quantity` numbers of Fireworks."""
        return self._next("next_fw_id", quantity)

    def get_new_launch_id(self) -> int:
        """Return the number of a launch."""
        return self._next("next_launch_id", 1)

    def bulk_add_wfs(self, wfs: Iterable[Workflow | Firework]) -> None:
        """Add workflows with all their Fireworks, those without parents READY.

        FireWorks' own takes the numbers from the counter itself, not by `get_new_fw_id`.
        """
        workflows = [Workflow.from_firework(wf) if isinstance(wf, Firework) else wf for wf in wfs]
        number = self.get_new_fw_id(sum(len(workflow.fws) for workflow in workflows))
        for workflow in workflows:
            new = {old: number + place for place, old in enumerate(workflow.id_fw)}
            number += len(new)
            for old, firework in workflow.id_fw.items():
                firework.fw_id = new[old]
            workflow._reassign_ids(new)
            for root in workflow.root_fw_ids:
                workflow.id_fw[root].state = "READY"
                workflow.fw_states[root] = "READY"
        # Workflows first, so that no worker takes a Firework that is in none.
        self.workflows.insert_many([workflow.to_db_dict() for workflow in workflows])
        fireworks = [firework for workflow in workflows for firework in workflow.fws]
        self.fireworks.insert_many([firework.to_db_dict() for firework in fireworks])

    def _next(self, counter: str, quantity: int) -> int:
        after = self.fw_id_assigner.find_one_and_update(
            {}, {"$inc": {counter: quantity}}, return_document=ReturnDocument.AFTER
        )
        return int(after[counter]) - quantity
