"""Bad luck: the disk is full in the run folder."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

from nearedge.store.queries import CalculationQuery
from nearedge.structures.source import LoadedStructure

if TYPE_CHECKING:
    from tests.faults.conftest import Site

Molecule = Callable[[str], LoadedStructure]

pytestmark = pytest.mark.integration


@pytest.fixture
def small_disk(site: Site, need: Callable[[object, str], None]) -> Iterator[Site]:
    """Return an installation whose run folder is on a disk of 1 MiB."""
    site.settings.runs.mkdir()
    mounted = os.geteuid() == 0 and mount("-t", "tmpfs", "-o", "size=1m", "none", site)
    need(mounted, "a small disk can be mounted by root only")
    yield site
    subprocess.run(["umount", "-l", str(site.settings.runs)], check=True)


def mount(*arguments: str | Site) -> bool:
    words = [str(a) if isinstance(a, str) else str(a.settings.runs) for a in arguments]
    return subprocess.run(["mount", *words], check=False, capture_output=True).returncode == 0


def test_a_full_disk_fails_no_calculation_and_with_space_the_next_run_completes_it(
    small_disk: Site, molecule: Molecule
) -> None:
    site = small_disk
    site.submit(molecule("CO"), "C")
    summary = site.run()
    assert summary.failed == 1
    assert site.store.count(CalculationQuery()) == 0, "it is not the calculation's fault"
    assert site.feff() == []
    found = site.status()
    assert found.queue["FIZZLED"] == 1
    assert found.running == []
    assert "puts back 1 job whose worker" in found.hints[0]
    assert mount("-o", "remount,size=100m", site)
    summary = site.run()
    assert summary.failed == 0, summary.messages
    site.check_complete()
    site.check_nothing_over()
