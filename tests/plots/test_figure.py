from __future__ import annotations

import numpy as np
import pytest

from nearedge.errors import SpectrumError
from nearedge.plots.figure import (
    PALETTE,
    Curve,
    Figure,
    Role,
    pretty_formula,
    signed,
    unique_labels,
)


def curve(label: str, start: float = 0.0, **fields: object) -> Curve:
    energy = start + np.arange(5.0)
    return Curve(label, energy, energy**2, **fields)  # type: ignore[arg-type]


def test_residuals_are_taken_where_both_curves_have_values_and_keep_the_sign() -> None:
    figure = Figure("t", (curve("a"), curve("b", 2.0)), "mu").with_residuals("a")
    (difference,) = figure.residuals
    assert difference.energy.tolist() == [2.0, 3.0, 4.0]
    np.testing.assert_allclose(difference.absorption, 0.0, atol=1e-12)

    above = Curve("c", np.array([0.0, 4.0]), np.array([20.0, 20.0]))
    (difference,) = Figure("t", (curve("a"), above), "mu").with_residuals("a").residuals
    np.testing.assert_allclose(difference.absorption, 20.0 - np.arange(5.0) ** 2)


def test_residuals_from_a_curve_that_is_not_there_are_refused() -> None:
    with pytest.raises(SpectrumError, match="'nobody'"):
        Figure("t", (curve("a"),), "mu").with_residuals("nobody")


def test_energies_count_from_each_curves_own_edge() -> None:
    figure = Figure("t", (curve("a", edge_energy=1.0), curve("b", 10.0, edge_energy=12.0)), "mu")
    relative = figure.counted_from_edge()
    assert [c.energy[0] for c in relative.curves] == [-1.0, -2.0]
    assert relative.x_label == "E − E_edge (eV)"
    assert relative.counted_from_edge() is relative


def test_a_curve_without_an_edge_is_named_when_energies_shall_count_from_it() -> None:
    with pytest.raises(SpectrumError, match="measured"):
        Figure("t", (curve("measured"),), "mu").counted_from_edge()


def test_no_two_of_many_curves_look_the_same() -> None:
    curves = tuple(curve(f"c{n}") for n in range(3 * len(PALETTE)))
    styles = Figure("t", curves, "mu").styles()
    assert len({(style.color, style.dash) for style in styles.values()}) == len(curves)


def test_the_main_curve_is_the_thickest() -> None:
    styles = Figure("t", (curve("s", role=Role.DETAIL), curve("m", role=Role.MAIN)), "mu").styles()
    assert styles["m"].width > styles["s"].width


def test_the_shift_is_printed_in_the_label_with_its_sign() -> None:
    assert curve("OCEAN", shift=-0.349).legend == "OCEAN (−0.35 eV)"
    assert signed(1.2) == "+1.20"


@pytest.mark.parametrize(
    ("formula", "pretty"),
    [("Ti2O3", "Ti₂O₃"), ("Cu(OH)2", "Cu(OH)₂"), ("O12", "O₁₂"), ("2D", "2D")],
)
def test_formulas_get_subscripts(formula: str, pretty: str) -> None:
    assert pretty_formula(formula) == pretty


def test_labels_that_repeat_are_numbered() -> None:
    assert unique_labels(["a", "b", "a"]) == ["a", "b", "a · 2"]
