"""Workers get the pool's settings, and a worker that must not start says why in one sentence."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from nearedge.errors import DatabaseUnavailable, LaunchError
from nearedge.launch.pool import run_workers, worker_environment
from nearedge.settings import Settings

_SHOW = """
from nearedge.settings import load_settings
print(load_settings().model_dump_json())
"""


def test_a_worker_has_the_pools_settings_whatever_its_surroundings_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEAREDGE_WORKERS", "7")
    settings = Settings(
        home=tmp_path, database="mine", keep_runs=True, workers=3, mongo_uri="mongodb://u:p@h/"
    )  # type: ignore[arg-type]
    shown = subprocess.run(
        [sys.executable, "-c", _SHOW],
        env=worker_environment(settings),
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(shown.stdout) == json.loads(settings.model_dump_json())


def test_a_pool_of_nobody_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LaunchError, match="at least one"):
        run_workers(0, Settings(home=tmp_path))


def test_without_a_database_no_worker_is_started(tmp_path: Path) -> None:
    with pytest.raises(DatabaseUnavailable, match="nearedge up"):
        run_workers(1, Settings(home=tmp_path, mongo_uri=None))
    assert not (tmp_path / "logs").exists()


def test_a_worker_without_a_database_ends_with_one_sentence(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-m", "nearedge.launch.worker"],
        env=worker_environment(Settings(home=tmp_path, mongo_uri=None)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.strip().count("\n") == 0
    assert "nearedge up" in done.stderr
