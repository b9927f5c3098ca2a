"""A convergence's page says what was chosen, what it rests on, and what failed."""

from __future__ import annotations

import numpy as np
import pytest

from nearedge.plots.convergence import (
    COLUMNS,
    convergence_report,
    set_options,
    step_rows,
    title,
    verdict,
    written,
)
from nearedge.plots.figure import ordered_colors
from nearedge.plots.report import report_html
from nearedge.plots.trend import Panel, Trend, to_plotly, trend_html
from nearedge.schemas import SpectrumDoc, SpectrumKind
from nearedge.schemas.convergence import (
    ConvergenceDoc,
    ConvergenceStep,
    ParameterConvergence,
    RaisedParameter,
    StepComparison,
    Thresholds,
)
from nearedge.schemas.spectrum import EnergyReference
from nearedge.spectra.spectrum import AbsorptionUnit

WHAT = {
    "structure_key": "key",
    "structure_id": "material",
    "formula": "TiO2",
    "elements": ["O", "Ti"],
    "absorber": "Ti",
    "edge": "K",
    "code": "feff",
    "code_version": "10",
    "protocol": "balanced@1",
}


def spectrum(name: str, fermi: float) -> SpectrumDoc:
    energy = 4960.0 + fermi + 0.5 * np.arange(140)
    return SpectrumDoc(
        **WHAT,
        spectrum_id=name,
        kind=SpectrumKind.SITE,
        parameters_id=name,
        absorbing_index=0,
        multiplicity=1,
        calculation_ids=[name],
        energy=energy.tolist(),
        absorption=(0.5 + np.arctan(energy - 4970 - fermi) / np.pi).tolist(),
        unit=AbsorptionUnit.NORMALIZED,
        energy_reference=EnergyReference(kind="absolute", edge_energy=4970.0, fermi_energy=fermi),
    )


def compared(agrees: bool, *, identical: bool = False) -> StepComparison:
    return StepComparison(
        with_value=4.0,
        spearman=0.9987,
        pearson=0.99,
        mse=0.0 if identical else 1e-3,
        shift=-0.25,
        edge_change=0.0,
        fermi_change=0.25,
        agrees=agrees,
        identical=identical,
    )


def step(value: float, comparison: StepComparison | None = None) -> ConvergenceStep:
    name = f"fms{value:g}"
    return ConvergenceStep(
        value=value,
        protocol=f"balanced@1+fms_radius={value}",
        calculation_id=name,
        spectrum_id=name,
        state="completed",
        cpu_seconds=10 * value,
        comparison=comparison,
    )


def document(steps: list[ConvergenceStep], verdict: str, chosen: float | None) -> ConvergenceDoc:
    fms = ParameterConvergence(
        name="fms_radius",
        unit="angstrom",
        values=[4.0, 5.0, 6.0],
        verdict=verdict,  # type: ignore[arg-type]
        chosen=chosen,
        steps=steps,
    )
    return ConvergenceDoc(
        **WHAT,
        convergence_id="c",
        label="some/where/a<b>.cif",
        absorbing_index=0,
        thresholds=Thresholds(spearman=0.99, mse=3e-3),
        window=35.0,
        parameters=[fms],
        state="finished",
        cpu_seconds=150.0,
    )


def failed(value: float) -> ConvergenceStep:
    return ConvergenceStep(
        value=value,
        protocol="p",
        calculation_id=f"failed{value:g}",
        state="scf_not_converged",
        message="It <oscillates>.",
    )


DONE = document([step(4.0), failed(5.0), step(6.0, compared(True))], "converged", 4.0)


def test_the_page_has_the_values_to_copy_the_steps_and_the_failures_as_text() -> None:
    spectra = {name: spectrum(name, fermi) for name, fermi in (("fms4", 0.0), ("fms6", 0.25))}
    page = report_html(convergence_report(DONE, spectra)).rpartition("<main>")[2]
    assert "<code>--set fms_radius=4</code>" in page
    assert "a&lt;b&gt;.cif" in page
    assert "some/where" not in page
    assert "It &lt;oscillates&gt;." in page
    assert "0.9987" in page
    assert page.count('id="figure-') == 2, "the spectra, and the trend"
    assert "4 Å (chosen) (+0.25 eV)" in page, "shifted onto the last"


def test_a_page_without_spectra_and_one_that_has_just_begun_can_be_read() -> None:
    page = report_html(convergence_report(DONE, {})).rpartition("<main>")[2]
    assert page.count('id="figure-') == 1
    begun = document([], "open", None)
    begun.state = "running"
    page = report_html(convergence_report(begun, {})).rpartition("<main>")[2]
    assert "still running" in page
    assert "--set" not in page


def test_the_sentence_says_what_it_rests_on() -> None:
    (fms,) = DONE.parameters
    assert verdict(fms) == (
        "fms_radius is converged at 4 Å: the spectrum at 6 Å agrees with it. Failed: 5 "
        "(scf_not_converged)."
    )
    same = document([step(4.0), step(5.0, compared(True, identical=True))], "converged", 4.0)
    assert "no higher value of the list changes" in verdict(same.parameters[0])
    never = document([step(4.0), step(5.0, compared(False))], "not_converged", 6.0)
    assert "not converged within 4, 5, 6; 6 Å" in verdict(never.parameters[0])
    assert "no value gave a spectrum" in verdict(document([], "failed", None).parameters[0])
    assert "1 of up to 3" in verdict(document([step(4.0)], "open", None).parameters[0])


def test_every_row_fills_every_column() -> None:
    rows = step_rows(DONE.parameters[0])
    assert {len(row) for row in rows} == {len(COLUMNS)}
    assert rows[2][COLUMNS.index("Shift (eV)")] == "−0.25"
    assert rows[2][COLUMNS.index("Fermi (eV)")] == "+0.25"


def test_values_are_written_as_they_are_typed() -> None:
    assert [written(v) for v in (4.0, 3, [2.0, 2.5], True)] == ["4", "3", "[2, 2.5]", "True"]
    assert written(4.0, "angstrom") == "4 Å"
    assert written(60.0, "Ry") == "60 Ry"
    assert set_options(DONE) == "--set fms_radius=4"
    assert title(DONE) == "FEFF on a<b>.cif (TiO₂), Ti K edge, site 0"


@pytest.mark.parametrize("values", [[1.0, 3.0, 2.0], [2.0, 2.0], ["a", "a"]])
def test_a_list_that_goes_back_is_no_list_to_raise(values: list[float]) -> None:
    with pytest.raises(ValueError, match=r"one way|twice"):
        RaisedParameter(name="p", values=values)


def test_ordered_colours_go_from_light_to_dark() -> None:
    def lightness(color: str) -> float:
        return sum(
            weight * int(color[n : n + 2], 16)
            for n, weight in ((1, 0.2126), (3, 0.7152), (5, 0.0722))
        )

    for count in (1, 2, 5, 9):
        shades = [lightness(color) for color in ordered_colors(count)]
        assert len(set(shades)) == count
        assert shades == sorted(shades, reverse=True)
    assert ordered_colors(0) == []


def test_a_trend_shows_points_and_threshold_and_leaves_out_what_a_logarithm_cannot() -> None:
    trend = Trend("T<", ["4", "5"], "radius (Å)", [Panel("MSE", [0.0, 1e-4], 1e-2, True)])
    drawn = to_plotly(trend)
    assert list(drawn.data[0].y) == [None, 1e-4]
    low, high = drawn.layout.yaxis.range
    assert low < -4
    assert high > -2
    assert "T&lt;" in trend_html(trend, "t")
    empty = to_plotly(Trend("T", ["4"], "x", [Panel("MSE", [None], None, True)]))
    assert empty.layout.yaxis.range is None
