"""OCEAN's recorded output is read in full, and damaged output is named, not believed."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from nearedge.codes import get_code
from nearedge.codes.ocean.deck import parse_cards, photon_weight
from nearedge.errors import CodeError, IngestError
from nearedge.spectra.spectrum import AbsorptionUnit

FIRST = "absspct_Ti.0001_1s_01"
Change = Callable[[Path], object]


def edit(name: str, pattern: str, replacement: str) -> Change:
    def change(folder: Path) -> None:
        path = folder / name
        text, count = re.subn(pattern, replacement, path.read_text(), count=1)
        assert count, f"{pattern} is not in {name}"
        path.write_text(text)

    return change


def cut(name: str, share: float) -> Change:
    def change(folder: Path) -> None:
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: int(len(content) * share)])

    return change


def drop_lines(name: str, count: int) -> Change:
    def change(folder: Path) -> None:
        lines = (folder / name).read_text().splitlines(keepends=True)
        (folder / name).write_text("".join(lines[:-count]))

    return change


def add_another_site(folder: Path) -> None:
    (folder / "absspct_Ti.0002_1s_01").write_text((folder / FIRST).read_text())


def test_the_spectrum_is_the_mean_of_the_polarisations(recorded: Path) -> None:
    result = get_code("ocean").read(recorded)
    tables = [np.loadtxt(recorded / f"absspct_Ti.0001_1s_0{n}") for n in (1, 2, 3)]
    assert np.array_equal(result.spectrum.energy, tables[0][:, 0])
    mean = np.mean([table[:, 2] for table in tables], axis=0)
    assert result.spectrum.absorption == pytest.approx(mean, rel=1e-12)
    assert len(result.spectrum) == 1001
    assert result.spectrum.unit is AbsorptionUnit.ARBITRARY
    assert result.spectrum.energy[np.argmax(result.spectrum.absorption)] == pytest.approx(23.9)


def test_what_the_spectrum_contains_is_stated(recorded: Path) -> None:
    result = get_code("ocean").read(recorded)
    (broadening,) = result.broadening
    # ocean.in: cnbse.broaden { 0.89 }, the half width at half maximum.
    assert (broadening.kind, broadening.width) == ("lorentzian", pytest.approx(2 * 0.89, abs=1e-5))
    assert result.energy_reference.kind == "arbitrary"
    assert result.results["core_offset"].value == 225.10
    assert result.results["core_offset"].unit == "eV"
    assert result.results["haydock_iterations"].value == 69
    assert result.results["damping_starts"].value == pytest.approx(38.9)
    assert result.warnings == []
    assert result.code_version is None


def test_weights_of_the_photon_files_count(copied: Path) -> None:
    for number, weight in ((1, 1.0), (2, 0.0), (3, 0.0)):
        path = copied / f"photon{number}"
        path.write_text(path.read_text().replace("0.3333333333333333", str(weight)))
    first = np.loadtxt(copied / FIRST)[:, 2]
    assert get_code("ocean").read(copied).spectrum.absorption == pytest.approx(first, rel=1e-12)


@pytest.mark.parametrize(
    ("text", "weight"),
    [
        ("dipole\ncartesian 1 0 0\nend\ncartesian 1 0 0\nend\n4966\n0.25\n", 0.25),
        ("dipole\ncartesian 1 0 0\nend\ncartesian 1 0 0\nend\n4966\n", 1.0),
        ("dipole\n", 1.0),
    ],
)
def test_the_weight_of_a_photon_is_its_last_line(text: str, weight: float) -> None:
    assert photon_weight(text) == weight


def test_without_a_common_shift_the_reader_is_warned(copied: Path) -> None:
    edit("ocean.in", r"core_offset.*", "core_offset .false.")(copied)
    assert "core_offset" in get_code("ocean").read(copied).warnings[0]


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (lambda folder: (folder / "absspct_Ti.0001_1s_02").unlink(), "missing_polarisation"),
        (lambda folder: [each.unlink() for each in folder.glob("abs*")], "output_missing"),
        (lambda folder: (folder / FIRST).write_text(""), "output_empty"),
        (cut(FIRST, 0.5), "output_truncated"),
        (cut(FIRST, 0.99999), "output_truncated"),
        (drop_lines(FIRST, 200), "output_truncated"),
        (edit(FIRST, r"0\.10085545E-07", "NaN"), "output_not_finite"),
        (edit(FIRST, r"0\.10085545E-07", "**************"), "output_not_finite"),
        (edit(FIRST, r"0\.10085545E-07", "eleven"), "output_foreign"),
        (edit(FIRST, r"-0\.19900000E\+02", "-0.21000000E+02"), "output_not_increasing"),
        (edit(FIRST, r"#   iter=.*", "# energy, absorption"), "output_foreign"),
        (edit(FIRST, r"iter=   69", "iter= 1000"), "bse_not_converged"),
        (edit(FIRST, r"0\.32706898E-01", "0.22706898E-01"), "output_foreign"),
        (edit("ocean.in", r"broaden \{ 0.89 \}", "broaden { 0.5 }"), "output_foreign"),
        (edit("ocean.in", r"1000 -20 80", "1000 -40 80"), "output_foreign"),
        (edit("ocean.in", r"1000 -20 80", "1000 -20 90"), "output_truncated"),
        (edit("ocean.in", r"edges \{ -22 1 0 \}", "edges { -8 1 0 }"), "wrong_absorber"),
        (edit("ocean.in", r"edges \{ -22 1 0 \}", "edges { -22 2 1 }"), "wrong_edge"),
        (edit("photon1", r"0\.33+", "nan"), "bad_input"),
        (edit("photon1", r"0\.33+", "-1"), "bad_input"),
        (edit("ocean.in", r"typat\{[^}]*\}", "typat{ 2 1 1 }"), "bad_input"),
        (lambda folder: (folder / "ocean.in").unlink(), "input_missing"),
        (add_another_site, "several_absorbers"),
    ],
)
def test_damaged_output_is_named(copied: Path, change: Change, name: str) -> None:
    change(copied)
    with pytest.raises(CodeError) as raised:
        get_code("ocean").read(copied)
    assert raised.value.name == name


def test_an_unconverged_density_is_named(copied: Path) -> None:
    (copied / "DFT").mkdir()
    (copied / "DFT" / "scf.out").write_text("     convergence NOT achieved after 100 iterations\n")
    with pytest.raises(CodeError, match="self-consistent field did not converge") as raised:
        get_code("ocean").read(copied)
    assert raised.value.name == "scf_not_converged"


def test_cards_of_ocean_3_are_those_of_ocean_2() -> None:
    cards = parse_cards("calc.edges { -22 1 0 } # all Ti\nbse.core.broaden{ 0.5 }\nmetal .true.\n")
    assert cards == {"edges": "-22 1 0", "cnbse.broaden": "0.5", "metal": ".true."}
    with pytest.raises(IngestError):
        parse_cards("nothing at all, really")
