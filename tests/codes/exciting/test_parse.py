"""exciting's recorded output is read in full, and damaged output is named, not believed."""

from __future__ import annotations

import lzma
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from nearedge.codes import get_code
from nearedge.codes.exciting.deck import parse_deck
from nearedge.errors import CodeError, IngestError
from nearedge.spectra.spectrum import HARTREE, AbsorptionUnit

NAME = "EPSILON_BSEsinglet_SCRfull_OC{}.OUT"
Change = Callable[[Path], object]


def table_of(path: Path) -> np.ndarray:
    return np.loadtxt(lzma.decompress(path.read_bytes()).decode().splitlines())


def edit(name: str, pattern: str, replacement: str) -> Change:
    def change(folder: Path) -> None:
        path = folder / name
        text, count = re.subn(pattern, replacement, path.read_text(), count=1)
        assert count, f"{pattern} is not in {name}"
        path.write_text(text)

    return change


def lines_of(name: str, keep: slice) -> Change:
    def change(folder: Path) -> None:
        lines = (folder / name).read_text().splitlines(keepends=True)
        (folder / name).write_text("".join(lines[keep]))

    return change


def half(name: str) -> Change:
    def change(folder: Path) -> None:
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: len(content) // 2])

    return change


def another_calculation(folder: Path) -> None:
    for component in ("11", "22", "33"):
        text = (folder / NAME.format(component)).read_text()
        (folder / f"EPSILON_BSErpa_SCRfull_OC{component}.OUT").write_text(text)


def unconverged(folder: Path) -> None:
    (folder / "INFO.OUT").write_text("| Loop 30\nReached self-consistent loops maximum\n")


def test_the_spectrum_is_the_mean_of_the_diagonal(recorded: Path) -> None:
    result = get_code("exciting").read(recorded)
    tables = [
        table_of(recorded / (NAME.format(component) + ".xz")) for component in ("11", "22", "33")
    ]
    assert np.array_equal(result.spectrum.energy, tables[0][:, 0])
    mean = np.mean([table[:, 2] for table in tables], axis=0)
    assert result.spectrum.absorption == pytest.approx(mean, rel=1e-12)
    assert len(result.spectrum) == 10000
    assert result.spectrum.unit is AbsorptionUnit.ARBITRARY
    assert result.spectrum.energy[np.argmax(result.spectrum.absorption)] == pytest.approx(369.476)


def test_what_the_output_says_is_kept(recorded: Path) -> None:
    result = get_code("exciting").read(recorded)
    assert result.code_version == "boron (a06d9673)"
    assert result.wall_seconds == 84847.52
    assert result.cpu_seconds == 386058.03
    assert result.energy_reference.kind == "absolute"
    # INFOXS.OUT: gap 13.79977880 Ha; EXCITON: 369.4456769 eV, 6.065401338 eV below it.
    assert result.energy_reference.edge_energy == pytest.approx(369.4456769 + 6.065401338, abs=1e-3)
    assert result.results["first_excitation"].value == 369.4456769
    assert "no absorbing atom" in result.warnings[0]


def test_the_broadening_is_what_makes_the_excitations_this_spectrum(recorded: Path) -> None:
    """The listed strengths are amplitudes; squared, with a Lorentzian each, they are it."""
    (broadening,) = get_code("exciting").read(recorded).broadening
    half_width = broadening.width / 2
    excitations = np.loadtxt(recorded / "EXCITON_BSEsinglet_SCRfull_OC11.OUT")
    spectrum = table_of(recorded / (NAME.format("11") + ".xz"))
    offsets = spectrum[:, :1] - excitations[:, 1]
    sums = (excitations[:, 3] ** 2 * half_width / (offsets**2 + half_width**2)).sum(axis=1)
    assert np.corrcoef(sums, spectrum[:, 2])[0, 1] > 1 - 1e-9


def test_energies_in_hartree_become_electronvolts(copied: Path) -> None:
    reference = get_code("exciting").read(copied).spectrum
    edit("input.xml", r'tevout="true"', 'tevout="false"')(copied)
    for component in ("11", "22", "33"):
        path = copied / NAME.format(component)
        table = np.loadtxt(path)
        table[:, 0] /= HARTREE
        np.savetxt(path, table, fmt="%.12e")
    spectrum = get_code("exciting").read(copied).spectrum
    assert spectrum.energy == pytest.approx(reference.energy, rel=1e-9)


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (lambda folder: (folder / NAME.format(22)).unlink(), "missing_polarisation"),
        (lambda folder: [each.unlink() for each in folder.glob("EPS*")], "output_missing"),
        (lambda folder: (folder / NAME.format(11)).write_text(""), "output_empty"),
        (half(NAME.format(11)), "output_truncated"),
        (lines_of(NAME.format(33), slice(0, 5000)), "output_truncated"),
        (lines_of(NAME.format(33), slice(5000, None)), "output_foreign"),
        (edit(NAME.format(11), r"0\.2530474386E-09", "NaN"), "output_not_finite"),
        (edit(NAME.format(11), r"0\.2530474386E-09", "******"), "output_not_finite"),
        (edit(NAME.format(11), r"272\.1410500", "272.0"), "output_not_increasing"),
        (edit("input.xml", r'tevout="true"', ""), "output_foreign"),
        (edit("input.xml", r'intv="10.0 20.0"', 'intv="10.0 30.0"'), "output_truncated"),
        (edit("input.xml", r"<xs ", "<xs <"), "bad_input"),
        (edit("INFOXS.OUT", r"EXCITING BORON stopped for task    445", ""), "output_truncated"),
        (lambda folder: (folder / "input.xml").unlink(), "input_missing"),
        (another_calculation, "output_foreign"),
        (unconverged, "scf_not_converged"),
    ],
)
def test_damaged_output_is_named(copied: Path, change: Change, name: str) -> None:
    change(copied)
    with pytest.raises(CodeError) as raised:
        get_code("exciting").read(copied)
    assert raised.value.name == name


def test_a_compressed_file_that_is_cut_is_truncated(recorded: Path, copied: Path) -> None:
    packed = (recorded / (NAME.format(11) + ".xz")).read_bytes()
    (copied / NAME.format(11)).unlink()
    (copied / (NAME.format(11) + ".xz")).write_bytes(packed[: len(packed) // 2])
    with pytest.raises(CodeError) as raised:
        get_code("exciting").read(copied)
    assert raised.value.name == "output_truncated"


def test_a_negative_spectrum_is_none(copied: Path) -> None:
    for component in ("11", "22", "33"):
        path = copied / NAME.format(component)
        table = np.loadtxt(path)
        table[:, 2] *= -1
        np.savetxt(path, table)
    with pytest.raises(CodeError) as raised:
        get_code("exciting").read(copied)
    assert raised.value.name == "output_negative"


@pytest.mark.parametrize(
    "text",
    [
        "<input><!DOCTYPE x></input>",
        "<!DOCTYPE i [<!ENTITY a 'b'>]><input>&a;</input>",
        "<input/>",
        "not xml",
        "<input><structure/><xs/></input>",
    ],
)
def test_what_is_no_input_of_exciting_is_refused(text: str) -> None:
    with pytest.raises(IngestError):
        parse_deck(text)
