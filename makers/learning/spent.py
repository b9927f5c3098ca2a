"""CPU seconds of a training over all its attempts, whichever of them were killed."""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Self

log = logging.getLogger(__name__)

KEPT = "cpu_seconds"
"""File beside the checkpoints of a training."""
INTERVAL = 2.0
"""Seconds between two looks: what the count of a killed attempt lacks at most, per core."""


class SpentCpu:
    """Counts this process's CPU seconds on top of those that earlier attempts left in a folder.

    Parameters
    ----------
    folder
        The training's checkpoints; None where there are none, and no earlier attempt is known.
    """

    def __init__(self, folder: Path | None) -> None:
        self._file = None if folder is None else folder / KEPT
        self._before = _read(self._file)
        self._started = time.process_time()
        self._ended: float | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._keep_on, daemon=True)

    @property
    def seconds(self) -> float:
        """Of all attempts, up to now or to the end of this one."""
        until = time.process_time() if self._ended is None else self._ended
        return self._before + until - self._started

    def __enter__(self) -> Self:
        if self._file is not None:
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._ended = time.process_time()
        if self._file is not None:
            self._stop.set()
            self._thread.join()
            self._write(self._file)

    def _keep_on(self) -> None:
        assert self._file is not None
        while not self._stop.wait(INTERVAL):
            self._write(self._file)

    def _write(self, file: Path) -> None:
        """Write as a whole or not at all; a full disk costs the count, never the training."""
        draft = file.with_suffix(".partial")
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            draft.write_text(f"{self.seconds:.3f}\n", encoding="utf-8")
            draft.replace(file)
        except OSError as error:
            log.warning("What the training costs could not be kept in %s: %s", file, error)


def _read(file: Path | None) -> float:
    try:
        return 0.0 if file is None else float(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return 0.0
