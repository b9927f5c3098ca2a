"""The time that a batch job has for its work."""

from __future__ import annotations

import os
import signal
import threading
import time
from dataclasses import dataclass
from typing import Self

import psutil

WHOLE = 0.8
"""Share of the window: a run that took more of it will not end within another one either."""


@dataclass
class Window:
    """From a batch job's start to its margin, on a clock that nobody sets.

    Parameters
    ----------
    opened, closes
        As `time.monotonic` gives them, which is the same for all processes of a machine.
    expected
        Seconds that a run usually takes.
    longest
        Seconds that the longest run so far took.
    """

    opened: float
    closes: float
    expected: float
    longest: float = 0.0

    @classmethod
    def of_this_process(cls, walltime: float, margin: float, expected: float) -> Self:
        """Return the window of a batch job that has begun with this process."""
        # What was imported until now has cost time already.
        since = time.time() - psutil.Process().create_time()
        opened = time.monotonic() - since
        return cls(opened, opened + walltime - margin, expected)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what `text` gives."""
        return cls(*map(float, text.split(",")))

    @property
    def text(self) -> str:
        """What another process of this machine reads."""
        return f"{self.opened},{self.closes},{self.expected}"

    @property
    def left(self) -> float:
        """Seconds until it closes; negative after that."""
        return self.closes - time.monotonic()

    @property
    def takes_more(self) -> bool:
        """Whether a further run is likely to end in time."""
        return self.left > max(self.expected, self.longest)

    def took(self, seconds: float) -> None:
        """Learn from a run that took `seconds`."""
        self.longest = max(self.longest, seconds)

    def too_short_for(self, seconds: float) -> bool:
        """Whether a run that had `seconds`, and was not over, needs a longer window than this."""
        return seconds >= WHOLE * (self.closes - self.opened)


def end_when_closed(window: Window) -> None:
    """Ask this process to end, by the usual signal, when `window` closes."""

    def wait() -> None:
        time.sleep(max(0.0, window.left))
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, name="window", daemon=True).start()
