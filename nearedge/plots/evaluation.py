"""How good models are, as a report: scores, curves, spectra, error bars and comparisons."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from nearedge import __version__
from nearedge.plots.chart import Chart, Series
from nearedge.plots.figure import absorption_label
from nearedge.plots.panels import Panels, SpectrumPanel
from nearedge.plots.published import PUBLISHED_ETA, PUBLISHED_KINDS
from nearedge.plots.report import Block, Report, Section, Table, Text, Tiles
from nearedge.plots.trust import gaussian_half_width, rank_correlation, share_inside
from nearedge.schemas.evaluation import Comparison, LearningPoint
from nearedge.schemas.judged import LEFT_OUT, JudgedModel
from nearedge.schemas.model import Metric

_LEVELS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.68, 0.8, 0.9, 0.95, 0.99)
_MOST_POINTS = 4000
"""Points of a cloud; of more, every so-many-th is drawn."""


def evaluation_report(
    models: Sequence[JudgedModel],
    comparisons: Sequence[tuple[str, str, Comparison]] = (),
    notices: Sequence[str] = (),
) -> Report:
    """Return the page about some models.

    Parameters
    ----------
    models
        At least one.
    comparisons
        Two names each, and how the models compare on the same spectra.
    notices
        What the reader should know first.
    """
    sections = [Section("Scores", _scores(models))]
    if comparisons:
        sections.append(Section("Models against each other", _compared(comparisons)))
    curves = _learning(models)
    if curves:
        sections.append(Section("More data", curves))
    sections += [
        Section("How far error bars can be trusted", _trust(models)),
        Section("Far from what was learned", _distances(models)),
        Section("From the best to the worst", [_deciles(model) for model in models]),
    ]
    parts = ", ".join(dict.fromkeys(f"{m.part} of {m.dataset}" for m in models))
    return Report(
        title=f"Evaluation: {', '.join(dict.fromkeys(m.name for m in models))}",
        lead=f"Judged on spectra of materials that were not learned: {parts}.",
        opening=[Tiles(_tiles(models)), *(Text(notice, notice=True) for notice in notices)],
        sections=sections,
        footer=f"Made by nearedge {__version__}. This page needs no network.",
    )


def _tiles(models: Sequence[JudgedModel]) -> list[tuple[str, str]]:
    best = max(models, key=lambda model: model.metrics["eta"].value)
    tiles = [
        ("Models", str(len(models))),
        ("Spectra", str(sum({m.dataset + m.part: len(m.labels) for m in models}.values()))),
        ("Highest η", f"{best.metrics['eta'].value:.3g}"),
    ]
    if len(models) > 1:
        tiles.append(("reached by", best.name))
    return tiles


def _scores(models: Sequence[JudgedModel]) -> list[Block]:
    rows, more = [], []
    for model in models:
        published = PUBLISHED_ETA.get((model.element, model.code))
        rows.append(
            [
                model.name,
                model.kind,
                model.head,
                str(model.rows),
                str(len(model.labels)),
                _text(model.metrics["eta"]),
                "" if published is None else " / ".join(_or_dash(value) for value in published),
            ]
        )
        curated = model.metrics.get("curated_eta")
        more.append(
            [
                model.name,
                model.kind,
                "" if curated is None else _text(curated),
                _text(model.apart["eta"]) if model.apart else "",
                _text(model.metrics["median_mse"], 1000),
                _text(model.metrics["mean_mse"], 1000),
            ]
        )
    columns = ("Model", "Spectra of", "Head", "Learned", "Judged on", "η", "η published")
    caption = (
        "η is the median error of always predicting the training mean, over the model's: higher is "
        "better. In brackets 95 % of bootstrap samples of whole materials."
    )
    columns_more = (
        "Model", "Spectra of", "η without outliers", "η, no near duplicates",
        "Median MSE (10⁻³)", "Mean MSE (10⁻³)",
    )  # fmt: skip
    caption_more = (
        "The median flatters: η without outliers and without sites that are nearly in the training "
        "set, and the mean error beside the median."
    )
    return [
        Table(columns, rows, caption, frozenset(range(3, 7))),
        _score_chart(models),
        Text(
            "Published: OmniXAS, arXiv:2409.19552, by networks of "
            f"{' / '.join(PUBLISHED_KINDS)}, on its authors' test spectra and without outliers. "
            "Only scores on the same spectra can be compared to the last digit."
        ),
        Table(columns_more, more, caption_more, frozenset(range(2, 6))),
    ]


def _score_chart(models: Sequence[JudgedModel]) -> Chart:
    kinds = list(dict.fromkeys((model.element, model.code) for model in models))
    series = []
    for name in dict.fromkeys(model.name for model in models):
        own = [model for model in models if model.name == name]
        etas = [model.metrics["eta"] for model in own]
        series.append(
            Series(
                name,
                [model.kind for model in own],
                [eta.value for eta in etas],
                [eta.low for eta in etas],
                [eta.high for eta in etas],
            )
        )
    for number, (label, symbol) in enumerate(
        zip(PUBLISHED_KINDS, ("diamond-open", "square-open", "star-open"), strict=True)
    ):
        known = [
            (f"{kind[0]} {kind[1].upper()}", value)
            for kind in kinds
            if kind in PUBLISHED_ETA
            for value in (PUBLISHED_ETA[kind][number],)
            if value is not None
        ]
        if known:
            names, values = zip(*known, strict=True)
            series.append(
                Series(f"published, {label}", names, values, symbol=symbol, reference=True)
            )
    return Chart(
        "η by element and model",
        "Spectra of",
        "η",
        series,
        caption="Bars are 95 % intervals by bootstrap over materials.",
    )


def _compared(comparisons: Sequence[tuple[str, str, Comparison]]) -> list[Block]:
    rows = [
        [
            f"{first} against {second}",
            _text(found.eta_ratio),
            _text(found.mean_difference),
            _verdict(found),
        ]
        for first, second, found in comparisons
    ]
    caption = (
        "On the same spectra, drawing whole materials 2000 times: an interval without 1 (of "
        "ratios) or 0 (of differences) shows a difference that is not chance."
    )
    columns = ("Models", "Ratio of η", "Difference of mean MSE", "So")
    return [Table(columns, rows, caption, frozenset({1, 2}))]


def _verdict(found: Comparison) -> str:
    ratio = found.eta_ratio
    if ratio.low is not None and ratio.low > 1:
        return "the first is better"
    if ratio.high is not None and ratio.high < 1:
        return "the second is better"
    return "no difference shown"


def _learning(models: Sequence[JudgedModel]) -> list[Block]:
    drawn = [model for model in models if model.curve]
    if not drawn:
        return []
    nested = "Each step has twice the materials of the one before, and all of its."
    return [
        _curves(drawn, "Learning curve", "η", lambda point: point.eta, nested),
        _curves(
            drawn,
            "Error with more data",
            "Mean squared error",
            lambda point: point.mean_mse,
            "Of the same models: a mean, which the worst spectra decide.",
        ),
    ]


def _curves(
    models: Sequence[JudgedModel],
    title: str,
    label: str,
    figure: Callable[[LearningPoint], Metric],
    caption: str,
) -> Chart:
    """Return a chart of a figure against the number of materials that were learned."""
    series = []
    for model in models:
        found = [figure(point) for point in model.curve]
        series.append(
            Series(
                f"{model.name} {model.kind}",
                [float(point.materials) for point in model.curve],
                [metric.value for metric in found],
                [metric.low for metric in found],
                [metric.high for metric in found],
                drawn="lines+markers",
                notes=[f"{point.rows} spectra" for point in model.curve],
            )
        )
    return Chart(
        title,
        "Training materials",
        label,
        series,
        caption=caption,
        x_logarithmic=True,
        y_logarithmic=True,
    )


def _trust(models: Sequence[JudgedModel]) -> list[Block]:
    ideal = Series("as promised", [0.0, 1.0], [0.0, 1.0], drawn="lines", reference=True)
    series = [
        Series(
            f"{model.name} {model.kind}",
            _LEVELS,
            [share_inside(model, gaussian_half_width(model, level)) for level in _LEVELS],
            drawn="lines+markers",
        )
        for model in models
    ]
    for model in models:
        if model.half_widths is not None:
            shares = [share_inside(model, half_width) for half_width in model.half_widths]
            series.append(
                Series(
                    f"{model.name} {model.kind}, intervals",
                    [0.68, 0.95],
                    shares,
                    symbol="diamond-open",
                    like=f"{model.name} {model.kind}",
                )
            )
    rows = [
        [
            model.name,
            model.kind,
            *_coverage(model),
            ""
            if model.bound is None
            else f"{100 * np.mean(np.sqrt(model.errors) <= model.bound):.1f} %",
            _or_dash(rank_correlation(model), ".2f"),
        ]
        for model in models
    ]
    columns = ("Model", "Spectra of", "In 68 %", "In 95 %", "Below the bound", "Spearman")
    caption = (
        "Shares of points inside the intervals, and of spectra whose root-mean-square error is "
        "below the bound of 95 %; rank correlation of predicted with true error."
    )
    if any(model.part == LEFT_OUT for model in models):
        caption += (
            " Of training rows left out in turn these prove little: they were fitted to them."
        )
    return [
        Table(columns, rows, caption, frozenset({2, 3, 4, 5})),
        Chart(
            "Coverage",
            "Promised share of points",
            "Share of points inside",
            [ideal, *series],
            caption=(
                "Lines: intervals of a Gaussian with the stated standard deviation. Diamonds: the "
                "calibrated intervals of 68 and 95 %."
            ),
            square=True,
        ),
    ]


def _distances(models: Sequence[JudgedModel]) -> list[Block]:
    blocks: list[Block] = []
    clouds = []
    for model in models:
        step = -(-len(model.labels) // _MOST_POINTS)
        name = f"{model.name} {model.kind}"
        for outside in (False, True):
            chosen = [int(n) for n in np.flatnonzero(model.outside == outside)[::step]]
            if chosen:
                clouds.append(
                    Series(
                        f"{name}, outside" if outside else name,
                        [max(float(model.distance[n]), 1e-3) for n in chosen],
                        [float(model.errors[n]) for n in chosen],
                        symbol="x" if outside else "circle",
                        notes=[model.labels[n] for n in chosen],
                        like=name,
                    )
                )
        rows = [
            [
                f"{each.low:.3f} to {each.high:.3f}",
                str(each.spectra),
                _text(each.eta),
                _text(each.median_mse, 1000),
                _text(each.mean_mse, 1000),
            ]
            for each in model.bins
        ]
        columns = ("Distance", "Spectra", "η", "Median MSE (10⁻³)", "Mean MSE (10⁻³)")
        folded = len(models) > 2
        blocks.append(Table(columns, rows, f"{name}, by distance", frozenset(range(1, 5)), folded))
    cloud = Chart(
        "Error against distance to the training set",
        "Mean difference of features from the nearest training site (standard deviations)",
        "Mean squared error",
        clouds,
        caption=(
            "Each point is a spectrum. Crosses were marked as outside what the model learned, "
            "before anybody knew the error."
        ),
        x_logarithmic=True,
        y_logarithmic=True,
    )
    return [cloud, *blocks]


def _deciles(model: JudgedModel) -> Panels:
    panels = [
        SpectrumPanel(
            f"{10 * place} %: {model.labels[row]}, MSE {model.errors[row]:.2g}",
            model.energies,
            model.targets[row],
            model.mean[row],
            1.96 * model.std[row] if model.half_widths is None else model.half_widths[1][row],
        )
        for place, row in enumerate(model.deciles, start=1)
    ]
    return Panels(
        f"{model.name} {model.kind}: spectra at the deciles of the error",
        absorption_label(model.unit),
        panels,
        "95 % interval",
        caption="So many per cent of the spectra are predicted better than the one shown.",
    )


def _coverage(model: JudgedModel) -> list[str]:
    widths = model.half_widths
    if widths is None:
        widths = [gaussian_half_width(model, level) for level in (0.68, 0.95)]
    return [f"{100 * share_inside(model, width):.1f} %" for width in widths]


def _or_dash(value: float | None, digits: str = "g") -> str:
    return "–" if value is None else f"{value:{digits}}"


def _text(metric: Metric, factor: float = 1.0) -> str:
    if metric.low is None or metric.high is None:
        return f"{factor * metric.value:.3g}"
    low, high = factor * metric.low, factor * metric.high
    return f"{factor * metric.value:.3g} [{low:.3g}, {high:.3g}]".replace("-", "−")
