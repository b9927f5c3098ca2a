"""What processes computed ahead is what the featurizer says, and what it refuses it refuses."""

from __future__ import annotations

import numpy as np
import pytest

from nearedge.errors import ModelError
from nearedge.makers.learning import ahead
from nearedge.makers.learning.ahead import ComputedAhead, computed_ahead

from .copper import LatticeFeaturizer, crystal


def test_known_structures_are_not_computed_again_and_others_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The three are computed in this process all the same: that is for `describe_all` to say.
    monkeypatch.setattr(ahead, "WORTH_A_PROCESS", 3)
    featurizer = LatticeFeaturizer()
    structures = [crystal(4.0), crystal(4.1), crystal(4.2, "Po")]
    expected = featurizer.features(structures[0])
    ready = computed_ahead(featurizer, structures, 2)
    assert isinstance(ready, ComputedAhead)
    assert (ready.ref, ready.blocks) == (featurizer.ref, featurizer.blocks)
    LatticeFeaturizer.calls = 0
    np.testing.assert_allclose(ready.features(structures[0]), expected)
    assert LatticeFeaturizer.calls == 0
    ready.features(crystal(4.3))
    assert LatticeFeaturizer.calls == 1
    with pytest.raises(ModelError, match="Po"):
        ready.features(structures[2])
    assert computed_ahead(featurizer, structures, 1) is featurizer
    assert computed_ahead(featurizer, structures[:2], 2) is featurizer
