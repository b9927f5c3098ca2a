"""Real runs of Elk: boron in cubic BN in seconds, titanium in anatase in minutes (slow)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pymatgen.core import Structure

from nearedge.codes.elk import ELK
from nearedge.codes.elk.parse import RESTART
from nearedge.codes.outputs import speaks_of_damage
from nearedge.errors import CodeError, ResourceError
from nearedge.settings import get_settings
from nearedge.spectra.alignment import align
from nearedge.spectra.spectrum import AbsorptionUnit, Spectrum

COARSE = "fast@1+energy_step=1.0+k_radius=7"
"""2.6 CPU-seconds for BN."""


@pytest.mark.usefixtures("elk")
def test_another_broadening_needs_no_other_run(boron_nitride: Structure, tmp_path: Path) -> None:
    stages: list[str] = []
    narrow = ELK.inputs(boron_nitride, 0, "K", f"{COARSE}+broadening=3.0")
    first = ELK.run(narrow, tmp_path / "one", stage_timeout=300, progress=stages.append)
    assert stages == ["elk ground", "elk scf", "elk bse", "elk plot"]
    assert first.cpu_seconds is not None
    assert first.cpu_seconds > 0.5
    assert first.energy_reference.edge_energy == pytest.approx(174.57, abs=0.2)  # as recorded
    assert ELK.read(tmp_path / "one").spectrum.absorption == pytest.approx(
        first.spectrum.absorption
    )
    # The stored transitions give Elk's own plot again ...
    again = ELK.run(narrow, tmp_path / "again", stage_timeout=1, restart=first.restart)
    assert again.spectrum.energy == pytest.approx(first.spectrum.energy, abs=1e-6)
    assert again.spectrum.absorption == pytest.approx(first.spectrum.absorption, rel=1e-4)
    assert again.broadening == first.broadening
    assert again.results == first.results
    # ... and that of another width, which a folder of such a run tells again.
    broad = ELK.inputs(boron_nitride, 0, "K", f"{COARSE}+broadening=6.0")
    assert broad.restart_key == narrow.restart_key
    second = ELK.run(broad, tmp_path / "two", stage_timeout=1, restart=first.restart)
    assert second.broadening[0].width == pytest.approx(6.0)
    assert second.spectrum.absorption.max() < 0.9 * first.spectrum.absorption.max()
    assert second.restart == first.restart
    assert np.array_equal(
        ELK.read(tmp_path / "two").spectrum.absorption, second.spectrum.absorption
    )
    # Where they are damaged it says so, and nothing is left in the way of a full run.
    for damaged in ({RESTART: first.restart[RESTART][:-20]}, {}):
        with pytest.raises(CodeError) as failed:
            ELK.run(broad, tmp_path / "three", stage_timeout=1, restart=damaged)
        assert speaks_of_damage(failed.value)


@pytest.mark.usefixtures("elk")
def test_a_level_that_is_not_found_is_named_before_the_expensive_part(
    boron_nitride: Structure, tmp_path: Path
) -> None:
    inputs = ELK.inputs(boron_nitride, 0, "K", COARSE)
    name = "core/B_1s.in"
    assert "-7.9680 0 T" in inputs.files[name]
    inputs.files[name] = inputs.files[name].replace("-7.9680 0 T", "-2.5000 0 T")
    stages: list[str] = []
    with pytest.raises(CodeError) as failed:
        ELK.run(inputs, tmp_path / "run", stage_timeout=300, progress=stages.append)
    assert failed.value.name == "core_level_not_found"
    assert "-5.9" in failed.value.message  # where the ground state has it
    assert stages == ["elk ground"]


@pytest.mark.usefixtures("elk")
def test_too_few_loops_are_named(boron_nitride: Structure, tmp_path: Path) -> None:
    inputs = ELK.inputs(boron_nitride, 0, "K", f"{COARSE}+scf_iterations=2")
    with pytest.raises(CodeError) as failed:
        ELK.run(inputs, tmp_path / "run", stage_timeout=300)
    assert failed.value.name == "scf_not_converged"


def test_a_missing_program_is_the_machine_s_fault(
    boron_nitride: Structure,
    species_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("NEAREDGE_ELK_COMMAND", "no-such-elk")
    monkeypatch.setenv("NEAREDGE_ELK_SPECIES_PATH", str(species_folder))
    get_settings.cache_clear()
    try:
        assert not ELK.availability().found
        assert "elk-lapw" in ELK.availability().remedy
        assert ELK.version() == "unknown"
        inputs = ELK.inputs(boron_nitride, 0, "K", COARSE)
        with pytest.raises(ResourceError, match="elk-lapw"):
            ELK.run(inputs, tmp_path / "run", stage_timeout=10)
    finally:
        get_settings.cache_clear()


@pytest.mark.usefixtures("elk")
def test_the_version_is_what_the_program_says() -> None:
    assert ELK.version()[0].isdigit()
    assert ELK.version() in ELK.availability().detail


@pytest.mark.slow
@pytest.mark.usefixtures("elk")
def test_anatase_agrees_with_exciting(
    anatase: Structure, tmp_path: Path, shared: Callable[[str], Path]
) -> None:
    table = np.loadtxt(shared("data/anatase/anatase_exciting.txt"))
    reference = Spectrum(table[:, 0], table[:, 1], AbsorptionUnit.ARBITRARY)
    # exciting's curve has a Lorentzian of 1.78 eV (Lightshow's half width of 0.0327 Ha).
    inputs = ELK.inputs(anatase, 0, "K", "fast@1+broadening=1.78")
    result = ELK.run(inputs, tmp_path / "run", stage_timeout=3600)
    assert RESTART in result.restart
    found = align(result.spectrum, reference, window=20)
    assert found.spearman > 0.95
    # The tables of Elam have a step of 4.8e-4 Å² at the K edge of Ti.
    assert 4e-4 < result.spectrum.absorption.max() < 3e-3
