"""The page of styles shows what the card says."""

from __future__ import annotations

import pytest

from nearedge.plots.figure import Figure
from nearedge.plots.report import report_html
from nearedge.plots.styles import score_rows, styles_report
from nearedge.schemas import GridDoc
from nearedge.schemas.model import Metric
from nearedge.schemas.styles import StylesDoc, StyleTrack
from nearedge.spectra.spectrum import AbsorptionUnit


def track(name: str, descriptor: list[float | None]) -> StyleTrack:
    spectra = [[0.0, 1.0, 1.0], [0.1, 1.2, 0.9]]
    return StyleTrack(
        style=name, values=[-1.5, 1.5], descriptor=descriptor, decoded=spectra, observed=spectra
    )


@pytest.fixture
def card() -> StylesDoc:
    judged = {
        "spearman_RSTD": Metric(value=0.81, low=0.7, high=0.9),
        "inter_style": Metric(value=0.12),
        "mae": Metric(value=0.031),
        "spectra": Metric(value=416),
    }
    return StylesDoc(
        styles_id="1" * 32,
        name="cu <i>",
        absorber="Cu",
        edge="K",
        code="feff",
        protocol="fast@1",
        dataset_id="2" * 32,
        unit=AbsorptionUnit.NORMALIZED,
        grid=GridDoc(start=8983.0, step=0.25, points=3),
        parts=["train"],
        part="val",
        options={"styles": 2},
        seed=0,
        scale=1.02,
        style_names=["RSTD", "free"],
        undefined={"RSTD": 7},
        training={**judged, "spearman_RSTD": Metric(value=0.9)},
        metrics=judged,
        correlations=[[1.0, -0.12], [-0.12, 1.0]],
        history={"rank": [0.1]},
        tracks=[track("RSTD", [0.01, 0.12]), track("free", [None, None])],
        training_rows=3340,
        cpu_seconds=60.0,
        code_version="0",
        weights_sha256="3" * 64,
    )


def test_scores_stand_beside_their_intervals(card: StylesDoc) -> None:
    (row,) = score_rows(card)
    assert row[1:] == ["0.810", "0.700 to 0.900", "0.900", "7"]


def test_each_style_has_its_spectra_labelled_by_the_descriptor(card: StylesDoc) -> None:
    sections = styles_report(card).sections
    figures = [block for section in sections for block in section.blocks if type(block) is Figure]
    assert len(figures) == 4
    assert [curve.label for curve in figures[0].curves] == [
        "−1.5: RSTD 0.01 Å",
        "+1.5: RSTD 0.12 Å",
    ]
    assert [curve.label for curve in figures[2].curves] == ["−1.5", "+1.5"]
    assert figures[0].curves[0].energy.tolist() == [8983.0, 8983.25, 8983.5]


def test_the_page_says_what_it_judged_on(card: StylesDoc) -> None:
    page = report_html(styles_report(card))
    assert "Figures are on the part val" in page
    assert "cu &lt;i&gt;" in page
    alone = card.model_copy(update={"metrics": {}, "part": None})
    assert "on the spectra that it learned from" in report_html(styles_report(alone))
    assert score_rows(alone)[0][1:3] == ["", ""]
