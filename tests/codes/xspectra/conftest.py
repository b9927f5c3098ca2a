"""Recorded runs, potentials that are names only, and Quantum ESPRESSO where it is installed."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pymatgen.core import Structure

from nearedge.codes.xspectra import XSPECTRA, inputs
from nearedge.codes.xspectra.pseudo import PseudoSet
from nearedge.settings import get_settings
from nearedge.structures.builtin import builtin_structure

RECORDED = Path(__file__).parents[2] / "recorded" / "xspectra"

# Stands in for pw.x or xspectra.x: puts the recorded output of the deck that it is given in place.
FAKE = """\
import pathlib, shutil, sys
played = pathlib.Path({played!r})
if "-in" not in sys.argv:
    print("     Program PWSCF v.6.7MaX starts on  1Jan2026")
    print("     Program XSpectra v.6.7MaX starts on  1Jan2026")
    sys.exit()
deck = pathlib.Path(sys.argv[sys.argv.index("-in") + 1])
with open("started", "a") as started:
    started.write(deck.name + "\\n")
log = deck.stem
if log.startswith("scf"):
    unconverged = len(pathlib.Path("started").read_text().splitlines()) <= {failures!r}
    log = "scf_first" if unconverged else "scf"
    played = played.parent / "scf_not_converged" if unconverged else played
print((played / (log + ".out")).read_text(), end="")
number = deck.stem.partition("_")[2]
if deck.stem.startswith("lanczos"):
    shutil.copy(played / f"xanes_{{number}}.sav", ".")
    pathlib.Path("xanes.dat").write_text("the width of the recursion")
if deck.stem.startswith("plot"):
    shutil.copy(played / f"xanes_{{number}}.dat", "xanes.dat")
"""


@pytest.fixture
def recorded() -> Path:
    """Return the folder of recorded runs."""
    return RECORDED


@pytest.fixture
def rutile() -> Structure:
    """Return rutile, whose Ti come first."""
    return builtin_structure("rutile").structure


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Make the settings lead to a folder of the test's own; returns what changes them further."""
    monkeypatch.setenv("NEAREDGE_HOME", str(tmp_path / "home"))
    get_settings.cache_clear()
    yield monkeypatch
    get_settings.cache_clear()


# The line of a UPF file that is looked at here.
P_WAVES = '<PP_GIPAW_ORBITAL.1 index="1" label="3P" l="1" cutoff_radius="1.2" ultra="1.2">'


def names_only(elements: list[str], absorber: str, edge: str) -> PseudoSet:
    """Return potentials without content."""
    wanted = sorted({*elements, absorber})
    return PseudoSet(
        files={f"{name}.UPF": P_WAVES for name in (*wanted, f"{absorber}.fch")},
        ground_names={name: f"{name}.UPF" for name in wanted},
        core_hole_name=f"{absorber}.fch.UPF",
        core_wavefunction_name=f"Core_{absorber}.wfc",
        core_hole_charge=1.0,
        identity="names only",
        cutoff=60.0,
        valences={name: {"Ti": 12.0, "O": 6.0}.get(name, 4.0) for name in wanted},
        checks={},
    )


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the input set potentials that are names only."""
    monkeypatch.setattr(inputs, "pseudopotentials", names_only)


@pytest.fixture
def play(home: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., None]:
    """Return what makes pw.x and xspectra.x programs that play a recorded run."""

    def prepare(case: str, *, failures: int = 0) -> None:
        program = tmp_path / "program.py"
        program.write_text(FAKE.format(played=str(RECORDED / case), failures=failures))
        for name in ("PW", "XSPECTRA"):
            home.setenv(f"NEAREDGE_{name}_COMMAND", f"{sys.executable} {program}")
        get_settings.cache_clear()

    return prepare


@pytest.fixture
def espresso(need: Callable[[object, str], None], home: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Go on where pw.x, xspectra.x and ld1.x are installed."""
    need(
        all(shutil.which(name) for name in ("pw.x", "xspectra.x", "ld1.x")),
        "Quantum ESPRESSO is not installed: apt install quantum-espresso",
    )
    assert XSPECTRA.availability().found
    return home
