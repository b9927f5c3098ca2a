"""What a training costs is what all its attempts cost."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from nearedge.makers.learning import spent
from nearedge.makers.learning.spent import KEPT, SpentCpu


def burn(seconds: float) -> None:
    until = time.process_time() + seconds
    while time.process_time() < until:
        pass


def test_the_next_attempt_counts_on_from_what_a_killed_one_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spent, "INTERVAL", 0.005)
    killed = SpentCpu(tmp_path)
    killed.__enter__()
    while not (tmp_path / KEPT).exists() or float((tmp_path / KEPT).read_text()) < 0.02:
        burn(0.001)
    # Killed: nothing more is written, and nobody is told.
    killed._stop.set()
    killed._thread.join()
    left = float((tmp_path / KEPT).read_text())
    with SpentCpu(tmp_path) as now:
        burn(0.02)
    assert now.seconds >= left + 0.02
    assert float((tmp_path / KEPT).read_text()) == pytest.approx(now.seconds, abs=1e-3)
    ended = now.seconds
    burn(0.01)
    assert now.seconds == ended


def test_a_damaged_count_and_no_folder_begin_at_zero(tmp_path: Path) -> None:
    (tmp_path / KEPT).write_text("much")
    for folder in (tmp_path, None):
        with SpentCpu(folder) as now:
            pass
        assert now.seconds < 0.5
