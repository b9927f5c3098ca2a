"""What outputs say, and what is mistrusted in them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nearedge.codes.xspectra import XSPECTRA, programs
from nearedge.codes.xspectra.parse import (
    parse_energy_zero,
    parse_lanczos,
    parse_scf,
    parse_xanes,
)
from nearedge.errors import CodeError
from nearedge.spectra.spectrum import BOHR, AbsorptionUnit


@pytest.fixture
def text(recorded: Path):
    return lambda name: (recorded / "rutile" / name).read_text(encoding="utf-8")


def test_a_finished_run_is_read_with_units_reference_and_broadening(recorded: Path) -> None:
    result = XSPECTRA.read(recorded / "rutile")
    assert result.spectrum.unit == AbsorptionUnit.ANGSTROM2
    assert result.energy_reference.kind == "fermi"
    assert result.energy_reference.fermi_energy == result.results["fermi_energy"].value
    (broadening,) = result.broadening
    # Three times the lifetime's 0.94 eV: what the recorded recursion resolves.
    assert (broadening.kind, broadening.width) == ("lorentzian", 3.0)
    assert result.code_version == "6.7MaX"
    assert result.results["cell_atoms"].value == 6
    assert result.results["cell_volume"].value == pytest.approx(62.4, abs=0.5)


def test_the_average_is_weighted_as_written(recorded: Path) -> None:
    folder = recorded / "oblique"
    sigma = [np.loadtxt(folder / f"xanes_{number}.dat")[:, 1] for number in (1, 2)]
    assert np.abs(sigma[0] - sigma[1]).max() > 0.01 * sigma[0].max()
    assert XSPECTRA.read(folder).spectrum.absorption == pytest.approx(
        (sigma[0] + sigma[1]) / 2 * BOHR**2
    )


def test_convergence_and_fermi_level_are_read_from_the_output(text) -> None:
    scf = parse_scf(text("scf.out"))
    assert scf.iterations > 3
    assert scf.total_energy == pytest.approx(-387, abs=5)
    lanczos = parse_lanczos(text("lanczos_1.out"), "lanczos_1.out")
    assert len(lanczos.iterations) == text("lanczos_1.out").count("! k-point #")
    assert lanczos.largest_error < 0.01
    # Of an insulator the highest occupied level, which pw.x's middle of the gap lies above.
    assert parse_energy_zero(text("plot_1.out"), "plot_1.out") == pytest.approx(
        scf.fermi_energy, abs=3
    )


def test_nothing_is_absorbed_below_the_fermi_level(recorded: Path) -> None:
    spectrum = XSPECTRA.read(recorded / "rutile").spectrum
    below = spectrum.absorption[spectrum.energy < -5].max()
    assert below < 0.02 * spectrum.absorption.max()


def test_the_last_energy_that_was_asked_for_must_be_there(text) -> None:
    table = text("xanes_1.dat")
    shorter = "".join(line + "\n" for line in table.splitlines()[:-3])
    parse_xanes(shorter, "xanes_1.dat")
    with pytest.raises(CodeError) as caught:
        parse_xanes(shorter, "xanes_1.dat", last=70.0)
    assert caught.value.name == "output_truncated"


def test_a_program_that_stopped_itself_is_named_with_its_reason(text) -> None:
    said = text("scf.out").replace(
        "End of self-consistent calculation",
        "Error in routine c_bands (1):\n     too many bands are not converged",
    )
    with pytest.raises(CodeError, match="too many bands are not converged") as caught:
        parse_scf(said)
    assert caught.value.name == "diagonalization_failed"


def test_a_negative_or_empty_cross_section_is_implausible(text) -> None:
    lines = text("xanes_1.dat").splitlines()
    for factor in (-1.0, 0.0):
        rows = [
            line if line.startswith("#") else f"{line.split()[0]} {factor * float(line.split()[1])}"
            for line in lines
        ]
        with pytest.raises(CodeError) as caught:
            parse_xanes("\n".join(rows) + "\n", "xanes_1.dat")
        assert caught.value.name == "output_implausible"


def test_the_version_is_in_the_banner(text) -> None:
    for program, output in ((programs.PW, "scf.out"), (programs.XSPECTRA, "plot_1.out")):
        assert program.banner is not None
        assert program.banner.findall(text(output)) == ["6.7MaX"]
        assert program.banner.search("something else") is None
