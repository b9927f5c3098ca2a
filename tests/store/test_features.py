"""Features are kept by exact structure and featurizer, to the bit."""

from __future__ import annotations

import numpy as np
import pytest

from nearedge.errors import DatabaseError
from nearedge.schemas.model import FeaturizerRef
from nearedge.store.features import FEATURES, FeatureStore
from nearedge.store.operations import MongoDatabase

M3GNET = FeaturizerRef(name="m3gnet", weights_sha256="a" * 64, size=64)


@pytest.fixture
def features(memory_database: MongoDatabase) -> FeatureStore:
    return FeatureStore(memory_database)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("sites", [1, 5, 2000])
def test_features_come_back_to_the_bit(features: FeatureStore, dtype: type, sites: int) -> None:
    array = np.random.default_rng(1).normal(size=(sites, 64)).astype(dtype)
    features.put("rutile", M3GNET, array)
    found = features.get("rutile", M3GNET)
    assert found is not None
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, array)


def test_other_weights_are_other_features(features: FeatureStore) -> None:
    features.put("rutile", M3GNET, np.zeros((6, 64)))
    assert features.get("rutile", M3GNET.model_copy(update={"weights_sha256": "b" * 64})) is None
    assert features.get("anatase", M3GNET) is None
    assert set(features.get_many(["anatase", "rutile"], M3GNET)) == {"rutile"}


def test_features_stored_first_stay(features: FeatureStore) -> None:
    features.put("rutile", M3GNET, np.zeros((6, 64)))
    features.put("rutile", M3GNET, np.ones((6, 64)))
    np.testing.assert_array_equal(features.get("rutile", M3GNET), np.zeros((6, 64)))


@pytest.mark.parametrize(
    "array", [np.zeros((6, 63)), np.zeros(64), np.full((6, 64), np.nan)], ids=["width", "1d", "nan"]
)
def test_features_of_another_shape_or_not_finite_are_refused(
    features: FeatureStore, array: np.ndarray
) -> None:
    with pytest.raises(DatabaseError, match="rutile"):
        features.put("rutile", M3GNET, array)


def test_damaged_features_are_an_error(
    features: FeatureStore, memory_database: MongoDatabase
) -> None:
    features.put("rutile", M3GNET, np.zeros((6, 64)))
    memory_database[FEATURES].update_one({}, {"$set": {"data": np.ones((6, 64)).tobytes()}})
    with pytest.raises(DatabaseError, match="damaged"):
        features.get("rutile", M3GNET)


BOTH = FeaturizerRef(
    name="m3gnet+soap:4",
    weights_sha256="a" * 64,
    size=67,
    parts=(M3GNET, FeaturizerRef(name="soap:4", weights_sha256=None, size=3)),
)


def test_a_sum_is_stored_by_its_parts_and_found_by_other_sums(features: FeatureStore) -> None:
    array = np.random.default_rng(2).normal(size=(6, 67))
    features.put("rutile", BOTH, array)
    np.testing.assert_array_equal(features.get("rutile", BOTH), array)
    np.testing.assert_array_equal(features.get("rutile", M3GNET), array[:, :64])
    np.testing.assert_array_equal(features.get("rutile", BOTH.parts[1]), array[:, 64:])
    assert features.missing(["rutile"], BOTH) == []


def test_a_sum_lacks_what_one_of_its_parts_lacks(features: FeatureStore) -> None:
    features.put("rutile", M3GNET, np.zeros((6, 64)))
    assert features.get("rutile", BOTH) is None
    assert features.missing(["rutile", "anatase", "rutile"], BOTH) == ["rutile", "anatase"]
    assert features.missing(["rutile", "anatase"], M3GNET) == ["anatase"]
    with pytest.raises(DatabaseError, match="must have shape"):
        features.put("anatase", BOTH, np.zeros((6, 66)))


def test_sites_are_taken_without_their_neighbours(features: FeatureStore) -> None:
    array = np.arange(12.0 * 67).reshape(12, 67).astype(np.float32)
    features.put_many({"rutile": array[:6], "anatase": array[6:]}, BOTH)
    places = [("anatase", 2), ("brookite", 0), ("rutile", 5), ("anatase", 0)]
    rows, lacking = features.sites(places, BOTH)
    assert (rows.dtype, lacking) == (np.float64, [1])
    np.testing.assert_array_equal(rows[[0, 2, 3]], array[[8, 5, 6]])


def test_a_single_featurizer_is_written_as_before_there_were_sums() -> None:
    written = M3GNET.model_dump()
    assert written == {"name": "m3gnet", "weights_sha256": "a" * 64, "options": {}, "size": 64}
    assert FeaturizerRef.model_validate(BOTH.model_dump(mode="json")) == BOTH
