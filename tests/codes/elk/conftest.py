"""Structures and programs for Elk's tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from nearedge.codes.elk import ELK
from nearedge.settings import get_settings

RECORDED = Path(__file__).parents[2] / "recorded" / "elk"


@pytest.fixture
def recorded() -> Path:
    """Return the folder of recorded runs."""
    return RECORDED


@pytest.fixture(scope="session")
def elk(need: Callable[[object, str], None]) -> None:
    """Go on where Elk is installed."""
    found = ELK.availability()
    need(found.found, f"Elk is not installed (Debian package elk-lapw): {found.detail}")


@pytest.fixture(scope="session")
def species_folder(need: Callable[[object, str], None]) -> Path:
    """Return the folder of Elk's species files."""
    folder = get_settings().elk_species_path
    need(folder.is_dir(), f"Elk's species files (Debian package elk-lapw) are not in {folder}")
    return folder


@pytest.fixture(scope="session")
def boron_nitride() -> Structure:
    """Return the primitive cell of cubic BN, boron first."""
    lattice = Lattice([[-1.8075, -1.8075, 0], [-1.8075, 0, -1.8075], [0, -1.8075, -1.8075]])
    return Structure(lattice, ["B", "N"], [[0, 0, 0], [0.75, 0.75, 0.75]])


@pytest.fixture(scope="session")
def anatase() -> Structure:
    """Return the primitive cell of anatase, titanium first."""
    a, c = 3.7840, 9.5150
    lattice = Lattice(0.5 * np.array([[-a, a, c], [a, -a, c], [a, a, -c]]))
    oxygen = [
        [0.2081, 0.2081, 0],
        [0.7919, 0.7919, 0],
        [0.9581, 0.4581, 0.5],
        [0.5419, 0.0419, 0.5],
    ]
    return Structure(lattice, ["Ti"] * 2 + ["O"] * 4, [[0, 0, 0], [0.75, 0.25, 0.5], *oxygen])
