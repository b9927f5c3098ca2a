"""Bad luck: the worker of a convergence is killed in the middle."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from nearedge.store.connection import connect
from nearedge.store.convergences import ConvergenceStore
from nearedge.store.queries import CalculationQuery
from nearedge.structures.source import LoadedStructure
from nearedge.workflows.converge import ConvergeFlowMaker, submit_convergence

if TYPE_CHECKING:
    from tests.faults.conftest import Site

Molecule = Callable[[str], LoadedStructure]

pytestmark = pytest.mark.integration


def test_killed_during_a_step_the_next_run_goes_on_and_computes_no_step_twice(
    site: Site, molecule: Molecule
) -> None:
    maker = ConvergeFlowMaker.for_code(
        "feff", protocol="fast", names=["fms_radius"], values={"fms_radius": [4.0, 5.0, 6.0]}
    )
    loaded = molecule("CO")
    assert submit_convergence(maker, loaded, 0, settings=site.settings).state == "new"
    worker = site.start_worker()
    site.until(lambda: site.store.count(CalculationQuery()) == 1, seconds=60)
    site.until(site.feff, seconds=60)
    worker.kill()
    worker.wait()
    site.until(lambda: not site.feff(), seconds=10)
    (stopped,) = ConvergenceStore(connect(site.settings)).listing()
    assert (stopped.state, len(stopped.parameters[0].steps)) == ("running", 1)
    (first,) = site.store.calculations(CalculationQuery())
    assert submit_convergence(maker, loaded, 0, settings=site.settings).state == "queued"
    summary = site.run()
    assert (summary.failed, summary.killed) == (0, 0), summary.messages
    (found,) = ConvergenceStore(connect(site.settings)).listing()
    assert (found.state, found.converged) == ("finished", True)
    assert site.store.count(CalculationQuery(state="completed")) == 3
    kept = site.store.calculation(first.calculation_id)
    assert kept is not None
    assert kept.created_at == first.created_at, "the first step was not computed again"
    assert set(site.status().queue) == {"COMPLETED"}
    assert submit_convergence(maker, loaded, 0, settings=site.settings).state == "known"
