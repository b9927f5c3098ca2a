"""The page of a benchmark."""

from __future__ import annotations

import numpy as np
import pytest

from nearedge.plots.benchmark import benchmark_report, mean_heatmap, structure_figure
from nearedge.plots.report import report_html
from nearedge.schemas.benchmark import (
    BenchmarkColumn,
    BenchmarkDoc,
    BenchmarkMean,
    BenchmarkPair,
    BenchmarkSpectrum,
    BenchmarkStructure,
)
from nearedge.spectra.spectrum import Spectrum


def edge(shift: float, scale: float) -> Spectrum:
    energy = np.linspace(4940, 5060, 600) + shift
    above = energy - shift - 4970
    return Spectrum(energy, scale * (0.5 + np.arctan(above) / np.pi))


SPECTRA = {"rutile": {"feff": edge(0, 1), "elk": edge(-4950, 7), "exp": edge(2, 300)}}


def pair(first: str, second: str, shift: float, spearman: float) -> BenchmarkPair:
    return BenchmarkPair(
        first=first,
        second=second,
        shift=shift,
        spearman=spearman,
        pearson=0.98,
        cosine=0.99,
        low=4960.0,
        high=4995.0,
        edge_difference=-0.25,
    )


def document() -> BenchmarkDoc:
    there = [BenchmarkSpectrum(column=label, state="completed") for label in ("feff", "elk", "exp")]
    failed = BenchmarkSpectrum(column="elk", state="core_not_found", message="No <1s> there.")
    rutile = BenchmarkStructure(
        label="rutile",
        structure_key="k",
        structure_id="i",
        formula="TiO2",
        spectra=there,
        pairs=[
            pair("feff", "elk", 4950, 0.87),
            pair("feff", "exp", -2, 0.96),
            pair("elk", "exp", -4952, 0.81).model_copy(update={"warning": "3.1 eV apart"}),
        ],
    )
    anatase = BenchmarkStructure(
        label="anatase",
        structure_key="k2",
        structure_id="i2",
        formula="TiO2",
        spectra=[there[0], failed, BenchmarkSpectrum(column="exp", state="missing")],
        pairs=[],
    )
    means = [
        BenchmarkMean(
            first=p.first,
            second=p.second,
            structures=1,
            spearman=p.spearman or 0,
            pearson=0.98,
            cosine=0.99,
            shift=p.shift or 0,
            shift_range=0,
        )
        for p in rutile.pairs
    ]
    return BenchmarkDoc(
        benchmark_id="b" * 32,
        absorber="Ti",
        edge="K",
        window=35,
        method="m",
        columns=[
            BenchmarkColumn(label="feff", kind="code", code="feff", protocol="fast@1"),
            BenchmarkColumn(label="elk", kind="code", code="elk", protocol="fast@1"),
            BenchmarkColumn(label="exp", kind="reference"),
        ],
        structures=[rutile, anatase],
        means=means,
    )


def test_the_page_tells_what_is_missing_and_what_is_doubtful() -> None:
    whole = report_html(benchmark_report(document(), SPECTRA))
    page = whole.rpartition("<main>")[2]
    for told in (
        "anatase by elk",
        "core_not_found. No &lt;1s&gt; there.",
        "No file was given of exp.",
        "3.1 eV apart",
        "0.870\n1 structure",
        "elk fast@1 (+4950.00 eV)",
        "b" * 32,
    ):
        assert told in page.replace("\\u2212", "−"), told
    assert "http://" not in page
    assert "https://" not in page


def test_the_mean_matrix_is_whole_and_leaves_open_what_was_not_compared() -> None:
    some = document()
    heatmap = mean_heatmap(some)
    values = [[None if cell is None else cell[0] for cell in row] for row in heatmap.cells]
    assert values == [[1, 0.87, 0.96], [0.87, 1, 0.81], [0.96, 0.81, 1]]
    assert heatmap.low == pytest.approx(0.81)
    fewer = some.model_copy(update={"means": some.means[:1]})
    assert mean_heatmap(fewer).cells[2] == [None, None, None]


def test_overlays_lie_on_each_other_scaled_and_with_differences_below() -> None:
    some = document()
    figure = structure_figure(some, some.structures[0], SPECTRA["rutile"])
    assert figure is not None
    assert [curve.shift for curve in figure.curves] == [None, 4950, -2]
    for curve in figure.residuals:
        assert np.abs(curve.absorption).max() < 0.02
    assert len(figure.residuals) == 2
    (low, high) = figure.x_range or (0, 0)
    assert low < 4970 < high


def test_of_one_spectrum_there_is_no_overlay() -> None:
    some = document()
    assert structure_figure(some, some.structures[1], {"feff": edge(0, 1)}) is None
    assert structure_figure(some, some.structures[1], {}) is None
