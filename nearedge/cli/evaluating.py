"""Judging models and writing the page about them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from nearedge.cli.files import written_whole
from nearedge.makers.learning.evaluate import EvaluateOutcome
from nearedge.makers.learning.report import comparisons, judged_models
from nearedge.plots.evaluation import evaluation_report
from nearedge.plots.report import report_html
from nearedge.settings import Settings
from nearedge.store.connection import connect


def write_evaluation(
    target: Path,
    models: Sequence[str],
    settings: Settings,
    *,
    dataset: str | None,
    part: str | None,
    curve_steps: int,
) -> list[EvaluateOutcome]:
    """Judge models, write the page about them, and return their figures.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    found = judged_models(connect(settings), models, dataset, part, curve_steps=curve_steps)
    judged = [model for _, model in found]
    page = report_html(evaluation_report(judged, comparisons(judged)))
    with written_whole(target) as draft:
        draft.write_text(page, encoding="utf-8")
    return [outcome for outcome, _ in found]
