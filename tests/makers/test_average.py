"""An average carries weights and covered fraction, and becomes complete when its sites do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nearedge.errors import CodeError, SpectrumError
from nearedge.makers.average import (
    AverageMaker,
    AverageOutcome,
    SiteShare,
    average_document,
    average_sites,
)
from nearedge.makers.simulation import SimulationMaker
from nearedge.schemas import StructureDoc
from nearedge.schemas.spectrum import EnergyReference
from nearedge.settings import Settings
from nearedge.store.operations import MongoDatabase
from nearedge.store.queries import SpectrumQuery
from nearedge.store.spectra_store import SpectraStore
from nearedge.structures.source import LoadedStructure
from nearedge.workflows.spectrum import plan_sites, shares

Molecule = Callable[[str], LoadedStructure]


@pytest.fixture
def store(memory_database: MongoDatabase) -> SpectraStore:
    return SpectraStore(memory_database)


class Crystal:
    """Carbon monoxide and three inequivalent oxygens, computed one by one with the fake code."""

    def __init__(self, loaded: LoadedStructure) -> None:
        self.loaded = loaded
        self.maker = SimulationMaker(code="fake", rerun_failed=True)
        document = StructureDoc.from_structure(loaded.structure, loaded.source)
        self.sites: list[SiteShare] = shares(plan_sites(self.maker, document, "O", "K"))

    def compute(self, number: int) -> None:
        make: Any = SimulationMaker.make
        index = self.sites[number].absorbing_index
        make.original(self.maker, self.loaded.structure, index, self.loaded.source)


@pytest.fixture
def crystal(fake: object, in_memory: Settings, molecule: Molecule) -> Crystal:
    # Site indices 1, 2 (twice, with 3) and the fake spectrum of site i is flat at 1 + i.
    return Crystal(molecule("OCuO and CuO"))


def test_weights_are_multiplicities_over_all_absorbers(
    crystal: Crystal, store: SpectraStore
) -> None:
    assert [site.multiplicity for site in crystal.sites] == [1, 1, 1]
    for number in range(3):
        crystal.compute(number)
    outcome = average_sites(store, crystal.sites, "p")
    assert outcome == AverageOutcome(
        spectrum_id=outcome.spectrum_id, state="completed", covered=1.0
    )
    average = store.spectrum(outcome.spectrum_id or "")
    assert average is not None
    assert [each.weight for each in average.contributions] == pytest.approx([1 / 3] * 3)
    expected = sum(1 + site.absorbing_index for site in crystal.sites) / 3
    assert average.absorption == pytest.approx([expected] * 31)
    assert average.energy_reference.edge_energy == pytest.approx(101.0)
    assert average.projects == ["p"]


def test_equivalent_sites_count_as_often_as_they_occur(
    crystal: Crystal, store: SpectraStore
) -> None:
    for number in range(3):
        crystal.compute(number)
    sites = [
        site.model_copy(update={"multiplicity": multiplicity})
        for site, multiplicity in zip(crystal.sites, (2, 1, 1), strict=True)
    ]
    average = store.spectrum(average_sites(store, sites).spectrum_id or "")
    assert average is not None
    assert [each.weight for each in average.contributions] == [0.5, 0.25, 0.25]


def test_a_failed_site_leaves_an_average_that_says_what_it_covers_and_completes_later(
    crystal: Crystal, store: SpectraStore, fake: Any
) -> None:
    def fail(run_dir: Path) -> None:
        raise CodeError("scf_not_converged", "It did not converge.")

    crystal.compute(0)
    fake.behaviour = fail
    crystal.compute(1)
    first = average_sites(store, crystal.sites)
    average = store.spectrum(first.spectrum_id or "")
    assert average is not None
    assert (average.state, first.state) == ("incomplete", "incomplete")
    assert average.covered == first.covered == pytest.approx(1 / 3)
    assert [each.weight for each in average.contributions] == [1.0, 0.0, 0.0]
    states = [each.state for each in average.contributions]
    assert states == ["completed", "scf_not_converged", "missing"]

    fake.behaviour = lambda run_dir: None
    crystal.compute(1)
    crystal.compute(2)
    last = average_sites(store, crystal.sites)
    assert last.spectrum_id == first.spectrum_id, "it is the same average, now complete"
    assert last.state == "completed"
    assert store.count(SpectrumQuery(kind="average")) == 1


def test_without_any_site_there_is_no_average_and_the_job_says_so(
    crystal: Crystal, store: SpectraStore
) -> None:
    outcome = average_sites(store, crystal.sites)
    assert outcome == AverageOutcome(spectrum_id=None, state="no_site_completed", covered=0.0)
    assert store.count(SpectrumQuery()) == 0
    with pytest.raises(SpectrumError, match="nothing to average"):
        average_document(crystal.sites, {}, {})


def test_a_site_that_completes_meanwhile_is_not_left_out(
    crystal: Crystal, store: SpectraStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    crystal.compute(0)
    put = SpectraStore.put_average

    def slow(self: SpectraStore, average: Any) -> None:
        monkeypatch.setattr(SpectraStore, "put_average", put)
        crystal.compute(1)
        crystal.compute(2)
        put(self, average)

    monkeypatch.setattr(SpectraStore, "put_average", slow)
    assert average_sites(store, crystal.sites).state == "completed"


def test_the_job_covers_what_the_store_holds_even_if_an_outcome_is_missing(
    crystal: Crystal, store: SpectraStore
) -> None:
    for number in range(3):
        crystal.compute(number)
    make: Any = AverageMaker.make
    outcome = make.original(AverageMaker(project="p"), crystal.sites, [None, None, None])
    assert outcome.state == "completed"


def _counted_from_fermi(crystal: Crystal, store: SpectraStore, zeros: list[float | None]) -> Any:
    for number in range(3):
        crystal.compute(number)
    ids = [site.calculation_id for site in crystal.sites]
    documents = {each.calculation_ids[0]: each for each in store.spectra(SpectrumQuery())}
    for name, zero in zip(ids, zeros, strict=True):
        documents[name].energy_reference = EnergyReference(kind="fermi", cell_energy=zero)
    return average_document(crystal.sites, documents, {}), [documents[name] for name in ids]


def test_sites_that_count_from_their_own_fermi_level_are_laid_on_one_zero(
    crystal: Crystal, store: SpectraStore
) -> None:
    average, (first, *_) = _counted_from_fermi(crystal, store, [-100.0, -101.0, -102.0])
    # The mean zero lies at -101: the first begins 1 eV higher, the last ends 1 eV lower.
    assert average.energy_reference.cell_energy == pytest.approx(-101.0)
    assert average.energy[0] == pytest.approx(first.energy[0] + 1.0)
    assert average.energy[-1] == pytest.approx(first.energy[-1] - 1.0)
    assert not average.warnings


@pytest.mark.parametrize("zeros", [[-100.0, None, -102.0], [-100.0, -101.0, -5000.0]])
def test_an_average_over_unrelated_zeros_says_so(
    crystal: Crystal, store: SpectraStore, zeros: list[float | None]
) -> None:
    average, (first, *_) = _counted_from_fermi(crystal, store, zeros)
    assert average.energy[0] == first.energy[0]
    assert len(average.warnings) == 1
    assert "averaged as they are" in average.warnings[0]
