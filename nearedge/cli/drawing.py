"""Figures as files, in the format that the file's name asks for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from nearedge.cli.files import written_whole
from nearedge.plots.figure import Figure


def write_figures(target: Path, title: str, figures: Sequence[Figure]) -> None:
    """Write `figures` to a file ending in .html or .png.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    with written_whole(target) as draft:
        if target.suffix.lower() == ".html":
            from nearedge.plots.html import figures_page

            draft.write_text(figures_page(title, figures), encoding="utf-8")
        else:
            from nearedge.plots.png import figures_png

            draft.write_bytes(figures_png(figures))
