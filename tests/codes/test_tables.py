"""Tables of strangers' outputs are read as Fortran writes them, and mistrusted."""

from __future__ import annotations

import numpy as np
import pytest

from nearedge.codes.tables import isotropic, read_table
from nearedge.errors import CodeError


def rows(count: int = 25, second: str = "0.5") -> list[str]:
    return [f"  {n:.1f}  {second}  7" for n in range(count)]


def text(lines: list[str]) -> str:
    return "\n".join(lines) + "\n"


def test_comments_and_further_columns_are_left_out() -> None:
    table = read_table(text(["# energy", "", *rows()]), name="x", columns=2)
    assert table.shape == (25, 2)
    assert table[3].tolist() == [3.0, 0.5]


@pytest.mark.parametrize(
    ("word", "value"), [("0.5D-03", 0.5e-3), ("0.123-101", 0.123e-101), ("-1.5E+02", -150.0)]
)
def test_numbers_are_those_of_fortran(word: str, value: float) -> None:
    lines = [*rows(), f"30.0 {word} 7"]
    assert read_table(text(lines), name="x", columns=2)[-1, 1] == value


@pytest.mark.parametrize(
    ("content", "name"),
    [
        ("", "output_empty"),
        ("# titles only\n", "output_empty"),
        (text(rows(5)), "output_truncated"),
        (text(rows())[:-1], "output_truncated"),
        (text([*rows(), "30.0 0.5"]), "output_truncated"),
        (text([*rows(), "30.0 0.5", "31.0 0.5 7"]), "output_foreign"),
        (text([*rows(), "30.0 NaN 7"]), "output_not_finite"),
        (text([*rows(), "30.0 1E999 7"]), "output_not_finite"),
        (text([*rows(), "30.0 ****** 7"]), "output_not_finite"),
        (text([*rows(), "30.0 none 7"]), "output_foreign"),
        (text([*rows(), "1.0 0.5 7"]), "output_not_increasing"),
        (text(["1.0"] * 25), "output_foreign"),
    ],
)
def test_what_is_no_table_is_named(content: str, name: str) -> None:
    with pytest.raises(CodeError) as raised:
        read_table(content, name="x.dat", columns=2)
    assert raised.value.name == name
    assert "x.dat" in raised.value.message


def test_the_isotropic_mean_is_weighted() -> None:
    first, second = np.array([[0.0, 1.0], [1.0, 2.0]]), np.array([[0.0, 3.0], [1.0, 6.0]])
    energy, mean = isotropic({"a": first, "b": second})
    assert (energy.tolist(), mean.tolist()) == ([0, 1], [2, 4])
    assert isotropic({"a": first, "b": second}, {"a": 3.0, "b": 1.0})[1].tolist() == [1.5, 3.0]


def test_polarisations_on_other_grids_are_not_averaged() -> None:
    first = np.array([[0.0, 1.0], [1.0, 2.0]])
    with pytest.raises(CodeError) as raised:
        isotropic({"a": first, "b": first[:1]})
    assert raised.value.name == "output_truncated"
    with pytest.raises(CodeError) as raised:
        isotropic({"a": first, "b": first + np.array([0.5, 0.0])})
    assert raised.value.name == "output_foreign"
