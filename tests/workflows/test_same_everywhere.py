"""Locally, with one worker and with four: the same documents, and none twice. Real FEFF."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from jobflow import JobStore, run_locally
from maggma.stores import MemoryStore

from nearedge.launch.pool import run_workers
from nearedge.settings import Settings
from nearedge.store.connection import client, connect, initialize
from nearedge.store.queries import SpectrumQuery
from nearedge.store.spectra_store import SpectraStore
from nearedge.structures.source import LoadedStructure
from nearedge.workflows.campaign import submit
from nearedge.workflows.spectrum import SpectrumFlowMaker

Molecule = Callable[[str], LoadedStructure]
Crystals = Sequence[tuple[str, str]]

CRYSTALS = (("CO", "C"), ("OCO", "C"), ("CN", "C"), ("OCuO and CuO", "Cu"))
"""The last has two different coppers, of which FEFF fails on one, by name; both take it long."""

_OF_THE_RUN = {"created_at", "stored_at", "wall_seconds", "cpu_seconds", "host", "run_dir"}


def documents(settings: Settings) -> dict[str, dict[str, Any]]:
    database = connect(settings)
    found = {}
    for name in ("calculations", "spectra", "structures", "blobs"):
        for stored in database[name].find({}):
            kept = {key: value for key, value in stored.items() if key not in _OF_THE_RUN}
            if kept.get("failure"):
                del kept["failure"]["log_tail"]  # it names the run folder
            found[f"{name}/{stored['_id']}"] = kept
    return found


def through_fireworks(
    settings: Settings, molecule: Molecule, crystals: Crystals, workers: int
) -> None:
    for absorber in sorted({each for _, each in crystals}):
        loaded = [molecule(name) for name, each in crystals if each == absorber]
        submit(loaded, absorber=absorber, project="p", settings=settings)
    summary = run_workers(workers, settings)
    jobs = 9 if crystals == CRYSTALS else 2
    assert (summary.completed, summary.failed, summary.killed) == (jobs, 0, 0), summary.messages


def locally(molecule: Molecule, crystals: Crystals) -> None:
    maker = SpectrumFlowMaker.for_code("feff", project="p")
    for name, absorber in crystals:
        loaded = molecule(name)
        flow = maker.make(loaded.structure, absorber, "K", loaded.source)
        run_locally(flow, log=False, store=JobStore(MemoryStore()), ensure_success=True)


@pytest.mark.integration
@pytest.mark.parametrize(
    ("crystals", "pools"),
    [(CRYSTALS[:1], (2,)), pytest.param(CRYSTALS, (1, 4), marks=pytest.mark.slow)],
    ids=["two workers", "one and four workers"],
)
def test_locally_and_with_one_and_with_several_workers_the_same_documents_come_out(
    live_settings: Settings, molecule: Molecule, crystals: Crystals, pools: Sequence[int]
) -> None:
    locally(molecule, crystals)
    expected = documents(live_settings)
    rows = SpectraStore(connect(live_settings)).listing(SpectrumQuery())
    assert len(rows) == 2 * len(crystals), "a site of each completed, and each has an average"
    covered = sorted(row.covered for row in rows if row.kind == "average")
    assert covered == ([0.5, 1, 1, 1] if crystals == CRYSTALS else [1])
    for workers in pools:
        other = live_settings.model_copy(update={"database": f"{live_settings.database}_{workers}"})
        initialize(other)
        try:
            through_fireworks(other, molecule, crystals, workers)
            assert differences(documents(other), expected) == []
        finally:
            client(other).drop_database(other.database)
            client(other).drop_database(other.launchpad_database)
    assert not [path for path in live_settings.runs.rglob("*") if path.name == "result.json"]


def differences(found: Any, expected: Any, where: str = "") -> list[str]:
    """Return the places where two documents differ; numbers to eight digits."""
    if isinstance(expected, dict) and isinstance(found, dict):
        keys = sorted(found.keys() | expected.keys(), key=str)
        nothing = object()
        pairs = [(str(k), found.get(k, nothing), expected.get(k, nothing)) for k in keys]
    elif isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        pairs = [(str(n), f, e) for n, (f, e) in enumerate(zip(found, expected, strict=True))]
    elif isinstance(expected, float) and isinstance(found, float):
        same = math.isclose(found, expected, rel_tol=1e-8, abs_tol=1e-12)
        return [] if same else [f"{where}: {found} is not {expected}"]
    else:
        return [] if found == expected else [f"{where}: {found!r:.80} is not {expected!r:.80}"]
    return [each for key, f, e in pairs for each in differences(f, e, f"{where}/{key}")]
