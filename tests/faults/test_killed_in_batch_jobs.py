"""Bad luck on a cluster: `kill -9` of a batch job's worker, wherever it is in its work."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from nearedge.structures.source import LoadedStructure

if TYPE_CHECKING:
    from tests.faults.conftest import BatchQueue, Site

Molecule = Callable[[str], LoadedStructure]

pytestmark = [pytest.mark.integration, pytest.mark.slow]

_KILLED = """
import os
from nearedge.codes.feff import run
from nearedge.launch.outputs import FencedOutputs
from nearedge.makers import storing
from nearedge.store import packing
from nearedge.store.blobs import BlobStore

packing.TEXT_LIMIT = 10
follow, put = run._follow, BlobStore._put

def die(*_, **__):
    os.kill(os.getpid(), 9)

def die_in_the_middle(process, reading, outcome, timeout, _):
    follow(process, reading, outcome, timeout, lambda stage: stage == "fms" and die())

def put_and_die(self, contents, *attempt):
    put(self, contents, *attempt)
    if contents:
        die()

"""
_COMPUTES_NOTHING = """
from nearedge.codes.feff import run
from nearedge.store import packing
packing.TEXT_LIMIT = 10
run.execute = None
"""
_SMALL_BLOBS = "from nearedge.store import packing\npacking.TEXT_LIMIT = 10\n"


@pytest.mark.parametrize(
    ("where", "computed"),
    [
        pytest.param("run.execute = die", False, id="before the code"),
        pytest.param("run._follow = die_in_the_middle", False, id="during the code"),
        pytest.param("run._checked_result = die", False, id="after the code"),
        pytest.param("storing._store = die", True, id="before it stores"),
        pytest.param("BlobStore._put = put_and_die", True, id="between blob and document"),
        pytest.param("FencedOutputs._put = die", True, id="after it stored"),
    ],
)
def test_a_worker_that_is_killed_loses_nothing_and_computes_nothing_twice(
    site: Site, batch: BatchQueue, molecule: Molecule, where: str, computed: bool,
    told: Callable[[str, float], None], request: pytest.FixtureRequest,
) -> None:  # fmt: skip
    site.submit(molecule("CO"), "C")
    number = batch.submit(_KILLED + where)
    assert batch.end(number) == "FAILED"
    assert site.state() == "RUNNING", "nobody knows yet"
    told(f"killed, {request.node.callspec.id}", site.put_back("job_failed", number))
    again = batch.submit(_COMPUTES_NOTHING if computed else _SMALL_BLOBS)
    assert batch.end(again) == "COMPLETED"
    site.check_complete()
    site.check_nothing_over()
