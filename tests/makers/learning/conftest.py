"""A small data set's database, which the makers that learn find by themselves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nearedge.settings import get_settings
from nearedge.store.spectra_store import SpectraStore

from .copper import MATERIALS, LatticeFeaturizer, record

ROOM = "nearedge.makers.learning"


@pytest.fixture
def database(
    memory_database: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Any]:
    """A database with one Cu site of each of twelve materials, and makers that use it."""
    database = memory_database
    LatticeFeaturizer.calls = 0
    # Intervals of a few rows are nobody's business here, and take most of the time.
    monkeypatch.setattr("nearedge.models.metrics.BOOTSTRAPS", 50)
    monkeypatch.setenv("NEAREDGE_HOME", str(tmp_path / "home"))
    get_settings.cache_clear()
    SpectraStore(database).record_many(
        record(f"mp-{i}", round(4.0 + 0.05 * i, 3)) for i in range(MATERIALS)
    )
    featurizer = LatticeFeaturizer()
    for module in (
        "featurize",
        "freeze",
        "train",
        "evaluate",
        "predict",
        "search",
        "lower_fidelity",
    ):
        monkeypatch.setattr(f"{ROOM}.{module}.connect", lambda: database)
    for module in ("featurize", "train", "predict", "search"):
        monkeypatch.setattr(f"{ROOM}.{module}.featurizer_of", lambda name: featurizer)
    yield database
    get_settings.cache_clear()
