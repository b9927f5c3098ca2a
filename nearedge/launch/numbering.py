"""Numbers of Fireworks and launches that nobody else is given."""

from __future__ import annotations

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

    def _next(self, counter: str, quantity: int) -> int:
        after = self.fw_id_assigner.find_one_and_update(
            {}, {"$inc": {counter: quantity}}, return_document=ReturnDocument.AFTER
        )
        return int(after[counter]) - quantity
