"""A specification says what the features are made of; what there is not is answered in one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pymatgen.core.lattice import Lattice
from pymatgen.core.structure import Structure

from nearedge.errors import ModelError
from nearedge.models.featurizers import (
    featurizer_names,
    featurizer_of_ref,
    load_featurizer,
    same_featurizer,
)

SALT = Structure(Lattice.cubic(4.2), ["Mg", "O"], [[0, 0, 0], [0.5, 0.5, 0.5]])


@pytest.fixture(scope="module")
def models(shared: Callable[[str], Path]) -> Path:
    return shared("models")


@pytest.mark.parametrize(
    "spec",
    [
        "m3gnet",
        "m3gnet:1,2,3,edges,cell,neighbours",
        "soap:4",
        "acsf",
        "m3gnet:1,cell+soap:4+soap:6",
    ],
)
@pytest.mark.integration
def test_blocks_add_up_and_a_reference_loads_the_same_featurizer(models: Path, spec: str) -> None:
    featurizer = load_featurizer(spec, model_path=models)
    features = featurizer.features(SALT)
    assert features.shape == (2, featurizer.ref.size)
    assert sum(featurizer.blocks.values()) == featurizer.ref.size
    assert featurizer.ref.name == spec
    again = featurizer_of_ref(featurizer.ref, model_path=models)
    assert same_featurizer(again.ref, featurizer.ref)
    assert again.blocks == featurizer.blocks


@pytest.mark.integration
def test_a_sum_is_its_parts_side_by_side(models: Path) -> None:
    parts = [load_featurizer(name, model_path=models) for name in ("m3gnet:1,3", "soap:4")]
    both = load_featurizer("m3gnet:1,3+soap:4", model_path=models)
    expected = np.concatenate([part.features(SALT) for part in parts], axis=1)
    np.testing.assert_array_equal(both.features(SALT), expected)
    assert both.blocks == {"m3gnet:1": 64, "m3gnet:3": 64, "soap:4": parts[1].ref.size}
    assert both.ref.weights_sha256 == parts[0].ref.weights_sha256


@pytest.mark.integration
def test_blocks_come_in_one_order_and_block_three_is_m3gnet(models: Path) -> None:
    assert load_featurizer("m3gnet:cell,3", model_path=models).ref.name == "m3gnet:3,cell"
    one = load_featurizer("m3gnet:3", model_path=models).ref
    assert one == load_featurizer("m3gnet", model_path=models).ref


@pytest.mark.integration
def test_a_recipe_is_remembered_by_what_it_stands_for(models: Path) -> None:
    ref = load_featurizer("default", model_path=models).ref
    assert ref.name.startswith("m3gnet:")
    assert featurizer_of_ref(ref, model_path=models).ref == ref


def test_other_options_than_a_model_was_made_with_are_refused() -> None:
    ref = load_featurizer("soap:4").ref
    other = ref.model_copy(update={"options": {**ref.options, "cutoff": 4.5}})
    with pytest.raises(ModelError, match="soap:4 has other weights or options"):
        featurizer_of_ref(other)


@pytest.mark.parametrize(
    "spec", ["magic", "m3gnet:4", "m3gnet:", "m3gnet:1,1", "soap:7", "m3gnet+", "chgnet:1", ""]
)
def test_what_there_is_not_is_answered_with_what_there_is(spec: str) -> None:
    names = "m3gnet, chgnet, soap:4, soap:5, soap:6, acsf, radial"
    assert ", ".join(featurizer_names()) == names
    with pytest.raises(ModelError, match=f"choose one of {names}, blocks of M3GNet as m3gnet:1,2"):
        load_featurizer(spec)


def test_a_part_named_twice_is_refused() -> None:
    with pytest.raises(ModelError, match="names a part twice"):
        load_featurizer("soap:4+soap:4")
