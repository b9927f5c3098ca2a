"""For codes of the user's own: copies of recorded runs, and stand-ins that play them."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

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
