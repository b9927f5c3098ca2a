"""A pack that is killed or asked to end: what it had computed is not computed again."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from nearedge.makers.leftover import RESULT
from nearedge.schemas import COMPLETED
from nearedge.store.queries import CalculationQuery, SpectrumQuery
from nearedge.structures.source import LoadedStructure
from nearedge.workflows.campaign import submit

if TYPE_CHECKING:
    from tests.faults.conftest import Site

Molecule = Callable[[str], LoadedStructure]

pytestmark = [pytest.mark.integration, pytest.mark.slow]

_ALL_ARE_KEPT = """
from nearedge.makers import packed_sites
packed_sites.KEEP_SECONDS = 0.0
packed_sites.STORE_SECONDS = 1e6
"""


def seconds_of(result: Path) -> float:
    """Return how long the run took whose result lies on the disk."""
    return float(json.loads(result.read_text())["calculation"]["wall_seconds"])


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "asked to end"])
def test_what_a_pack_has_computed_is_kept_and_nothing_is_there_twice(
    site: Site, molecule: Molecule, how: signal.Signals
) -> None:
    loaded = [molecule(formula) for formula in ("CO", "CCO", "OCO")]
    report = submit(loaded, absorber="C", project="p", pack=10, settings=site.settings)
    assert report.new == 4
    worker = site.start_worker(_ALL_ARE_KEPT)
    site.until(lambda: any(site.settings.runs.rglob(RESULT)), seconds=120)
    kept = next(site.settings.runs.rglob(RESULT))
    first, wall_seconds = kept.parent.name, seconds_of(kept)
    site.until(site.feff, seconds=60)
    worker.send_signal(how)
    worker.wait(timeout=60)
    site.until(lambda: not site.feff(), seconds=20)
    stored = {each.calculation_id for each in site.store.calculations(CalculationQuery())}
    assert (first in stored) == (how == signal.SIGTERM)
    if how == signal.SIGTERM:
        assert site.status().queue == {"READY": 1}
    summary = site.run()
    assert (summary.completed, summary.failed) == (1, 0), summary.messages
    calculations = list(site.store.calculations(CalculationQuery()))
    assert [each.state for each in calculations] == [COMPLETED] * 4
    assert site.store.count(SpectrumQuery(kind="site")) == 4
    assert site.store.count(SpectrumQuery(kind="average", state="completed")) == 3
    (known,) = [each for each in calculations if each.calculation_id == first]
    assert known.wall_seconds == wall_seconds, "it was not computed again"
    assert site.status().running == []
    assert not [path for path in site.settings.runs.rglob("*") if path.is_file()]
    assert site.store.orphans(older_than=timedelta(0)) == set()
