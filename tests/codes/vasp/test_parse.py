"""VASP's recorded output is read in full, and damaged output is named, not believed."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from nearedge.codes import get_code
from nearedge.codes.vasp.deck import parse_incar
from nearedge.errors import CodeError, IngestError
from nearedge.spectra.spectrum import AbsorptionUnit

Change = Callable[[Path], object]


def edit(name: str, pattern: str, replacement: str) -> Change:
    def change(folder: Path) -> None:
        path = folder / name
        text, count = re.subn(pattern, replacement, path.read_text(), flags=re.MULTILINE)
        assert count, f"{pattern} is not in {name}"
        path.write_text(text)

    return change


def cut_at(marker: str, after: int = 0) -> Change:
    def change(folder: Path) -> None:
        text = (folder / "OUTCAR").read_text()
        (folder / "OUTCAR").write_text(text[: text.index(marker) + after])

    return change


def without_section(folder: Path) -> None:
    """As where the dielectric function is not in OUTCAR, but was taken out of it before."""
    text = (folder / "OUTCAR").read_text()
    start, end = text.index("  frequency dependent IMAG"), text.index("General timing")
    (folder / "OUTCAR").write_text(text[:start] + text[end:])


def without_any_spectrum(folder: Path) -> None:
    without_section(folder)
    (folder / "CORE_DIELECTRIC_IMAG.dat").unlink()


def zero_everywhere(folder: Path) -> None:
    without_section(folder)
    table = np.loadtxt(folder / "CORE_DIELECTRIC_IMAG.dat")
    np.savetxt(folder / "CORE_DIELECTRIC_IMAG.dat", table * [1, 0])


def test_the_spectrum_is_a_third_of_the_trace(recorded: Path) -> None:
    spectrum = get_code("vasp").read(recorded).spectrum
    # Others took the trace out of the same OUTCAR, before rounding to five digits.
    trace = np.loadtxt(recorded / "CORE_DIELECTRIC_IMAG.dat")
    kept = (trace[:, 0] >= spectrum.energy[0]) & (trace[:, 0] <= spectrum.energy[-1])
    assert spectrum.energy == pytest.approx(trace[kept, 0])
    assert spectrum.absorption == pytest.approx(trace[kept, 1] / 3, abs=1e-6)
    assert not np.any(trace[~kept, 1])
    assert len(spectrum) == 140
    assert spectrum.unit is AbsorptionUnit.ARBITRARY
    assert spectrum.energy[np.argmax(spectrum.absorption)] == pytest.approx(2396.906639)
    assert spectrum.absorption.max() == pytest.approx(1.461e-3 / 3)


def test_what_the_output_says_is_kept(recorded: Path) -> None:
    result = get_code("vasp").read(recorded)
    assert result.code_version == "6.1.1"
    assert result.wall_seconds == 5485.084
    assert result.cpu_seconds == 5482.794
    assert result.energy_reference.fermi_energy == 3.7611
    assert result.energy_reference.edge_energy == pytest.approx(3.7611 + 2393.17085973796, abs=1e-4)
    values = {name: (each.value, each.unit) for name, each in result.results.items()}
    assert values["free_energy"] == (-396.12073272, "eV")
    assert values["magnetisation"] == (0.8518284, "bohr_magneton")
    assert values["bands"] == (704, None)
    assert values["scf_iterations"] == (15, None)
    assert values["potentials"][0][0] == "PAW S_GW 19Mar2012"


def test_what_the_spectrum_contains_is_stated(recorded: Path) -> None:
    result = get_code("vasp").read(recorded)
    (broadening,) = result.broadening
    # CH_SIGMA = 0.05 eV of exp(-(E/sigma)^2): full width 2 sqrt(ln 2) sigma.
    assert (broadening.kind, broadening.width) == ("gaussian", pytest.approx(0.0832555, abs=1e-6))
    # Its points are 0.286 eV apart.
    assert "CH_NEDOS" in result.warnings[0]


def test_the_extracted_file_serves_where_outcar_lacks_the_section(copied: Path) -> None:
    reference = get_code("vasp").read(copied).spectrum
    without_section(copied)
    spectrum = get_code("vasp").read(copied).spectrum
    assert spectrum.energy == pytest.approx(reference.energy)
    assert spectrum.absorption == pytest.approx(reference.absorption, abs=1e-6)


@pytest.mark.parametrize(
    ("change", "warning"),
    [
        (edit("INCAR", r"CH_SIGMA.*", ""), "no CH_SIGMA"),
        (edit("INCAR", r"ISMEAR = 0", "ISMEAR = -1"), "ISMEAR = -1"),
    ],
)
def test_an_unknown_broadening_is_not_made_up(copied: Path, change: Change, warning: str) -> None:
    change(copied)
    result = get_code("vasp").read(copied)
    assert result.broadening == []
    assert warning in result.warnings[0]


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (lambda folder: (folder / "OUTCAR").unlink(), "output_missing"),
        (lambda folder: (folder / "OUTCAR").write_text("\n"), "output_empty"),
        (lambda folder: (folder / "OUTCAR").write_text("other\n"), "output_foreign"),
        (cut_at("Iteration      1(  10)"), "output_truncated"),
        (cut_at("frequency dependent IMAG", 20000), "output_truncated"),
        (cut_at("General timing"), "output_truncated"),
        (edit("OUTCAR", "aborting loop because EDIFF is reached", "-"), "scf_not_converged"),
        (edit("OUTCAR", r"^ 2396\.906639    0\.001405", " 2396.906639 NaN"), "output_not_finite"),
        (edit("OUTCAR", r"^ 2396\.906639    0\.001405", " 2396.906639 ****"), "output_not_finite"),
        (edit("OUTCAR", r"^ 2396\.906639 ", " 2300.0 "), "output_not_increasing"),
        (edit("OUTCAR", r"CLNT =.*", ""), "not_a_core_level"),
        (without_any_spectrum, "output_missing"),
        (zero_everywhere, "output_empty"),
        (edit("INCAR", r"CLNT = 1", "CLNT = 4"), "wrong_absorber"),
        (edit("INCAR", r"CLN = 1", "CLN = 2"), "wrong_edge"),
        (edit("INCAR", r"CLN = 1", "CLN = one"), "bad_input"),
        (lambda folder: (folder / "INCAR").unlink(), "input_missing"),
        (lambda folder: (folder / "POSCAR").unlink(), "input_missing"),
    ],
)
def test_damaged_output_is_named(copied: Path, change: Change, name: str) -> None:
    change(copied)
    with pytest.raises(CodeError) as raised:
        get_code("vasp").read(copied)
    assert raised.value.name == name


def test_electrons_that_ran_out_of_iterations_did_not_converge(copied: Path) -> None:
    """VASP may be stopped right there, so that OUTCAR has no end either."""
    cut_at("aborting loop")(copied)
    edit("OUTCAR", r"NELM   =     60", "NELM   =     15")(copied)
    with pytest.raises(CodeError) as raised:
        get_code("vasp").read(copied)
    assert raised.value.name == "scf_not_converged"


def test_a_compressed_outcar_that_is_cut_is_truncated(recorded: Path, copied: Path) -> None:
    packed = (recorded / "OUTCAR.bz2").read_bytes()
    (copied / "OUTCAR").unlink()
    (copied / "OUTCAR.bz2").write_bytes(packed[: len(packed) // 2])
    with pytest.raises(CodeError) as raised:
        get_code("vasp").read(copied)
    assert raised.value.name == "output_truncated"


def test_incar_is_read_as_vasp_reads_it() -> None:
    tags = parse_incar("ENCUT=400; ISPIN = 2 # spin\nLDAUU = 3.0 0 \\\n 0 ! U\nch_sigma = 5E-2\n")
    assert tags == {"ENCUT": "400", "ISPIN": "2", "LDAUU": "3.0 0 0", "CH_SIGMA": "5E-2"}
    with pytest.raises(IngestError):
        parse_incar("nothing")
