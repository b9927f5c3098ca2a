"""Bad luck: two workers are given the same site."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from nearedge.store.queries import CalculationQuery, SpectrumQuery
from nearedge.structures.source import LoadedStructure

if TYPE_CHECKING:
    from tests.faults.conftest import Site

Molecule = Callable[[str], LoadedStructure]

pytestmark = pytest.mark.integration


def test_one_computes_and_the_other_waits_and_both_projects_have_the_result(
    site: Site, molecule: Molecule
) -> None:
    site.submit(molecule("CO"), "C", "ours")
    site.submit(molecule("CO"), "C", "theirs")
    folders: set[str] = set()

    def look() -> None:
        folders.update(path.parent.name for path in site.settings.runs.rglob("feff.inp"))

    summary = site.run(workers=2, watch=look)
    assert (summary.completed, summary.failed) == (4, 0), summary.messages
    assert len(folders) == 1, "FEFF ran in one folder"
    site.check_complete()
    for project in ("ours", "theirs"):
        assert site.store.count(SpectrumQuery(project=project)) == 2
        assert site.store.count(CalculationQuery(project=project)) == 1
