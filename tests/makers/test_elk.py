"""Elk through its maker: one run, and a second broadening from what the first has left."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from pymatgen.core import Lattice, Structure

from nearedge.codes.elk import ELK
from nearedge.makers.elk import ElkMaker
from nearedge.makers.simulation import SiteOutcome
from nearedge.settings import Settings
from nearedge.store.operations import MongoDatabase
from nearedge.store.spectra_store import SpectraStore
from nearedge.structures.source import SourceRef


@pytest.mark.usefixtures("in_memory")
def test_another_broadening_is_made_from_the_stored_bse(
    memory_database: MongoDatabase, in_memory: Settings, need: Callable[[object, str], None]
) -> None:
    need(ELK.availability().found, "Elk is not installed (Debian package elk-lapw)")
    lattice = Lattice([[-1.8075, -1.8075, 0], [-1.8075, 0, -1.8075], [0, -1.8075, -1.8075]])
    crystal = Structure(lattice, ["B", "N"], [[0, 0, 0], [0.75, 0.75, 0.75]])
    outcomes: list[SiteOutcome] = []
    for broadening in (3.0, 5.0):
        maker = ElkMaker(
            protocol=f"fast+k_radius=7+energy_step=1.0+broadening={broadening}", project="elk"
        )
        make: Any = type(maker).make
        outcomes.append(
            make.original(maker, crystal, 0, SourceRef(kind="object", label="cubic BN"))
        )
    assert all(outcome.completed for outcome in outcomes)
    store = SpectraStore(memory_database)
    first, second = (store.calculation(outcome.calculation_id) for outcome in outcomes)
    assert first is not None
    assert second is not None
    assert first.cpu_seconds is not None
    assert first.cpu_seconds > 0.5
    assert second.cpu_seconds == 0.0
    assert second.parents == [first.calculation_id]
    widths = []
    for outcome in outcomes:
        spectrum = store.site_spectrum(outcome.calculation_id)
        assert spectrum is not None
        assert spectrum.energy_reference.edge_energy == pytest.approx(174.6, abs=0.2)
        widths.append(spectrum.broadening[0].width)
    assert widths == pytest.approx([3.0, 5.0])
    assert not list(in_memory.runs.iterdir())
