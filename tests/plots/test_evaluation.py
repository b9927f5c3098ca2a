"""The page about models says what was measured, beside what was published."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np

from nearedge.plots.chart import Chart, Series, to_plotly
from nearedge.plots.evaluation import evaluation_report
from nearedge.plots.report import report_html
from nearedge.schemas.evaluation import Comparison, DistanceBin, LearningPoint
from nearedge.schemas.judged import JudgedModel
from nearedge.schemas.model import Metric
from nearedge.spectra.spectrum import AbsorptionUnit

COUNT, POINTS = 40, 12


def judged(name: str, *, calibrated: bool = True) -> JudgedModel:
    generator = np.random.default_rng(0)
    targets = 1 + generator.normal(size=(COUNT, POINTS)) ** 2
    mean = targets + 0.1 * generator.normal(size=targets.shape)
    std = np.full_like(targets, 0.1)
    errors = np.mean((targets - mean) ** 2, axis=1)
    eta, small = Metric(value=5.43, low=4.4, high=6.5), Metric(value=0.0098)
    return JudgedModel(
        name=name,
        element="Cu",
        code="feff",
        head="kernel",
        dataset="cu",
        part="val",
        unit=AbsorptionUnit.MILLIBOHR2,
        energies=np.arange(POINTS) + 8983.0,
        labels=[f"mp-{n}_000" for n in range(COUNT)],
        groups=[f"mp-{n}" for n in range(COUNT)],
        targets=targets,
        mean=mean,
        std=std,
        half_widths=[std, 2 * std] if calibrated else None,
        errors=errors,
        distance=np.linspace(0, 1, COUNT),
        bound=np.sqrt(errors) * np.where(np.arange(COUNT) < 4, 0.5, 2.0) if calibrated else None,
        outside=np.arange(COUNT) > 37,
        rows=3340,
        metrics={"eta": eta, "median_mse": small, "mean_mse": small, "curated_eta": eta},
        apart={"eta": Metric(value=4.87)},
        bins=[DistanceBin(low=0, high=1, spectra=40, eta=eta, median_mse=small, mean_mse=small)],
        deciles=list(range(2, 38, 4)),
        curve=[
            LearningPoint(rows=n, materials=n // 2, eta=eta, mean_mse=small) for n in (400, 800)
        ],
    )


def text(page: str) -> str:
    return page.rpartition("<main>")[2]  # plotly.js before it holds every kind of text


def test_the_page_holds_scores_intervals_and_what_was_published() -> None:
    page = text(report_html(evaluation_report([judged("mine")])))
    for said in ("5.43 [4.4, 6.5]", "5.19 / 2.75 / 4.81", "4.87", "9.8", "90.0 %", "mp-2_000"):
        assert said in page, said
    headings = re.findall(r"<h2>(.*?)</h2>", page)
    assert "More data" in headings
    assert "Models against each other" not in headings
    assert page.count("Plotly.newPlot") == 6


def test_learning_curves_are_drawn_against_materials_with_their_intervals() -> None:
    (section,) = [
        s for s in evaluation_report([judged("mine")]).sections if s.heading == "More data"
    ]
    eta, error = section.blocks
    assert isinstance(eta, Chart)
    assert isinstance(error, Chart)
    assert eta.x_label == "Training materials"
    assert (eta.series[0].x, eta.series[0].notes) == (
        [200.0, 400.0],
        ["400 spectra", "800 spectra"],
    )
    assert (eta.series[0].low, eta.series[0].high) == ([4.4, 4.4], [6.5, 6.5])
    assert list(to_plotly(eta).layout.xaxis.ticktext) == ["200", "400"]
    assert error.series[0].y != eta.series[0].y
    without = evaluation_report([replace(judged("mine"), curve=[])])
    assert "More data" not in [each.heading for each in without.sections]


def test_a_pair_is_told_apart_only_where_its_interval_says_so() -> None:
    clear = Comparison(
        eta_ratio=Metric(value=1.3, low=1.1, high=1.5),
        mean_difference=Metric(value=-0.001, low=-0.002, high=-0.0005),
    )
    chance = clear.model_copy(update={"eta_ratio": Metric(value=1.3, low=0.9, high=1.5)})
    models = [judged("a"), judged("b", calibrated=False)]
    page = text(report_html(evaluation_report(models, [("a", "b", clear), ("b", "c", chance)])))
    assert "a against b" in page
    assert "−0.001 [−0.002, −0.0005]" in page
    assert page.count("the first is better") == 1
    assert page.count("no difference shown") == 1


def test_names_of_models_are_text_and_not_markup() -> None:
    page = text(report_html(evaluation_report([judged("<b>mine</b>")])))
    assert "<b>mine" not in page


def test_series_share_a_colour_where_they_are_told_to() -> None:
    chart = Chart(
        "t",
        "x",
        "y",
        [
            Series("ideal", [0.0, 1.0], [0.0, 1.0], reference=True),
            Series("one", [1.0], [2.0], [1.5], [None]),
            Series("two", [1.0], [2.0]),
            Series("one, again", [1.0], [2.0], like="one"),
        ],
    )
    colors = [trace.marker.color for trace in to_plotly(chart).data]
    assert colors[1] == colors[3]
    assert len(set(colors)) == 3
    assert to_plotly(chart).data[1].error_y.array == (None,)
