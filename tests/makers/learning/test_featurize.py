"""A sum's parts are computed where they are missing, and progress counts structures."""

from __future__ import annotations

import numpy as np
from pymatgen.core.lattice import Lattice
from pymatgen.core.structure import Structure

from nearedge.errors import ModelError
from nearedge.makers.learning.featurize import featurize_structures
from nearedge.models.featurizers.summed import SummedFeaturizer
from nearedge.schemas.model import FeaturizerRef
from nearedge.schemas.structure import StructureDoc
from nearedge.store.features import FeatureStore
from nearedge.store.operations import MongoDatabase
from nearedge.structures.source import SourceRef


class Counting:
    """A constant for every site, and how often it was asked."""

    def __init__(self, name: str, value: float, *, refuses: str = "Po") -> None:
        self.ref = FeaturizerRef(name=name, weights_sha256=None, size=2)
        self.blocks = {name: 2}
        self.calls = 0
        self._value, self._refuses = value, refuses

    def features(self, structure: Structure) -> np.ndarray:
        self.calls += 1
        if self._refuses in structure.symbol_set:
            raise ModelError(f"{self.ref.name} does not know {self._refuses}.")
        return np.full((len(structure), 2), self._value)


def store(database: MongoDatabase, *symbols: str) -> list[str]:
    keys = []
    for symbol in symbols:
        structure = Structure(Lattice.cubic(3), [symbol], [[0, 0, 0]])
        document = StructureDoc.from_structure(structure, SourceRef(kind="object", label=symbol))
        database[StructureDoc.collection].insert_one(
            {"_id": document.structure_key, **document.model_dump(mode="json")}
        )
        keys.append(document.structure_key)
    return keys


def test_of_a_sum_only_the_missing_part_is_computed(memory_database: MongoDatabase) -> None:
    keys = store(memory_database, "Cu", "Fe", "Ni")
    first, second = Counting("first", 0.1), Counting("second", 0.5)
    featurize_structures(memory_database, first, keys[:2])
    steps: list[int] = []
    both = SummedFeaturizer([first, second])
    outcome = featurize_structures(memory_database, both, keys, step=steps.append)
    assert (first.calls, second.calls) == (3, 3)
    assert (outcome.computed, outcome.known, outcome.refused) == (3, 0, [])
    assert sum(steps) == 3
    found = FeatureStore(memory_database).get_many(keys, both.ref)
    np.testing.assert_array_equal(found[keys[2]], [[0.1, 0.1, 0.5, 0.5]])
    # A tenth is not a number of four bytes and stays as it is; a half is one.
    dtypes = {part: FeatureStore(memory_database).get(keys[0], part.ref) for part in both.parts}
    assert [array.dtype for array in dtypes.values() if array is not None] == [
        np.float64,
        np.float32,
    ]
    again = featurize_structures(memory_database, both, keys)
    assert (again.computed, again.known) == (0, 3)


def test_what_one_part_refuses_the_sum_lacks(memory_database: MongoDatabase) -> None:
    keys = store(memory_database, "Cu", "Po")
    both = SummedFeaturizer([Counting("any", 1.0, refuses="-"), Counting("picky", 2.0)])
    outcome = featurize_structures(memory_database, both, keys)
    assert (outcome.computed, outcome.known) == (1, 0)
    assert [(each.label, each.reason) for each in outcome.refused] == [
        ("Po", "picky does not know Po.")
    ]
    assert set(FeatureStore(memory_database).get_many(keys, both.ref)) == {keys[0]}
