"""Copies of recorded runs, stand-ins that play them, and what is left running in a folder."""

from __future__ import annotations

import shlex
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from nearedge.settings import get_settings

Use = Callable[[str], None]


@pytest.fixture
def copied(recorded: Path, tmp_path: Path) -> Path:
    """Return a copy of the room's recorded folder that a test may damage."""
    folder = tmp_path / "run"
    shutil.copytree(recorded, folder, copy_function=shutil.copyfile)
    folder.chmod(0o755)
    return folder


@pytest.fixture
def play(
    recorded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Use]]:
    """Return what makes a script the command of a code, with the folder to play and a mode."""

    def of(text: str, variable: str, *arguments: str) -> Use:
        script = tmp_path / "stand_in.py"
        script.write_text(text)

        def use(mode: str) -> None:
            words = [sys.executable, str(script), str(recorded), mode, *arguments]
            monkeypatch.setenv(variable, shlex.join(words))
            get_settings.cache_clear()

        return use

    yield of
    get_settings.cache_clear()


@pytest.fixture
def processes_in() -> Callable[[Path], list[psutil.Process]]:
    """Return what finds the processes that work in a folder."""

    def find(folder: Path) -> list[psutil.Process]:
        found = []
        for process in psutil.process_iter():
            try:
                if process.cwd() == str(folder) and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
        return found

    return find


@pytest.fixture
def gone(processes_in: Callable[[Path], list[psutil.Process]]) -> Callable[..., bool]:
    """Return what waits until no process works in a folder, and says whether none does."""

    def wait(folder: Path, seconds: float = 10.0) -> bool:
        deadline = time.monotonic() + seconds
        while processes_in(folder):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
        return True

    return wait
