"""The recorded calculation of others, and a stand-in for OCEAN that plays it back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from pymatgen.core import Structure

from nearedge.codes.ocean.parse import read_deck

STAND_IN = """
import pathlib, re, sys

recorded, mode, deck = pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3]
print("Welcome to OCEAN")
if mode == "stage":
    sys.exit("CNBSE stage failed")
text = pathlib.Path(deck).read_text()
gam = float(re.search(r"cnbse.broaden { ([0-9.]+) }", text).group(1)) / 27.211386245988
assert "edges { 2 1 0 }" in text, text
pathlib.Path("CNBSE").mkdir()
for photon in sorted(pathlib.Path().glob("photon*")):
    number = int(photon.name[6:])
    if mode == "polarisation" and number == 2:
        continue
    lines = (recorded / f"absspct_Ti.0001_1s_0{number}").read_text().splitlines()
    rows = [line.split() for line in lines[2:]]
    # Twice the recorded spectrum, so that a reader of the recorded files would be found out.
    rows = [" ".join([row[0], *(f"{2 * float(x):.8E}" for x in row[1:])]) for row in rows]
    if mode == "nan" and number == 3:
        rows[500] = rows[500].split()[0] + " NaN NaN NaN NaN"
    pathlib.Path("CNBSE", f"absspct_Ti.0002_1s_0{number}").write_text(
        "\\n".join([f"# iter= 69 gam= {gam:.8E} kpref= 1.0", lines[1], *rows]) + "\\n"
    )
"""


@pytest.fixture
def recorded(shared: Callable[[str], Path]) -> Path:
    return shared("data/recorded/ocean_ti4o5")


@pytest.fixture
def ti4o5(recorded: Path) -> Structure:
    return read_deck(recorded)[1]


@pytest.fixture
def stand_in(play: Callable[..., Callable[[str], None]]) -> Callable[[str], None]:
    """Return a switch that makes the settings' command the stand-in, in one of its modes."""
    return play(STAND_IN, "NEAREDGE_OCEAN_COMMAND", "ocean.in")
