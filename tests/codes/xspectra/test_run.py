"""Runs: which programs are started, in which order, and real ones on small crystals."""

from __future__ import annotations

import gzip
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from nearedge.codes.base import InputSet
from nearedge.codes.outputs import speaks_of_damage
from nearedge.codes.xspectra import XSPECTRA
from nearedge.errors import CodeError, ResourceError
from nearedge.settings import get_settings
from nearedge.spectra.broadening import lorentzian
from nearedge.spectra.spectrum import BOHR

Play = Callable[..., None]
DEBIAN = Path("/usr/share/doc/quantum-espresso/examples/XSpectra")
# As few plane waves and k-points as still give a spectrum: about 4 CPU-seconds.
SMALL = "cutoff=40.0+scf_k_radius=2.0+spectrum_k_radius=3.0+lanczos_width=1.6+e_step=0.2"


def recorded_inputs(folder: Path) -> InputSet:
    files = {path.name: path.read_text() for path in folder.glob("*.in")}
    files["polarisations.json"] = (folder / "polarisations.json").read_text()
    files.pop("scf_safer.in", None)
    return InputSet("xspectra", "test", "custom", files, {})


def started(folder: Path) -> list[str]:
    return (folder / "started").read_text().split()


def run(inputs: InputSet, folder: Path, **more):
    return XSPECTRA.run(inputs, folder, stage_timeout=600.0, **more)


def test_pw_goes_first_then_each_polarisation_and_then_the_spectra(
    play: Play, recorded: Path, tmp_path: Path
) -> None:
    play("oblique")
    stages: list[str] = []
    result = run(recorded_inputs(recorded / "oblique"), tmp_path / "run", progress=stages.append)
    decks = ["scf.in", "lanczos_1.in", "lanczos_2.in", "plot_1.in", "plot_2.in"]
    assert started(tmp_path / "run") == decks
    assert stages[0] == "pw.x"
    assert any("polarisation 2 of 2" in stage for stage in stages)
    assert result.attempts == 1
    assert result.cpu_seconds is not None
    assert np.array_equal(
        result.spectrum.absorption, XSPECTRA.read(recorded / "oblique").spectrum.absorption
    )


def test_a_restart_makes_the_spectra_alone(play: Play, recorded: Path, tmp_path: Path) -> None:
    play("oblique")
    inputs = recorded_inputs(recorded / "oblique")
    first = run(inputs, tmp_path / "first")
    again = run(inputs, tmp_path / "again", restart=first.restart)
    assert started(tmp_path / "again") == ["plot_1.in", "plot_2.in"]
    assert np.array_equal(first.spectrum.absorption, again.spectrum.absorption)
    assert again.results == first.results
    assert again.restart == first.restart


def test_a_restart_that_lacks_a_chain_is_a_missing_polarisation(
    play: Play, recorded: Path, tmp_path: Path
) -> None:
    play("oblique")
    inputs = recorded_inputs(recorded / "oblique")
    kept = dict(run(inputs, tmp_path / "first").restart)
    del kept["xanes_2.sav"]
    with pytest.raises(CodeError) as caught:
        run(inputs, tmp_path / "again", restart=kept)
    assert caught.value.name == "missing_polarisation"
    assert speaks_of_damage(caught.value)


def test_a_field_that_does_not_converge_is_tried_once_more_with_safer_mixing(
    play: Play, recorded: Path, tmp_path: Path
) -> None:
    play("oblique", failures=1)
    result = run(recorded_inputs(recorded / "oblique"), tmp_path / "run")
    assert started(tmp_path / "run")[:2] == ["scf.in", "scf_safer.in"]
    assert result.attempts == 2
    assert "safer mixing" in result.warnings[-1]


def test_a_field_that_does_not_converge_twice_is_named(
    play: Play, recorded: Path, tmp_path: Path
) -> None:
    play("oblique", failures=2)
    with pytest.raises(CodeError, match="nor did it with safer mixing") as caught:
        run(recorded_inputs(recorded / "oblique"), tmp_path / "run")
    assert caught.value.name == "scf_not_converged"
    assert caught.value.log_tail.startswith("[scf.out]")
    assert started(tmp_path / "run") == ["scf.in", "scf_safer.in"]


def test_a_recursion_that_does_not_converge_is_named(
    play: Play, recorded: Path, tmp_path: Path
) -> None:
    unconverged = tmp_path / "unconverged"
    shutil.copytree(recorded / "oblique", unconverged)
    log = unconverged / "lanczos_2.out"
    stuck = "XANES not converged after   60 iterations"
    log.write_text(re.sub("=> CONVERGED at iter .*", stuck, log.read_text()))
    play(str(unconverged))
    with pytest.raises(CodeError) as caught:
        run(recorded_inputs(recorded / "oblique"), tmp_path / "run")
    assert caught.value.name == "lanczos_not_converged"


def test_no_wave_functions_are_left_behind(play: Play, recorded: Path, tmp_path: Path) -> None:
    play("rutile")
    folder = tmp_path / "run"
    run(recorded_inputs(recorded / "rutile"), folder)
    assert not (folder / "scratch").exists()
    assert not (folder / "xanes.dat").exists()


def test_a_run_folder_in_use_is_left_alone(recorded: Path, tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match="not empty"):
        run(recorded_inputs(recorded / "rutile"), tmp_path.parent)


@pytest.mark.usefixtures("espresso")
def test_rutile_runs_and_a_new_broadening_is_that_of_a_full_run(
    rutile: Structure, tmp_path: Path
) -> None:
    """The chain of one run gives, without pw.x, what a whole run with that broadening gives."""
    make = lambda width: XSPECTRA.inputs(  # noqa: E731
        rutile, 0, "K", f"fast+{SMALL}+lorentzian_width={width}"
    )
    first = run(make(1.8), tmp_path / "first")
    stages: list[str] = []
    replotted = run(
        make(2.6), tmp_path / "replotted", restart=first.restart, progress=stages.append
    )
    assert stages == ["xspectra.x, spectrum"]
    assert not (tmp_path / "replotted" / "scratch").exists()
    full = run(make(2.6), tmp_path / "full")
    _say_of_damage(make(2.6), first.restart, tmp_path)
    scale = full.spectrum.absorption.max()
    difference = np.abs(replotted.spectrum.absorption - full.spectrum.absorption).max()
    assert difference < 1e-3 * scale
    assert np.abs(first.spectrum.absorption - full.spectrum.absorption).max() > 0.02 * scale
    assert [each.width for each in replotted.broadening] == [2.6]
    # xgamma is half a width: our own Lorentzian makes up the difference as a full one.
    inside = slice(50, -50)
    for added, within in ((0.8, True), (0.4, False), (1.6, False)):
        made_up = lorentzian(first.spectrum, added).absorption
        apart = np.abs(made_up - full.spectrum.absorption)[inside].max()
        assert bool(apart < 0.015 * scale) == within
    # Rutile's edge rises some eV above the Fermi level, to about the atoms' cross-section.
    peak = full.spectrum.energy[np.argmax(full.spectrum.absorption)]
    assert 5 < peak < 35
    assert 2e-4 < full.spectrum.absorption.max() < 5e-3


@pytest.mark.usefixtures("espresso")
def test_diamond_runs_with_potentials_of_the_users_own(
    espresso: pytest.MonkeyPatch, need: Callable[[object, str], None], tmp_path: Path
) -> None:
    """Those that Quantum ESPRESSO ships for its own example of the C K edge."""
    shipped = [DEBIAN / "pseudo" / f"{name}_PBE_TM_2pj.UPF.gz" for name in ("C", "Ch")]
    need(
        all(path.is_file() for path in shipped),
        "Quantum ESPRESSO's examples are not installed: apt install quantum-espresso-data",
    )
    own = tmp_path / "own"
    own.mkdir()
    for path in shipped:
        (own / path.stem).write_bytes(gzip.decompress(path.read_bytes()))
    espresso.setenv("NEAREDGE_PSEUDO_PATH", str(own))
    get_settings.cache_clear()
    diamond = Structure.from_spacegroup("Fd-3m", Lattice.cubic(3.567), ["C"], [[0, 0, 0]])
    # The example puts the waves back in a sphere of 3.2 bohr, which these potentials are made for.
    inputs = XSPECTRA.inputs(diamond, 0, "K", f"fast+{SMALL}+paw_radius_scale={3.2 / 1.5:.6f}")
    assert inputs.files["C_PBE_TM_2pj.UPF"] == (own / "C_PBE_TM_2pj.UPF").read_text()
    result = run(inputs, tmp_path / "run")
    assert result.results["polarisations"].value == 1
    energy, sigma = result.spectrum.energy, result.spectrum.absorption
    # Most of the absorption is in the first 20 eV, as bonds of carbon have it.
    assert sigma[(energy > 5) & (energy < 25)].mean() > 1.5 * sigma[energy > 45].mean()
    # 0.03 bohr^2 at 300 eV (xraydb, Elam), several times that at the edge.
    assert 0.02 < sigma.max() / BOHR**2 < 0.5
    assert inputs.parameters["pseudopotentials"] != first_identity(espresso, diamond)


def _say_of_damage(inputs: InputSet, restart: dict[str, bytes], folder: Path) -> None:
    """Give xspectra.x chains and logs that are cut short; each run must fail as damaged."""
    for name, content in restart.items():
        for left in (0.3, 0.9):
            cut = {**restart, name: content[: int(left * len(content))]}
            with pytest.raises(CodeError) as caught:
                run(inputs, folder / f"{name} {left}", restart=cut)
            assert speaks_of_damage(caught.value), (name, left, caught.value.name)


def first_identity(settings: pytest.MonkeyPatch, structure: Structure):
    """Return what the parameters say of NearEdge's own potentials."""
    settings.delenv("NEAREDGE_PSEUDO_PATH")
    get_settings.cache_clear()
    return XSPECTRA.inputs(structure, 0, "K", f"fast+{SMALL}").parameters["pseudopotentials"]
