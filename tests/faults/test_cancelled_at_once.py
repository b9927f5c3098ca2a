"""Bad luck: two hundred running jobs are cancelled at once, while their workflows are locked."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from fireworks.core.fworker import FWorker

from nearedge.launch.identity import WorkerIdentity
from nearedge.launch.recovery import recover
from nearedge.launch.scheduler import JobState
from nearedge.store.connection import connect
from nearedge.structures.source import LoadedStructure, SourceRef
from nearedge.workflows.campaign import submit

if TYPE_CHECKING:
    from tests.faults.conftest import Site

Molecule = Callable[[str], LoadedStructure]

pytestmark = [pytest.mark.integration, pytest.mark.slow]

WORKFLOWS = 200
_COMPUTES_ONE = """
from nearedge.codes.feff import run
attempt, results = run._attempt, []

def of_the_first(*arguments):
    # FEFF itself, and its result again for crystals that differ by a hundredth of a bond.
    results.extend([] if results else [attempt(*arguments)])
    return results[0]

run._attempt = of_the_first
"""


def _cancelled(ids: Iterable[str]) -> dict[str, JobState]:
    return dict.fromkeys(ids, JobState.CANCELLED)


def test_two_hundred_workflows_cancelled_with_their_locks_held_are_all_put_back_and_end_once(
    site: Site, molecule: Molecule, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    structures = []
    for number in range(WORKFLOWS):
        structure = molecule("CO").structure.copy()
        structure.translate_sites([1], [0, 0, number * 1e-4])
        structures.append(LoadedStructure(structure, SourceRef(kind="object", label=f"{number}")))
    submit(structures, absorber="C", project="p", settings=site.settings)
    elsewhere = replace(WorkerIdentity.of_this_process(), machine="another", batch="slurm:7")
    for number in range(WORKFLOWS):
        site.pad.checkout_fw(FWorker(name=elsewhere.name), str(tmp_path / str(number)))
    site.pad.workflows.update_many({}, {"$set": {"locked": True}})
    began = time.monotonic()
    found = recover(site.pad, connect(site.settings), ask=_cancelled)
    seconds = time.monotonic() - began
    assert Counter(each.why for each in found.findings) == {"cancelled": WORKFLOWS}
    assert site.status().queue == {"READY": WORKFLOWS, "WAITING": WORKFLOWS}
    assert site.pad.workflows.count_documents({"locked": {"$exists": True}}) == 0
    assert recover(site.pad, connect(site.settings), ask=_cancelled).total == 0
    with capsys.disabled():
        print(f"\n{WORKFLOWS} workflows cancelled with locks held: {seconds:.1f} s to READY")
    workers = [site.start_worker(_COMPUTES_ONE) for _ in range(2)]
    assert [each.wait(900) for each in workers] == [0, 0]
    site.check_complete(WORKFLOWS, WORKFLOWS)
    site.check_nothing_over()
    assert site.pad.launches.count_documents({}) == 3 * WORKFLOWS, "no job ran a second time"
