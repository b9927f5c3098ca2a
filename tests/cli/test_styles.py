"""`styles`: from a frozen data set to a page."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from nearedge.settings import get_settings
from nearedge.store.connection import connect
from nearedge.store.operations import MongoDatabase

from .conftest import Command

QUICK = [
    *("--descriptors", "MOOD", "--set", "styles=2", "--set", "width=8", "--set", "epochs=2"),
    *("--set", "points=0", "--set", "batch=8"),
]


@pytest.mark.parametrize(
    ("arguments", "code", "reason"),
    [
        (("train", "cu", "--set", "epochs"), 2, "NAME=NUMBER"),
        (("train", "cu", "--set", "epochs=many"), 2, "NAME=NUMBER"),
        (("train", "cu", "--set", "depth=3"), 1, "option depth is refused"),
        (("plot", "cu", "-o", "cu.png"), 2, ".html"),
    ],
)
def test_what_is_asked_wrongly_is_said(
    nearedge: Command, arguments: tuple[str, ...], code: int, reason: str
) -> None:
    said = nearedge("styles", *arguments)
    assert said.code == code
    assert reason in said.err


@pytest.mark.integration
@pytest.mark.usefixtures("ready")
def test_styles_of_several_seeds_are_trained_listed_shown_and_drawn(
    nearedge: Command, copper_oxides: Callable[[MongoDatabase, int], None], tmp_path: Path
) -> None:
    copper_oxides(connect(get_settings()), 12)
    nearedge("dataset", "create", "cu", "--absorber", "Cu", "--validation", "0.3", "--test", "0")
    trained = nearedge("styles", "train", "cu", "--seeds", "2", *QUICK)
    assert trained.code == 0, trained.err
    assert [line.split()[0] for line in trained.out.splitlines()[:5]] == [
        *("Seed", "0", "1", "mean", "deviation")
    ]
    assert [each["seed"] for each in nearedge("styles", "list", "--json").json] == [1, 0]
    assert nearedge("styles", "list").out.endswith("2 sets of styles.\n")
    shown = nearedge("styles", "show", "cu", "--json").json
    assert (shown["seed"], shown["part"], shown["style_names"]) == (1, "val", ["MOOD", "free"])
    assert "MOOD, least distance between two neighbours" in nearedge("styles", "show", "cu").out
    page = tmp_path / "cu.html"
    assert nearedge("styles", "plot", "cu", "-o", page).code == 0
    assert "Decoded along MOOD" in page.read_text()
