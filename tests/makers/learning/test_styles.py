"""Sites are described once, and styles are trained, judged and kept with what they came from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nearedge.errors import DatabaseError, DatasetError, ModelError
from nearedge.makers.learning.describe import DescribeMaker, describe_structures, descriptors_of
from nearedge.makers.learning.freeze import freeze_dataset
from nearedge.makers.learning.splits import Split
from nearedge.makers.learning.styles import OptionValue, StylesMaker
from nearedge.makers.learning.targets import targets_of
from nearedge.models.styles import StyleModel
from nearedge.settings import Settings
from nearedge.store.learned import DatasetStore
from nearedge.store.queries import SpectrumQuery
from nearedge.store.spectra_store import SpectraStore
from nearedge.store.styles import DescriptorStore, StylesStore
from nearedge.structures import environment

QUICK: dict[str, OptionValue] = {
    "styles": 2,
    "width": 8,
    "layers": 2,
    "points": 0,
    "epochs": 3,
    "batch": 8,
}
MATERIALS = 16


@pytest.fixture
def database(
    memory_database: Any,
    copper_oxides: Callable[[Any, int], None],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> Any:
    """A database with a frozen data set of sixteen materials, and makers that use it."""
    copper_oxides(memory_database, MATERIALS)
    for module in ("describe", "styles"):
        monkeypatch.setattr(f"nearedge.makers.learning.{module}.connect", lambda: memory_database)
    monkeypatch.setattr(
        "nearedge.makers.learning.styles.get_settings", lambda: Settings(home=tmp_path)
    )
    split = Split(kind="random", validation=0.25, test=0.0, seed=0)
    freeze_dataset(memory_database, "cu", SpectrumQuery(absorber="Cu"), split=split)
    return memory_database


@pytest.fixture
def keys(database: Any) -> list[str]:
    rows = SpectraStore(database).listing(SpectrumQuery(absorber="Cu"))
    return sorted({row.structure_key for row in rows})


@pytest.fixture
def described(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Describe by the lattice alone, and count the sites that were asked for."""
    asked: list[int] = []

    def quickly(structure: Any, sites: list[int]) -> list[environment.SiteEnvironment]:
        asked.extend(sites)
        nothing = float("nan")
        return [
            environment.SiteEnvironment(
                2.0, 6.0, nothing, 0.0, structure.lattice.a, "guess", {"OCN": "No oxygen."}
            )
            for _ in sites
        ]

    monkeypatch.setattr("nearedge.makers.learning.describe.site_environments", quickly)
    return asked


def test_sites_are_described_once_and_come_back_as_they_were(
    database: Any, keys: list[str]
) -> None:
    first = describe_structures(database, keys[:2], "Cu")
    assert (first.computed, first.known) == (2, 0)
    assert first.undefined == dict.fromkeys(("CT", "CN", "OCN", "RSTD", "MOOD"), 0)
    again = describe_structures(database, keys[:2], "Cu")
    assert (again.computed, again.known) == (0, 2)
    document = DescriptorStore(database).get_many(keys, "Cu")[keys[0]]
    assert [site.absorbing_index for site in document.sites] == [0, 1, 2, 3]
    structure = SpectraStore(database).structures(keys[:1])[keys[0]].to_structure()
    ligands = pytest.approx(structure.lattice.a / np.sqrt(2), abs=1e-4)
    expected = {"CT": 2, "CN": 6, "OCN": 6, "RSTD": 0, "MOOD": ligands}
    assert document.sites[0].values == expected


def test_a_new_definition_is_computed_again(
    database: Any, keys: list[str], described: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    describe_structures(database, keys[:1], "Cu")
    monkeypatch.setattr("nearedge.schemas.styles.DEFINITION", 2)
    assert describe_structures(database, keys[:1], "Cu").computed == 1


def test_parts_of_a_describe_job_cover_every_structure_once(
    database: Any, described: list[int]
) -> None:
    makers = [DescribeMaker(part=part, parts=3) for part in range(3)]
    outcomes = [maker.make.original(maker, "Cu") for maker in makers]
    assert sum(outcome.computed for outcome in outcomes) == MATERIALS
    assert sum(outcome.undefined["OCN"] for outcome in outcomes) == 4 * MATERIALS
    assert len(described) == 4 * MATERIALS


def test_a_structure_that_is_not_stored_is_named(database: Any) -> None:
    with pytest.raises(DatasetError, match="no structure nonsense"):
        describe_structures(database, ["nonsense"], "Cu")


def test_descriptors_that_are_not_defined_are_nan_in_the_rows_of_a_data_set(
    database: Any, keys: list[str], described: list[int]
) -> None:
    dataset = DatasetStore(database).get("cu")
    with pytest.raises(ModelError, match="was not described"):
        descriptors_of(database, dataset)
    describe_structures(database, keys, "Cu")
    values = descriptors_of(database, dataset, ("OCN", "MOOD"))
    assert values.shape == (MATERIALS, 2)
    assert np.isnan(values[:, 0]).all()
    assert sorted(values[:, 1]) == pytest.approx([4.0 + 0.02 * n for n in range(MATERIALS)])
    with pytest.raises(ModelError, match="some of CT, CN"):
        descriptors_of(database, dataset, ("CN", "size"))


@pytest.mark.usefixtures("described")
def test_styles_are_stored_with_what_they_came_from_and_can_be_used(database: Any) -> None:
    maker = StylesMaker(descriptors=("MOOD",), options=QUICK, seed=4)
    outcome = maker.make.original(maker, "cu")
    store = StylesStore(database)
    card = store.get("cu")
    dataset = DatasetStore(database).get("cu")
    assert (card.styles_id, card.seed) == (outcome.styles_id, 4)
    assert (card.dataset_id, card.parts, card.part) == (dataset.dataset_id, ["train"], "val")
    assert (card.training_rows, card.metrics["spectra"].value) == (12, 4)
    assert (card.style_names, card.undefined) == (["MOOD", "free"], {"MOOD": 0})
    assert card.options["width"] == 8
    assert [len(track.decoded[0]) for track in card.tracks] == [dataset.grid.points] * 2
    assert all(len(losses) == 3 for losses in card.history.values())
    model = StyleModel.from_bytes(store.weights(card))
    assert model.encode(targets_of(database, dataset)).shape == (MATERIALS, 2)
    again = maker.make.original(maker, "cu")
    assert again.styles_id == outcome.styles_id
    assert len(store.named("cu")) == 1
    assert SpectraStore(database).orphans() == set()
    with pytest.raises(DatabaseError, match="no set of styles 'iron'"):
        store.get("iron")


@pytest.mark.usefixtures("described")
@pytest.mark.parametrize(
    ("maker", "reason"),
    [
        (StylesMaker(options={"depth": 3}), "option depth is refused"),
        (StylesMaker(options={"epochs": 0}), "option epochs is refused"),
        (StylesMaker(descriptors=("MOOD",), part="train"), "'train' cannot be judged"),
        (StylesMaker(descriptors=("size",)), "some of CT, CN"),
    ],
)
def test_what_makes_no_sense_is_refused(database: Any, maker: StylesMaker, reason: str) -> None:
    with pytest.raises(ModelError, match=reason):
        maker.make.original(maker, "cu")
