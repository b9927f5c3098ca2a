"""The stored transitions give the spectrum of any width; Elk's files are read with mistrust."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from nearedge.codes.elk.dielectric import (
    Lines,
    cross_section,
    imaginary_part,
    parse_lines,
    read_lines,
)
from nearedge.errors import CodeError

LINES = Lines(np.array([10.0, 10.4, 11.0]), np.array([1.0, 0.5, 2.0]), 0.01)


def test_each_line_is_a_lorentzian_of_twice_the_half_width() -> None:
    one = Lines(np.array([10.0]), np.array([1.0]), 1.0)
    energy = np.linspace(9.0, 11.0, 200_001)
    curve = one.imaginary(energy, 0.02)
    above = energy[curve > curve.max() / 2]
    assert above[-1] - above[0] == pytest.approx(0.04, rel=1e-3)


def test_the_area_does_not_hang_on_the_width() -> None:
    energy = np.linspace(0.5, 30, 60_001)
    areas = [
        np.trapezoid(energy * LINES.imaginary(energy, width), energy) for width in (0.01, 0.05)
    ]
    assert areas[0] == pytest.approx(areas[1], rel=0.01)


def test_the_cross_section_is_proportional_to_energy_and_volume() -> None:
    energy, imaginary = np.array([10.0, 20.0]), np.array([1e-5, 1e-5])
    one = cross_section(energy, imaginary, 100.0)
    assert one[1] == pytest.approx(2 * one[0])
    assert cross_section(energy, imaginary, 200.0) == pytest.approx(2 * one)


def test_lines_survive_being_stored() -> None:
    lines, more = parse_lines(LINES.to_bytes(volume=80.0, absorbers=1))
    assert more == {"volume": 80.0, "absorbers": 1.0}
    energy = np.linspace(9, 12, 100)
    assert lines.imaginary(energy, 0.02) == pytest.approx(LINES.imaginary(energy, 0.02), rel=1e-6)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b'{"energies": [1.0]}',
        json.dumps({"energies": [], "strengths": [], "prefactor": 1}).encode(),
        json.dumps({"energies": [1.0], "strengths": [1.0, 2.0], "prefactor": 1}).encode(),
    ],
)
def test_a_damaged_store_is_refused_by_name(content: bytes) -> None:
    with pytest.raises(CodeError) as refused:
        parse_lines(content)
    assert refused.value.name == "restart_damaged"


def _binary(folder: Path, kpoints: int, states: int, bands: int) -> tuple[np.ndarray, np.ndarray]:
    """Write the three binary files of a BSE without interaction, and return levels and momenta."""
    random = np.random.default_rng(3)
    levels = np.sort(random.uniform(0.5, 2.0, (kpoints, states)), axis=1)
    levels[:, 0] = -7.0
    momenta = random.normal(size=(kpoints, 3, states, states)) * (1 + 0.5j)
    point = np.zeros(3).tobytes() + np.array([states], "<i4").tobytes()
    (folder / "EVALSV.OUT").write_bytes(b"".join(point + row.tobytes() for row in levels))
    (folder / "PMAT.OUT").write_bytes(b"".join(point + row.tobytes() for row in momenta))
    size = kpoints * bands
    transitions = (levels[:, 1 : 1 + bands] + 7.0).ravel()
    records = [
        np.array([size], "<i4").tobytes(),
        transitions.tobytes(),
        np.eye(size, dtype="<c16").tobytes(),
    ]
    marks = [np.array([len(each)], "<i4").tobytes() for each in records]
    (folder / "EVBSE.OUT").write_bytes(
        b"".join(mark + each + mark for mark, each in zip(marks, records, strict=True))
    )
    return levels, momenta


def test_without_interaction_each_line_has_its_momentum_squared(tmp_path: Path) -> None:
    levels, momenta = _binary(tmp_path, kpoints=2, states=5, bands=3)
    lines = read_lines(tmp_path, 2, volume=50.0, fermi=0.0)
    assert lines.energies == pytest.approx((levels[:, 1:4] + 7.0).ravel())
    # Elk's order in the file: initial state runs fastest, then final state, then direction.
    from_core = np.abs(momenta[:, :, 1:4, 0]) ** 2
    expected = from_core.mean(axis=1).ravel() / lines.energies
    assert lines.strengths == pytest.approx(expected)
    assert lines.prefactor == pytest.approx(8 * np.pi / 100)


def test_files_of_another_run_give_no_lines(tmp_path: Path) -> None:
    _binary(tmp_path, kpoints=2, states=5, bands=3)
    with pytest.raises(ValueError, match="k-points"):
        read_lines(tmp_path, 5, volume=50.0, fermi=0.0)
    raw = (tmp_path / "EVBSE.OUT").read_bytes()
    (tmp_path / "EVBSE.OUT").write_bytes(raw[:-40])
    with pytest.raises(ValueError, match="length"):
        read_lines(tmp_path, 2, volume=50.0, fermi=0.0)


def test_both_parts_of_a_file_must_be_of_one_grid() -> None:
    rows = "".join(f"  {e:.6f}  1.0\n" for e in np.arange(0, 3, 0.1))
    table = imaginary_part(rows + "     \n" + rows, "file")
    assert table.shape == (30, 2)
    other = rows.replace("0.100000", "0.150000")
    with pytest.raises(CodeError) as refused:
        imaginary_part(rows + "     \n" + other, "file")
    assert refused.value.name == "output_foreign"
