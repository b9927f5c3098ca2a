"""The recorded calculation of others, and a stand-in for exciting that plays it back."""

from __future__ import annotations

import lzma
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pymatgen.core import Lattice, Structure

from nearedge.settings import get_settings

RUTILE = Structure.from_spacegroup(
    "P4_2/mnm", Lattice.tetragonal(4.594, 2.959), ["Ti", "O"], [[0, 0, 0], [0.305, 0.305, 0]]
)

# It moves the recorded N K edge into the window that the input asks for, as a newer exciting would
# write it: comments first, and in a folder of its own.
STAND_IN = """
import lzma, pathlib, sys
from xml.etree import ElementTree

recorded, mode, deck = pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3]
print("stand-in for exciting")
root = ElementTree.parse(deck).getroot()
for species in root.iter("species"):
    name = pathlib.Path(species.get("speciesfile"))
    if not name.is_file():
        sys.exit(f"Error: species file not found: {name}")
if mode == "scf":
    pathlib.Path("INFO.OUT").write_text("Reached self-consistent loops maximum\\\\n")
    sys.exit(0)
if mode == "crash":
    sys.exit(3)
window = root.find("xs/energywindow")
first, last = (27.211386245988 * float(word) for word in window.get("intv").split())
points = int(window.get("points"))
pathlib.Path("EPSILON").mkdir()
for component in ("11", "22", "33"):
    if mode == "polarisation" and component == "22":
        continue
    name = f"EPSILON_BSEsinglet_SCRfull_OC{component}.OUT.xz"
    rows = [line.split() for line in lzma.open(recorded / name, "rt")]
    rows = rows[len(rows) // 3 :][:points]
    step = (last - first) / points
    if mode == "nan":
        rows[500][2] = "NaN"
    lines = [" ".join([f"{first + n * step:.7f}", *row[1:]]) for n, row in enumerate(rows)]
    name = f"EPSILON_BSE-singlet-TDA-BAR_SCR-full_OC{component}.OUT"
    text = "# a newer version\\\\n#\\\\n" + "\\\\n".join(lines) + "\\\\n"
    pathlib.Path("EPSILON", name).write_text(text)
""".replace("\\\\", "\\")


@pytest.fixture
def recorded(shared: Callable[[str], Path]) -> Path:
    return shared("data/recorded/exciting_chn")


@pytest.fixture
def copied(copied: Path) -> Path:
    """Return a copy of the recorded folder, unpacked, that a test may damage."""
    for path in copied.glob("*.xz"):
        path.with_suffix("").write_bytes(lzma.decompress(path.read_bytes()))
        path.unlink()
    return copied


@pytest.fixture
def species(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return a folder with files in the place of exciting's species files."""
    folder = tmp_path / "species"
    folder.mkdir()
    for symbol in ("Ti", "O"):
        (folder / f"{symbol}.xml").write_text(f"<spdb><sp chemicalSymbol='{symbol}'/></spdb>\n")
    monkeypatch.setenv("NEAREDGE_EXCITING_SPECIES_PATH", str(folder))
    get_settings.cache_clear()
    yield folder
    get_settings.cache_clear()


@pytest.fixture
def stand_in(play: Callable[..., Callable[[str], None]]) -> Callable[[str], None]:
    """Return a switch that makes the settings' command the stand-in, in one of its modes."""
    return play(STAND_IN, "NEAREDGE_EXCITING_COMMAND", "input.xml")
