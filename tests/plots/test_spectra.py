"""Documents become the figures that show them best."""

from __future__ import annotations

import numpy as np
import pytest

from nearedge.errors import SpectrumError
from nearedge.plots.figure import Curve, Role
from nearedge.plots.spectra import INTERVAL, figures, overlay_figure, prediction_figure
from nearedge.schemas import SpectrumDoc, SpectrumKind
from nearedge.schemas.spectrum import EnergyReference
from nearedge.spectra.spectrum import AbsorptionUnit

ENERGY = 4960.0 + np.arange(240) * 0.25


def document(
    name: str = "a", *, site: int | None = None, shift: float = 0.0, **fields: object
) -> SpectrumDoc:
    absorption = 0.5 + np.arctan(ENERGY - 4970 - shift) / np.pi
    absorption += 0.6 * np.exp(-(((ENERGY - 4985 - shift) / 4) ** 2))
    values: dict[str, object] = {
        "spectrum_id": f"{name}-{site}-{fields.get('code', '')}",
        "kind": SpectrumKind.AVERAGE if site is None else SpectrumKind.SITE,
        "structure_key": name,
        "structure_id": name,
        "formula": "Ti2O3",
        "elements": ["O", "Ti"],
        "absorber": "Ti",
        "edge": "K",
        "code": "feff",
        "code_version": "10",
        "protocol": "fast@1",
        "parameters_id": "p",
        "absorbing_index": site,
        "multiplicity": None if site is None else 2,
        "calculation_ids": ["c"],
        "energy": ENERGY.tolist(),
        "absorption": absorption.tolist(),
        "unit": AbsorptionUnit.NORMALIZED,
        "energy_reference": EnergyReference(kind="absolute", edge_energy=4970.0 + shift),
    }
    return SpectrumDoc(**(values | fields))


def test_a_crystals_sites_stand_thin_under_their_thick_average() -> None:
    (figure,) = figures([document(site=4), document(site=0), document()])
    assert [(c.label, c.role) for c in figure.curves] == [
        ("weighted average", Role.MAIN),
        ("site 0 (×2)", Role.DETAIL),
        ("site 4 (×2)", Role.DETAIL),
    ]
    assert figure.title == "Ti₂O₃, Ti K edge"


def test_an_incomplete_average_says_what_it_covers() -> None:
    (figure,) = figures([document(state="incomplete", covered=0.75), document(site=0)])
    assert figure.curves[0].label == "average of 75% of the absorbers"


def test_several_crystals_are_overlaid_by_their_averages_under_their_names() -> None:
    names = {"a": "corundum type", "b": "Ti2O3"}
    (figure,) = figures([document("a"), document("a", site=0), document("b")], names=names)
    assert [curve.label for curve in figure.curves] == ["corundum type (Ti₂O₃)", "Ti₂O₃"]


def test_absorbers_are_not_mixed_in_one_figure() -> None:
    drawn = figures([document(), document("b", absorber="O")])
    assert [figure.title for figure in drawn] == ["Ti₂O₃, O K edge", "Ti₂O₃, Ti K edge"]


def test_codes_are_named_and_the_shift_that_aligns_them_is_kept() -> None:
    other = document(code="ocean", shift=2.0, parameters_id="q")
    (figure,) = figures([document(), other], aligned=True, residuals=True)
    first, second = figure.curves
    assert (first.label, second.label) == ("FEFF fast@1", "OCEAN fast@1")
    assert second.shift == pytest.approx(-2.0, abs=0.02)
    assert second.edge_energy == pytest.approx(4970.0, abs=0.02)
    assert np.abs(figure.residuals[0].absorption).max() < 0.02


def test_counting_from_the_edge_aligns_edges() -> None:
    (figure,) = figures([document(), document("b", shift=2.0)], relative=True)
    peaks = [curve.energy[np.argmax(curve.absorption)] for curve in figure.curves]
    assert peaks[0] == pytest.approx(peaks[1], abs=0.25)


def test_units_are_converted_and_scales_that_nobody_stated_are_said_to_be_scaled() -> None:
    cross_section = document("b", unit=AbsorptionUnit.ANGSTROM2, normalization=0.5)
    figure = overlay_figure([document(normalization=0.5), cross_section])
    assert figure.curves[1].absorption.max() == pytest.approx(
        figure.curves[0].absorption.max() / 0.5
    )
    scaled = overlay_figure([document(), document("b", unit=AbsorptionUnit.ARBITRARY)])
    assert [curve.absorption.max() for curve in scaled.curves] == [1.0, 1.0]
    assert "scaled" in scaled.y_label


def test_nothing_to_plot_is_an_error() -> None:
    with pytest.raises(SpectrumError, match="no spectrum"):
        figures([])


def test_the_band_of_a_prediction_is_its_95_percent_interval() -> None:
    mean, std = np.ones(5), np.linspace(0.1, 0.5, 5)
    energy = np.arange(5.0)
    truth = Curve("computed", energy, np.full(5, 0.8))
    figure = prediction_figure("p", energy, mean, std, AbsorptionUnit.MILLIBOHR2, truth=truth)
    band = figure.curves[0].band
    assert band is not None
    np.testing.assert_allclose(band.high - band.low, 2 * INTERVAL * std)
    np.testing.assert_allclose(figure.residuals[0].absorption, 0.2)
    assert "10⁻³ a₀²" in figure.y_label
