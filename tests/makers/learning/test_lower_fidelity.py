"""A model that takes another code's spectra finds them, predicts them, or says what to compute."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nearedge.errors import DatabaseError, ModelError
from nearedge.makers.learning import lower_fidelity
from nearedge.makers.learning.freeze import freeze_dataset
from nearedge.makers.learning.plan import Given
from nearedge.makers.learning.predict import open_model, predict_structures, stored_model
from nearedge.makers.learning.splits import Split
from nearedge.makers.learning.targets import targets_of
from nearedge.makers.learning.train import TrainMaker, train
from nearedge.models.registry import save_folder
from nearedge.models.trained import TrainedModel
from nearedge.store.learned import DatasetStore, ModelStore
from nearedge.store.queries import SpectrumQuery

from .copper import add, crystal, record

SPLIT = Split(kind="random", validation=0.25, test=0.0, seed=0)
KNOWN, NEW = crystal(4.55), crystal(4.57)
"""Crystals with and without a FEFF spectrum in the database, neither with another code's."""


@pytest.fixture
def two_codes(database: Any) -> Any:
    """FEFF of twelve sites, and another code's spectra of the first nine, 120 eV lower."""
    add(
        database,
        *(
            record(f"mp-{i}", round(4.0 + 0.05 * i, 3), code="vasp", zero=-120, strange=0.02 * i)
            for i in range(9)
        ),
    )
    for code, aligned_to in (("feff", None), ("vasp", "feff")):
        query = SpectrumQuery(absorber="Cu", code=code)
        freeze_dataset(database, code, query, split=SPLIT, aligned_to=aligned_to)
    return database


def model(database: Any, name: str) -> TrainedModel:
    """Train the model, and that of the spectra it takes if it can predict them."""
    if name == "low":
        train(TrainMaker(model="low"), "feff")
        return stored_model(database, "low")
    below = None
    if name == "both":
        below = model(database, "low").card.model_id
    train(TrainMaker(model=name), "vasp", given=Given(dataset="feff", model=below))
    return stored_model(database, name)


def test_the_computed_spectrum_of_the_structure_is_found(two_codes: Any) -> None:
    trained = model(two_codes, "computed")
    (site,) = predict_structures(trained, [KNOWN])[0].sites
    assert site.input_spectrum == "computed"
    feff = DatasetStore(two_codes).get("feff")
    number = next(n for n, row in enumerate(feff.rows) if row.label == "mp-11_000")
    features = np.array([[4.55, 29.0, 1.0]])
    inputs = trained.inputs_for(features, "Cu", spectra=targets_of(two_codes, feff, [number]))
    assert np.array_equal(site.absorption, trained.head.predict(inputs).mean[0])
    # One of four equivalent sites was computed; its spectrum is that of all.
    every = predict_structures(trained, [KNOWN], all_sites=True)[0].sites
    assert [each.input_spectrum for each in every] == ["computed"] * 4
    assert every[3].absorption == pytest.approx(site.absorption)


def test_what_was_not_computed_is_refused_with_the_command(two_codes: Any) -> None:
    trained = model(two_codes, "computed")
    said = r"^new: the model computed takes .*1 of 1 have none.*nearedge submit STRUCTURE --abs"
    with pytest.raises(ModelError, match=said + r"orber Cu --edge K --code feff --protocol fast@1"):
        predict_structures(trained, [NEW], ["new"])
    # Spectra by other parameters are not what it learned with.
    add(two_codes, record("new", 4.57, radius=9.0))
    with pytest.raises(ModelError, match="1 of 1 have none"):
        predict_structures(trained, [NEW])


def test_a_model_that_can_predict_its_input_does_where_nothing_was_computed(two_codes: Any) -> None:
    found = predict_structures(model(two_codes, "both"), [KNOWN, NEW])
    assert [each.sites[0].input_spectrum for each in found] == ["computed", "predicted"]
    (other,) = predict_structures(stored_model(two_codes, "low"), [KNOWN])
    assert other.sites[0].input_spectrum is None


def test_without_a_database_the_input_is_predicted_or_asked_for(
    two_codes: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = ModelStore(two_codes)
    for name in ("both", "computed"):
        model(two_codes, name)
    folders = {
        name: save_folder(tmp_path / name, *store.chain(name)[0], store.chain(name)[1:])
        for name in ("both", "computed")
    }

    def nothing() -> Any:
        raise DatabaseError("no database answers.")

    monkeypatch.setattr(lower_fidelity, "connect", nothing)
    (answer,) = predict_structures(open_model(str(folders["both"])), [KNOWN])
    assert answer.sites[0].input_spectrum == "predicted"
    with pytest.raises(ModelError, match="not at hand: no database answers"):
        predict_structures(open_model(str(folders["computed"])), [KNOWN])


def test_cheaper_runs_of_the_same_code_are_an_input_beside_the_dear_ones(database: Any) -> None:
    dear, cheap = (record("x", 4.0, radius=radius).calculation for radius in (4.0, 2.0))
    # Of all crystals but one there is a cheap spectrum; it is told from the dear one of that site.
    places = [round(4.0 + 0.05 * i, 3) for i in range(11)]
    add(database, *(record(f"mp-{i}", a, radius=2.0, strange=0.1) for i, a in enumerate(places)))
    for name, calculation in (("dear", dear), ("cheap", cheap)):
        query = SpectrumQuery(absorber="Cu", parameters_id=calculation.parameters_id)
        freeze_dataset(database, name, query, split=SPLIT)
    outcome = train(TrainMaker(), "dear", given=Given(dataset="cheap"))
    assert outcome.without_features == ["mp-11_000"], "it has no cheap spectrum"
    trained = stored_model(database, "dear")
    assert list(trained.card.inputs) == ["spectrum:feff"]
    (site,) = predict_structures(trained, [crystal(4.0)])[0].sites
    frozen = DatasetStore(database).get("cheap")
    number = next(n for n, row in enumerate(frozen.rows) if row.label == "mp-0_000")
    spectra = targets_of(database, frozen, [number])
    inputs = trained.inputs_for(np.array([[4.0, 29.0, 1.0]]), "Cu", spectra=spectra)
    assert np.array_equal(site.absorption, trained.head.predict(inputs).mean[0])
    with pytest.raises(ModelError, match="1 of 1 have none"):
        predict_structures(trained, [KNOWN])
