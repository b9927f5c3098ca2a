"""A run from inputs to result: attempts, stored states, and the real GPAW."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure
from xraydb import mu_elam

from nearedge.codes.base import InputSet
from nearedge.codes.gpaw import GPAW
from nearedge.codes.outputs import speaks_of_damage
from nearedge.errors import CodeError, ResourceError
from nearedge.spectra.alignment import align

SMALL = "fast+cutoff=350+spectrum_k_radius=9"


@pytest.fixture
def recorded_inputs(recorded: Path) -> InputSet:
    folder = recorded / "diamond"
    files = {name: (folder / name).read_text() for name in ("gpaw.json", "spectrum.json")}
    return InputSet("gpaw", "22.8.0", "custom", {**files, "run_gpaw.py": ""}, {})


def test_a_run_makes_its_setup_and_gives_the_recorded_spectrum(
    recorded: Path, recorded_inputs: InputSet, play: Callable[..., None], tmp_path: Path
) -> None:
    play("diamond")
    stages: list[str] = []
    result = GPAW.run(recorded_inputs, tmp_path / "run", stage_timeout=60, progress=stages.append)
    assert stages == ["gpaw-setup C", "gpaw"]
    assert result.attempts == 1
    expected = GPAW.read(recorded / "diamond").spectrum
    assert np.array_equal(result.spectrum.absorption, expected.absorption)
    assert (tmp_path / "run" / "C.fch1s.PBE").is_file()


def test_what_does_not_converge_is_tried_once_more_with_safer_mixing(
    recorded_inputs: InputSet, play: Callable[..., None], tmp_path: Path
) -> None:
    play("diamond", failures=1)
    result = GPAW.run(recorded_inputs, tmp_path / "run", stage_timeout=60)
    assert (tmp_path / "run" / "options").read_text().split() == ["None", "--safer"]
    assert result.attempts == 2
    assert "second attempt" in result.warnings[0]


def test_what_does_not_converge_twice_is_a_named_failure(
    recorded_inputs: InputSet, play: Callable[..., None], tmp_path: Path
) -> None:
    play("diamond", failures=9)
    with pytest.raises(CodeError, match="nor did it with safer mixing") as failed:
        GPAW.run(recorded_inputs, tmp_path / "run", stage_timeout=60)
    assert failed.value.name == "scf_not_converged"
    assert (tmp_path / "run" / "options").read_text().split() == ["None", "--safer"]


def test_stored_states_need_no_gpaw(
    recorded: Path,
    recorded_inputs: InputSet,
    home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("NEAREDGE_GPAW_PYTHON", "/nowhere/python3")
    first = GPAW.read(recorded / "diamond")
    again = GPAW.run(recorded_inputs, tmp_path / "run", stage_timeout=60, restart=first.restart)
    assert np.array_equal(first.spectrum.absorption, again.spectrum.absorption)


def test_states_of_another_calculation_are_refused(
    recorded: Path, recorded_inputs: InputSet, home: Path, tmp_path: Path
) -> None:
    foreign = GPAW.read(recorded / "anatase").restart
    with pytest.raises(CodeError) as failed:
        GPAW.run(recorded_inputs, tmp_path / "run", stage_timeout=60, restart=foreign)
    assert failed.value.name == "output_foreign"
    assert speaks_of_damage(failed.value)


@pytest.mark.parametrize("left", [0.0, 0.5, 0.999])
def test_stored_states_that_are_cut_short_are_said_to_be_damaged(
    recorded: Path, recorded_inputs: InputSet, home: Path, tmp_path: Path, left: float
) -> None:
    restart = GPAW.read(recorded / "diamond").restart
    damaged = {name: content[: int(left * len(content))] for name, content in restart.items()}
    with pytest.raises(CodeError) as failed:
        GPAW.run(recorded_inputs, tmp_path / "run", stage_timeout=60, restart=damaged)
    assert speaks_of_damage(failed.value)


def test_a_folder_in_use_is_refused(recorded_inputs: InputSet, home: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("")
    with pytest.raises(ResourceError, match="not empty"):
        GPAW.run(recorded_inputs, tmp_path, stage_timeout=60)


def test_gpaw_itself_gives_the_recorded_spectrum(
    recorded: Path, real_gpaw: Path, diamond: Structure, tmp_path: Path
) -> None:
    inputs = GPAW.inputs(diamond, 0, "K", SMALL)
    result = GPAW.run(inputs, tmp_path / "run", stage_timeout=600)
    likeness = align(result.spectrum, GPAW.read(recorded / "diamond").spectrum)
    assert likeness.spearman > 0.9999
    assert abs(likeness.shift) < 0.02


@pytest.mark.slow
def test_states_one_after_the_other_are_those_of_the_full_diagonalisation(
    recorded: Path, real_gpaw: Path, diamond: Structure, tmp_path: Path
) -> None:
    """Large cells take another way through GPAW; it must lead to the same spectrum."""
    inputs = GPAW.inputs(diamond, 0, "K", SMALL)
    script = inputs.files["run_gpaw.py"].replace(
        "FULL_DIAGONALISATION = 2500", "FULL_DIAGONALISATION = 0"
    )
    assert script != inputs.files["run_gpaw.py"]
    inputs.files["run_gpaw.py"] = script
    result = GPAW.run(inputs, tmp_path / "run", stage_timeout=600)
    expected = GPAW.read(recorded / "diamond").spectrum
    difference = np.abs(result.spectrum.absorption - expected.absorption)
    assert difference.max() < 0.01 * expected.absorption.max()


@pytest.mark.slow
def test_symmetry_changes_nothing_but_the_cost(
    real_gpaw: Path, diamond: Structure, tmp_path: Path
) -> None:
    inputs = GPAW.inputs(diamond, 0, "K", f"{SMALL}+spectrum_k_radius=5")
    reduced = GPAW.run(inputs, tmp_path / "reduced", stage_timeout=600)
    whole = inputs.files["run_gpaw.py"].replace(
        "        txt=LOG if hole", '        symmetry="off",\n        txt=LOG if hole'
    )
    assert whole != inputs.files["run_gpaw.py"]
    inputs.files["run_gpaw.py"] = whole
    full = GPAW.run(inputs, tmp_path / "full", stage_timeout=600)
    assert full.results["k_points"].value > reduced.results["k_points"].value  # type: ignore[operator]
    difference = np.abs(full.spectrum.absorption - reduced.spectrum.absorption)
    assert difference.max() < 0.01 * full.spectrum.absorption.max()


@pytest.mark.slow
def test_a_metal_absorbs_as_the_tables_say(real_gpaw: Path, tmp_path: Path) -> None:
    """Copper far above its edge, within 20 % of Elam's tables; measured: 5 % below."""
    copper = Structure.from_spacegroup("Fm-3m", Lattice.cubic(3.615), ["Cu"], [[0, 0, 0]])
    result = GPAW.run(GPAW.inputs(copper, 0, "K", "fast"), tmp_path / "run", stage_timeout=600)
    step = (mu_elam("Cu", 9020.0) - mu_elam("Cu", 8970.0)) * 63.546 / 6.02214076e23 * 1e16
    above = result.spectrum.energy - (result.energy_reference.edge_energy or 0.0)
    far = (above > 20) & (above < 40)
    assert result.spectrum.absorption[far].mean() == pytest.approx(step, rel=0.2)
