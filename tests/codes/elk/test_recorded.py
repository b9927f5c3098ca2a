"""A recorded run gives its spectrum again, and what went wrong in others is named."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from nearedge.codes.base import FinishedRun
from nearedge.codes.elk import ELK
from nearedge.codes.elk.failures import energies_not_found, failure_in
from nearedge.codes.elk.parse import read_folder
from nearedge.codes.elk.promoted import untried
from nearedge.errors import CodeError, ResourceError
from nearedge.spectra.spectrum import AbsorptionUnit

FIRST = 174.5654  # eV, of 6.415 Ha in EIGVAL_BSE.OUT


def test_the_recorded_run_is_read_in_ev_and_square_angstrom(recorded: Path) -> None:
    result = read_folder(recorded / "bn")
    assert result.code_version == "8.4.30"
    assert result.energy_reference.kind == "absolute"
    assert result.energy_reference.edge_energy == pytest.approx(FIRST, abs=1e-3)
    assert result.results["core_level"].value == pytest.approx(-161.68, abs=0.01)
    (broadening,) = result.broadening
    assert (broadening.kind, broadening.width) == ("lorentzian", pytest.approx(3.0))
    spectrum = result.spectrum
    assert spectrum.unit == AbsorptionUnit.ANGSTROM2
    assert 0.01 < spectrum.absorption.max() < 0.1
    # From 15 eV below the first transition to where bands begin to be missing.
    assert spectrum.energy[0] == pytest.approx(FIRST - 15, abs=1.0)
    top = FIRST + float(str(result.results["complete_range"].value))
    assert spectrum.energy[-1] == pytest.approx(top, abs=1.0)
    assert np.all(np.diff(spectrum.energy) == pytest.approx(1.0, rel=1e-3))


def test_a_stranger_s_flat_folder_is_taken_for_what_it_is(recorded: Path, tmp_path: Path) -> None:
    ours = read_folder(recorded / "bn")
    flat = tmp_path / "stranger"
    shutil.copytree(recorded / "bn" / "core", flat)
    (flat / "elk_3_plot.in").rename(flat / "elk.in")
    for name in ("elk_1_scf.in", "elk_2_bse.in"):
        (flat / name).unlink()
    (run,) = ELK.finished(tmp_path)
    assert isinstance(run, FinishedRun)
    assert (run.absorber, run.edge, run.protocol) == ("B", "K", "custom")
    assert run.code_version == "8.4.30"
    assert run.parameters["k_mesh"].value == [2.0, 2.0, 2.0]
    assert run.structure.composition.reduced_formula == "BN"
    assert np.array_equal(run.result.spectrum.absorption, ours.spectrum.absorption)


def test_our_own_folder_is_found_once(recorded: Path) -> None:
    (run,) = ELK.finished(recorded / "bn")
    assert isinstance(run, FinishedRun)
    assert run.absorbing_index == 0


def test_a_level_is_missed_in_the_last_loop_only() -> None:
    log = (
        "Warning(linengy): could not find   2 linearisation energies in s.c. loop     1\n"
        "Warning(linengy): could not find   1 linearisation energies in s.c. loop    13\n"
    )
    assert energies_not_found(log, 13) == 1
    assert energies_not_found(log, 14) == 0


@pytest.mark.parametrize(
    ("log", "name"),
    [
        (" Error(checkmt): muffin-tin radius too small for species    1\n", "spheres_too_small"),
        (" Error(readinput): error opening elk.in\n", "bad_input"),
        (" Error(genidxbse): extra valence state above Fermi energy :", "core_level_not_found"),
        (" Error(eveqnz): diagonalisation failed\n", "eigenvalue_problem"),
        (" Error(hitherto): unknown\n", "stage_failed"),
        ("Info(elk): current task :    185\n", "stage_failed"),
    ],
)
def test_what_elk_prints_has_a_name(log: str, name: str) -> None:
    failure = failure_in(log, "stage")
    assert isinstance(failure, CodeError)
    assert failure.name == name


def test_memory_is_the_machine_s_fault_and_a_clean_end_is_none() -> None:
    said = "Error allocating 123 bytes: Allocation would exceed memory limit"
    assert isinstance(failure_in(said, "stage"), ResourceError)
    assert failure_in("Elk code stopped\n", "stage") is None


def test_two_equal_absorbers_give_the_mean_and_two_unlike_ones_are_refused(
    recorded: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "two"
    shutil.copytree(recorded / "bn" / "core", folder)
    deck = (folder / "elk_3_plot.in").read_text()
    two = re.sub(r"'B_1s.in'\n  1\n", "'B_1s.in'\n  2\n  0.3 0.0 0.0\n", deck)
    two = two.replace("istxbse\n  1", "istxbse\n  1\n  2")
    (folder / "elk_3_plot.in").write_text(two)
    with pytest.raises(CodeError, match="different kinds"):
        read_folder(folder)


def test_an_element_that_was_never_tried_is_warned_of() -> None:
    assert untried("Ti") == []
    (warning,) = untried("Cu")
    assert "not of Cu" in warning
