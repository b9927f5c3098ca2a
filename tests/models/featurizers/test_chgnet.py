"""CHGNet, whose package carries its weights, is there for machines without M3GNet's."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable

import numpy as np
import pytest
from pymatgen.core.lattice import Lattice
from pymatgen.core.structure import Structure

from nearedge.errors import ModelError, WeightsError
from nearedge.models.featurizers import load_featurizer


@pytest.mark.integration
def test_chgnet_describes_every_site_without_any_download(
    need: Callable[[object, str], None],
) -> None:
    need(importlib.util.find_spec("chgnet"), "the extra `chgnet` is not installed")
    featurizer = load_featurizer("chgnet")
    salt = Structure(Lattice.cubic(4.2), ["Mg", "O"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    features = featurizer.features(salt)
    assert features.shape == (2, 64)
    assert np.abs(features[0] - features[1]).max() > 0.01
    assert featurizer.ref.weights_sha256 == load_featurizer("chgnet").ref.weights_sha256
    with pytest.raises(ModelError, match="CHGNet cannot describe"):
        featurizer.features(Structure(Lattice.cubic(20.0), ["Cu"], [[0, 0, 0]]))


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(WeightsError, match=r"nearedge\[chgnet\]"):
        load_featurizer("chgnet")
