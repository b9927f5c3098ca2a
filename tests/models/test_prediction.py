"""Predictions name the sites of the file, weigh them rightly, and refuse what was not learned."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from pymatgen.core.structure import Structure

from nearedge.errors import ModelError, StructureError
from nearedge.models.featurizers.base import Featurizer
from nearedge.models.heads import KernelHead, TrainingRows
from nearedge.models.prediction import describe, predict
from nearedge.models.trained import TrainedModel
from nearedge.models.uncertainty.reliability import Reliability
from nearedge.models.uncertainty.surroundings import Surroundings
from nearedge.schemas.model import FeaturizerRef
from nearedge.spectra.spectrum import FloatArray


@pytest.fixture
def reliability(
    make_synthetic: Callable[..., tuple[FloatArray, FloatArray, list[str]]],
) -> Reliability:
    """Of a model trained on pure copper."""
    features, targets, groups = make_synthetic(40)
    fitted = KernelHead.fit(TrainingRows(features * 10 + 30, targets, groups))
    copper = Surroundings(frozenset({29}), frozenset({29}), 12, "A 225 m-3m")
    return Reliability.fit(targets, fitted.left_out, groups, [copper] * len(groups))


def test_the_json_has_exactly_the_promised_shape(
    trained: TrainedModel, featurizer: Featurizer, cuprite: Structure
) -> None:
    found = json.loads(predict(trained, featurizer, cuprite, "Cu", label="a.cif").model_dump_json())
    assert set(found) == {"structure", "sites", "average"}
    assert found["structure"] == "a.cif"
    curves = {"energy", "absorption", "std", "half_width_68", "half_width_95"}
    stated = {"error_bound", "outside"}
    assert set(found["average"]) == curves | stated
    site = {"site", "multiplicity", "distance", "unfamiliar", "input_spectrum"}
    assert set(found["sites"][0]) == curves | stated | site
    assert found["sites"][0]["half_width_95"] is found["average"]["error_bound"] is None
    assert found["average"]["energy"] == [8980.0 + 0.5 * i for i in range(9)]


def test_intervals_bound_and_reasons_go_with_the_prediction(
    trained: TrainedModel,
    featurizer: Featurizer,
    two_kinds_of_copper: Structure,
    reliability: Reliability,
) -> None:
    label = trained.card.learned_from[0].label
    model = replace(trained, reliability={label: reliability})
    found = predict(model, featurizer, two_kinds_of_copper, "Cu")
    first, second = found.sites
    for site in found.sites:
        assert site.half_width_68 is not None
        assert site.half_width_95 is not None
        assert np.all(np.array(site.half_width_95) >= site.half_width_68)
    assert first.error_bound is not None
    assert second.error_bound is not None
    assert found.average.error_bound == pytest.approx(
        (2 * first.error_bound + second.error_bound) / 3
    )
    assert first.outside[0] == "no training structure holds O"
    assert found.average.outside[0] == first.outside[0]


def test_unique_sites_carry_their_multiplicity_and_index_in_the_file(
    trained: TrainedModel, featurizer: Featurizer, two_kinds_of_copper: Structure
) -> None:
    found = predict(trained, featurizer, two_kinds_of_copper, "Cu")
    assert [(s.site, s.multiplicity) for s in found.sites] == [(1, 2), (2, 1)]
    every = predict(trained, featurizer, two_kinds_of_copper, "Cu", all_sites=True)
    assert [(s.site, s.multiplicity) for s in every.sites] == [(1, 1), (2, 1), (4, 1)]
    assert every.sites[0].absorption == pytest.approx(every.sites[2].absorption)


def test_the_average_is_weighted_by_multiplicity_and_the_same_from_all_sites(
    trained: TrainedModel, featurizer: Featurizer, two_kinds_of_copper: Structure
) -> None:
    found = predict(trained, featurizer, two_kinds_of_copper, "Cu")
    first, second = (np.array(site.absorption) for site in found.sites)
    assert found.average.absorption == pytest.approx((2 * first + second) / 3)
    every = predict(trained, featurizer, two_kinds_of_copper, "Cu", all_sites=True)
    assert every.average.absorption == pytest.approx(found.average.absorption)
    assert every.average.std == pytest.approx(found.average.std)


def test_the_average_of_equivalent_sites_is_no_more_certain_than_one_of_them(
    trained: TrainedModel, featurizer: Featurizer, cuprite: Structure
) -> None:
    found = predict(trained, featurizer, cuprite, "Cu", all_sites=True)
    assert len(found.sites) == 4
    assert found.average.std == pytest.approx(found.sites[0].std)


def test_an_element_that_was_not_learned_is_refused(
    trained: TrainedModel, featurizer: Featurizer, cuprite: Structure
) -> None:
    with pytest.raises(ModelError, match="trained on the Cu K edge and cannot predict O"):
        predict(trained, featurizer, cuprite, "O")


def test_a_structure_without_the_absorber_is_refused_by_its_label(
    trained: TrainedModel, featurizer: Featurizer, cuprite: Structure
) -> None:
    cuprite.replace_species({"Cu": "Ag"})
    with pytest.raises(StructureError, match=r"x\.cif.*Cu"):
        predict(trained, featurizer, cuprite, "Cu", label="x.cif")


def test_features_by_other_weights_are_refused(
    trained: TrainedModel, featurizer: Any, cuprite: Structure
) -> None:
    class Other:
        ref = FeaturizerRef(name="coordinates", weights_sha256="1" * 64, size=6)
        features = featurizer.features

    with pytest.raises(ModelError, match="coordinates \\(000000000000…\\), not by"):
        predict(trained, Other(), cuprite, "Cu")


def test_features_come_in_the_same_shape_for_one_element_or_all(
    featurizer: Featurizer, two_kinds_of_copper: Structure
) -> None:
    copper = describe(featurizer, two_kinds_of_copper, "Cu")
    assert [(s.site, s.multiplicity) for s in copper.sites] == [(1, 2), (2, 1)]
    expected = featurizer.features(two_kinds_of_copper)
    assert copper.sites[1].features == pytest.approx(expected[2])
    assert copper.average.features == pytest.approx((2 * expected[1] + expected[2]) / 3)
    everything = describe(featurizer, two_kinds_of_copper)
    assert [(s.site, s.multiplicity) for s in everything.sites] == [(0, 2), (1, 2), (2, 1)]
    every_site = describe(featurizer, two_kinds_of_copper, all_sites=True)
    assert [s.site for s in every_site.sites] == [0, 1, 2, 3, 4]
    assert set(json.loads(copper.model_dump_json())["sites"][0]) == {
        "site",
        "multiplicity",
        "features",
    }
