"""The recorded calculation of others, and a stand-in for VASP that plays it back."""

from __future__ import annotations

import bz2
from collections.abc import Callable
from pathlib import Path

import pytest
from pymatgen.core import SETTINGS
from pymatgen.io.vasp import PotcarSingle

# It writes the recorded OUTCAR, of the types that POSCAR has, with twice the absorption.
STAND_IN = """
import bz2, pathlib, re, sys

recorded, mode = pathlib.Path(sys.argv[1]), sys.argv[2]
print("stand-in for VASP")
poscar = pathlib.Path("POSCAR").read_text().splitlines()
potcar = pathlib.Path("POTCAR").read_text()
titles = re.findall(r"TITEL *= *(.*)", potcar)
assert len(titles) == len(poscar[5].split()), titles
if mode == "crash":
    print("VERY BAD NEWS! internal error in subroutine SGRCON")
    sys.exit(1)
text = bz2.open(recorded / "OUTCAR.bz2", "rt").read()
head, tail = text.split(" INCAR:", 1)
lines = []
for title in titles:
    lines += [f"   LEXCH  = PE", f"   TITEL  = {title}"]
tail = re.sub(r" +(TITEL|LEXCH) +=.*\\\\n", "", tail)
tail = re.sub(r"ions per type = .*", f"ions per type = {poscar[6]}", tail)
if mode == "electrons":
    tail = tail.replace("aborting loop because EDIFF is reached", "")
before, rest = tail.split("frequency dependent IMAGINARY", 1)
table, after = rest.split("frequency dependent      REAL", 1)
rows = table.splitlines()
for number, row in enumerate(rows[3:], start=3):
    words = row.split()
    if words:
        rows[number] = " ".join([words[0], *(f"{2 * float(word):.6f}" for word in words[1:])])
table = "\\\\n".join(rows) + "\\\\n\\\\n"
tail = before + "frequency dependent IMAGINARY" + table + "frequency dependent      REAL" + after
if mode == "nan":
    tail = tail.replace("2396.906639 0.002810", "2396.906639 NaN", 1)
pathlib.Path("OUTCAR").write_text(head + "\\\\n".join(lines) + "\\\\n INCAR:" + tail)
""".replace("\\\\", "\\")


@pytest.fixture
def recorded(shared: Callable[[str], Path]) -> Path:
    return shared("data/recorded/vasp_li7p3s11")


@pytest.fixture
def copied(copied: Path) -> Path:
    """Return a copy of the recorded folder, unpacked, that a test may damage."""
    packed = copied / "OUTCAR.bz2"
    (copied / "OUTCAR").write_bytes(bz2.decompress(packed.read_bytes()))
    packed.unlink()
    return copied


@pytest.fixture
def potentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder laid out as pymatgen has it, with made-up files in the potentials' place."""
    root = tmp_path / "potentials"
    folder = root / PotcarSingle.functional_dir["PBE_54"]
    (folder / "O_GW").mkdir(parents=True)
    (folder / "POTCAR.Ti_sv_GW").write_text("made up\n   TITEL  = PAW Ti_sv_GW 01Jan2000\n")
    (folder / "O_GW" / "POTCAR").write_text("made up\n   TITEL  = PAW O_GW 01Jan2000")
    monkeypatch.setitem(SETTINGS, "PMG_VASP_PSP_DIR", str(root))
    return root


@pytest.fixture
def stand_in(play: Callable[..., Callable[[str], None]]) -> Callable[[str], None]:
    """Return a switch that makes the settings' command the stand-in, in one of its modes."""
    return play(STAND_IN, "NEAREDGE_VASP_COMMAND")
