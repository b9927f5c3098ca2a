"""Recorded GPAW runs, a home of the test's own, and GPAW itself where it is installed."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pymatgen.core import Lattice, Structure

from nearedge.codes.gpaw import GPAW
from nearedge.settings import get_settings

RECORDED = Path(__file__).parents[2] / "recorded" / "gpaw"

# Stands in for GPAW's Python: answers the probe, makes a "setup", and plays a recorded run.
FAKE = """\
import json, pathlib, shutil, sys
played, failures = pathlib.Path({played!r}), {failures!r}
option = sys.argv[2] if len(sys.argv) > 2 else None
if option == "--probe":
    print(json.dumps({{"version": "22.8.0", "elements": ["C", "O", "Ti"]}}))
elif option == "--setup":
    asked = json.loads(pathlib.Path("gpaw.json").read_text())
    name = ".".join((asked["symbols"][0], asked["setup"], asked["xc"]))
    pathlib.Path(name).write_text(
        '<core_hole_state state="1s" removed="1.0" eig="-1"></core_hole_state></paw_dataset>'
    )
else:
    with open("options", "a") as options:
        options.write(f"{{option}}\\n")
    if len(pathlib.Path("options").read_text().splitlines()) <= failures:
        shutil.copy(played.parent / "scf_not_converged" / "failure.json", ".")
        sys.exit(1)
    shutil.copy(played / "sticks.txt", ".")
"""


@pytest.fixture
def recorded() -> Path:
    """Return the folder of recorded runs."""
    return RECORDED


@pytest.fixture
def diamond() -> Structure:
    """Return the crystal that tests/recorded/gpaw/record.py takes."""
    return Structure.from_spacegroup("Fd-3m", Lattice.cubic(3.567), ["C"], [[0, 0, 0]])


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return a home of this test's own, so that its cache is empty."""
    monkeypatch.setenv("NEAREDGE_HOME", str(tmp_path / "home"))
    get_settings.cache_clear()
    yield tmp_path / "home"
    get_settings.cache_clear()


@pytest.fixture
def real_gpaw(home: Path, need: Callable[[object, str], None]) -> Path:
    """Go on where GPAW is installed; return the home."""
    found = GPAW.availability()
    need(found.found, f"GPAW is missing: {found.detail} ({found.remedy})")
    return home


@pytest.fixture
def play(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return a function that puts a recorded run in GPAW's place, after some failures."""

    def replace(case: str, failures: int = 0) -> None:
        script = tmp_path / "fake_gpaw.py"
        script.write_text(FAKE.format(played=str(RECORDED / case), failures=failures))
        monkeypatch.setenv("NEAREDGE_GPAW_PYTHON", f"{sys.executable} {script}")
        get_settings.cache_clear()

    return replace


@pytest.fixture
def copy(tmp_path: Path) -> Callable[[str], Path]:
    """Return a function that copies a recorded run to where it may be changed."""

    def copied(case: str) -> Path:
        return Path(shutil.copytree(RECORDED / case, tmp_path / case))

    return copied


@pytest.fixture
def changed_plan(copy: Callable[[str], Path]) -> Callable[..., Path]:
    """Return a function that copies a recorded run with other values in its spectrum.json."""

    def change(case: str, **values: float) -> Path:
        folder = copy(case)
        plan = json.loads((folder / "spectrum.json").read_text())
        (folder / "spectrum.json").write_text(json.dumps({**plan, **values}))
        return folder

    return change
