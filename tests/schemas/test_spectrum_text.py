"""Spectra of other people are read, or refused in a sentence."""

from __future__ import annotations

import numpy as np
import pytest

from nearedge.errors import SpectrumError
from nearedge.schemas import SpectrumDoc
from nearedge.schemas.spectrum_text import read_spectrum_text
from nearedge.schemas.xdi import to_xdi

ROWS = [(4960 + 0.5 * n, float(n**2)) for n in range(20)]


@pytest.mark.parametrize("between", [" ", "\t", ", ", ";"])
def test_two_columns_are_read_whatever_separates_them(between: str) -> None:
    text = "# energy mu\n\n" + "\n".join(f"{e}{between}{a}  # point" for e, a in ROWS)
    spectrum = read_spectrum_text(text)
    assert spectrum.energy.tolist() == [e for e, _ in ROWS]
    assert spectrum.absorption.tolist() == [a for _, a in ROWS]


def test_rows_out_of_order_are_sorted_and_repeated_energies_averaged() -> None:
    shuffled = [*ROWS[10:], *ROWS[:10], (4960.0, 4.0)]
    spectrum = read_spectrum_text("\n".join(f"{e} {a}" for e, a in shuffled))
    assert np.all(np.diff(spectrum.energy) > 0)
    assert spectrum.absorption[0] == 2.0
    assert spectrum.absorption[1:].tolist() == [a for _, a in ROWS[1:]]


def test_xdi_is_recognised(site: SpectrumDoc) -> None:
    spectrum = read_spectrum_text(to_xdi(site))
    assert spectrum.energy.tolist() == site.energy
    assert spectrum.absorption.tolist() == site.absorption


GOOD = "\n".join(f"{e} {a}" for e, a in ROWS)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "0 rows"),
        ("1 2\n3 4", "2 rows of two numbers"),
        ("energy mu\n" + GOOD, "line 1 is not two numbers: 'energy mu'"),
        (GOOD + "\n1 2 3", "line 21 is not two columns but 3"),
        (GOOD + "\n5000 nan", "line 21 is not finite"),
        ("PK\x03\x04 binary", "line 1 is not two numbers"),
        ("# XDI/1.0\n# Column.1: angle\n# ---\n1 2\n2 3", "no energy column"),
    ],
)
def test_what_is_no_spectrum_is_refused_with_the_line(text: str, reason: str) -> None:
    with pytest.raises(SpectrumError, match=reason):
        read_spectrum_text(text)
