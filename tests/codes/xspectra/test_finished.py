"""Runs that others made, and our own taken back."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from nearedge.codes.base import BadRun, FinishedRun, KnownRun
from nearedge.codes.finished.runs import CUSTOM
from nearedge.codes.finished.sidecar import SIDECAR, sidecar_text
from nearedge.codes.xspectra import XSPECTRA
from nearedge.spectra.spectrum import BOHR
from nearedge.structures.builtin import builtin_structure


@pytest.fixture
def foreign(recorded: Path, tmp_path: Path) -> Path:
    """Return a folder as others have it: outputs alone, under names of their own."""
    folder = tmp_path / "foreign"
    folder.mkdir()
    shutil.copy(recorded / "oblique" / "scf.out", folder / "hole.out")
    for number, name in ((1, "a"), (2, "b")):
        # Theirs are made in one go: the spectrum at the end of the recursion's own output.
        said = (recorded / "oblique" / f"lanczos_{number}.out").read_text()
        (folder / f"xs_{name}.out").write_text(said)
        table = (recorded / "oblique" / f"xanes_{number}.dat").read_text()
        (folder / f"xanes_{name}.dat").write_text(table)
    return folder


def only(path: Path, **more) -> FinishedRun | KnownRun | BadRun:
    (found,) = XSPECTRA.finished(path, **more)
    return found


def test_a_strangers_run_is_read_from_its_outputs(foreign: Path, recorded: Path) -> None:
    found = only(foreign)
    assert isinstance(found, FinishedRun)
    assert found.structure.composition.formula == "Ti1 O1"
    assert (found.absorber, found.absorbing_index, found.edge) == ("Ti", 0, "K")
    assert (found.protocol, found.code_version) == (CUSTOM, "6.7MaX")
    assert found.parameters["cutoff"].value == 30.0
    # The weights follow from the symmetry; NearEdge's own run has them written down.
    own = XSPECTRA.read(recorded / "oblique")
    assert found.result.spectrum.absorption == pytest.approx(own.spectrum.absorption, rel=1e-3)


def test_the_structure_is_the_cell_that_ran(foreign: Path) -> None:
    found = only(foreign)
    assert isinstance(found, FinishedRun)
    assert found.structure.volume == pytest.approx(2.9 * 3.1 * 2.8 * np.sin(np.radians(100)), 1e-4)


def test_a_missing_polarisation_costs_the_run_and_says_so(foreign: Path) -> None:
    for name in ("xs_b.out", "xanes_b.dat"):
        (foreign / name).unlink()
    found = only(foreign)
    assert isinstance(found, BadRun)
    assert "more are needed" in found.reason


def test_an_output_that_belongs_to_no_spectrum_is_not_guessed(foreign: Path) -> None:
    (foreign / "xs_b.out").rename(foreign / "xs_q.out")
    found = only(foreign)
    assert isinstance(found, BadRun)
    assert "xanes_b.dat" in found.reason


def test_two_meshes_in_one_folder_are_not_averaged(foreign: Path) -> None:
    said = (foreign / "xs_b.out").read_text()
    start = said.index("        |-----")
    end = said.index("Results of STEP 1")
    block = said[start:end]
    (foreign / "xs_b.out").write_text(said[:end] + block + said[end:])
    found = only(foreign)
    assert isinstance(found, BadRun)
    assert "numbers of k-points" in found.reason


def test_a_known_run_is_passed_by(foreign: Path) -> None:
    assert isinstance(only(foreign, known=lambda _: True), KnownRun)


def test_our_own_folder_says_exactly_what_it_is_of(
    recorded: Path, tmp_path: Path, names: None, home: pytest.MonkeyPatch
) -> None:
    rutile = builtin_structure("rutile").structure
    inputs = XSPECTRA.inputs(rutile, 0, "K", "fast")
    folder = tmp_path / "own"
    shutil.copytree(recorded / "rutile", folder)
    for name, text in inputs.files.items():
        (folder / name).write_text(text)
    (folder / SIDECAR).write_text(sidecar_text(inputs, rutile, 0, "K", ran=False, label="rutile"))
    found = only(folder)
    assert isinstance(found, FinishedRun)
    assert found.parameters == inputs.parameters
    assert found.protocol == inputs.protocol
    assert json.loads((folder / "polarisations.json").read_text())


def test_the_runs_that_others_shared_are_understood(shared: Callable[[str], Path]) -> None:
    """Rutile by hand, two polarisations: a third of z, two thirds of x."""
    folder = shared("examples/codes/ci_rutile_xspectra/ref")
    found = only(folder)
    assert isinstance(found, FinishedRun)
    assert found.structure.composition.formula == "Ti2 O4"
    x, z = (np.loadtxt(folder / f"xanes_{axis}.dat")[:, 1] for axis in "xz")
    expected = (2 * x + z) / 3 * BOHR**2
    assert found.result.spectrum.absorption == pytest.approx(expected, rel=1e-4, abs=1e-9)
    assert [each.width for each in found.result.broadening] == [1.78]
