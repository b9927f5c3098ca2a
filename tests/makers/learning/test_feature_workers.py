"""Several processes give the same features as one, within the same memory."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
from pymatgen.core.lattice import Lattice
from pymatgen.core.structure import Structure

from nearedge.errors import ModelError
from nearedge.makers.learning.feature_workers import CpuClock, describe_all
from nearedge.models.featurizers import load_featurizer
from nearedge.schemas.structure import StructureDoc
from nearedge.structures.source import SourceRef

MANY = 60


def documents(count: int, read: list[int] | None = None) -> Iterator[StructureDoc]:
    """Cu2O in ever larger cells; `read` is told how many were asked for."""
    oxygen = [[0, 0, 0], [0.5, 0.5, 0.5]]
    copper = [[0.25, 0.25, 0.25], [0.75, 0.75, 0.25], [0.75, 0.25, 0.75], [0.25, 0.75, 0.75]]
    for number in range(count):
        if read is not None:
            read.append(number)
        structure = Structure(
            Lattice.cubic(4.0 + 0.01 * number), ["O"] * 2 + ["Cu"] * 4, [*oxygen, *copper]
        )
        yield StructureDoc.from_structure(structure, SourceRef(kind="object", label=str(number)))


@pytest.mark.integration
def test_two_processes_give_what_one_gives(shared: Callable[[str], Path]) -> None:
    models = shared("models")
    featurizer = load_featurizer("m3gnet:1,3", model_path=models)
    alone = {
        each.document.structure_key: each.features
        for each in describe_all(featurizer, documents(MANY), CpuClock())
    }
    clock, read, ahead = CpuClock(), [], 0
    answers = 0
    for each in describe_all(
        featurizer, documents(MANY, read), clock, workers=2, model_path=models
    ):
        ahead = max(ahead, len(read) - answers)
        answers += 1
        expected = alone.pop(each.document.structure_key)
        assert each.features is not None
        assert each.features == pytest.approx(expected, abs=2e-5)
    assert (answers, alone) == (MANY, {})
    assert ahead <= 40 + 8
    # Two processes that imported torch.
    assert clock.seconds > 2


def test_few_structures_start_no_process() -> None:
    class Numbers:
        ref = load_featurizer("acsf").ref
        blocks: dict[str, int] = {"numbers": 1}  # noqa: RUF012

        def features(self, structure: Structure) -> np.ndarray:
            if structure.lattice.a > 4.05:
                raise ModelError("Too large.")
            return np.full((len(structure), 1), float(os.getpid()))

    found = list(describe_all(Numbers(), documents(10), CpuClock(), workers=2))
    assert {float(each.features[0, 0]) for each in found if each.features is not None} == {
        float(os.getpid())
    }
    assert [each.refusal for each in found if each.features is None] == ["Too large."] * 4


@pytest.mark.slow
def test_a_process_that_is_killed_is_told_in_one_sentence() -> None:
    featurizer = load_featurizer("soap:4")
    described = describe_all(featurizer, documents(400), CpuClock(), workers=2)
    next(described)
    for process in psutil.Process().children(recursive=True):
        if "spawn_main" in " ".join(process.cmdline()):
            process.kill()
    with pytest.raises(ModelError, match="soap:4 features was killed"):
        list(described)
