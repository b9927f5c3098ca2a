"""Core-hole setups: made for real by gpaw-setup (1.3 CPU-seconds), kept, looked at before use."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from nearedge.codes.gpaw.setups import core_hole_setup
from nearedge.errors import CodeError, ResourceError
from nearedge.settings import get_settings


def text(element: str = "Ti", setup: str = "fch1s", removed: float = 1.0) -> str:
    return json.dumps(
        {
            "symbols": [element, "O"],
            "xc": "PBE",
            "setup": setup,
            "core_state": "1s",
            "removed": removed,
        }
    )


def kept(home: Path) -> list[Path]:
    return sorted((home / "cache" / "gpaw").glob("*/*.PBE"))


def test_a_setup_is_made_once_and_then_kept(real_gpaw: Path) -> None:
    stages: list[str] = []
    name, made = core_hole_setup(text(), "22.8.0", stages.append)
    assert name == "Ti.fch1s.PBE"
    assert b'<core_hole_state state="1s" removed="1.0"' in made
    assert core_hole_setup(text(), "22.8.0", stages.append) == (name, made)
    assert stages == ["gpaw-setup Ti"]


def test_an_element_without_a_core_gets_no_setup(real_gpaw: Path) -> None:
    with pytest.raises(CodeError) as failed:
        core_hole_setup(text("H"), "22.8.0")
    assert failed.value.name == "setup_failed"
    assert failed.value.log_tail
    assert list((real_gpaw / "cache" / "gpaw").iterdir()) == []


def test_a_kept_setup_that_was_changed_is_made_again(home: Path, play: Callable[..., None]) -> None:
    play("diamond")
    _, made = core_hole_setup(text(), "22.8.0")
    (path,) = kept(home)
    path.write_bytes(made[:-20])
    assert core_hole_setup(text(), "22.8.0")[1] == made
    assert path.read_bytes() == made
    assert len(list((home / "cache" / "gpaw").iterdir())) == 1


def test_other_holes_and_versions_are_other_setups(home: Path, play: Callable[..., None]) -> None:
    play("diamond")
    core_hole_setup(text(), "22.8.0")
    core_hole_setup(text(), "24.1.0")
    core_hole_setup(text("C"), "22.8.0")
    assert len(kept(home)) == 3


def test_the_hole_that_was_asked_for_is_looked_for(home: Path, play: Callable[..., None]) -> None:
    """The stand-in always makes a full hole."""
    play("diamond")
    with pytest.raises(CodeError, match=r"no hole of 0\.5"):
        core_hole_setup(text(setup="hch1s", removed=0.5), "22.8.0")
    assert kept(home) == []


def test_several_at_once_leave_one_whole_setup(home: Path, play: Callable[..., None]) -> None:
    play("diamond")
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda _: core_hole_setup(text(), "22.8.0"), range(4)))
    assert len(set(made)) == 1
    assert len(kept(home)) == 1
    assert len(list((home / "cache" / "gpaw").iterdir())) == 1


def test_a_python_that_is_gone_is_the_machines_fault(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEAREDGE_GPAW_PYTHON", "/nowhere/python3")
    get_settings.cache_clear()
    with pytest.raises(ResourceError, match="cannot be started"):
        core_hole_setup(text(), "22.8.0")
