"""A serialised structure gives a crystal, and nothing else."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pymatgen.core import Lattice, Structure

from nearedge.codes.base import InputSet
from nearedge.codes.finished.sidecar import parse_sidecar, sidecar_text
from nearedge.schemas import SourceRef, StructureDoc
from nearedge.structures.source import LoadedStructure
from nearedge.structures.sources import load_structures
from nearedge.structures.stored import stored_structure

CRYSTAL = Structure(Lattice.cubic(4.2), ["Ti", "O"], [[0, 0, 0], [0.5, 0.5, 0.5]])
MODULE = "nearedge_test_module_that_must_not_run"

Hostile = Callable[[], dict[str, Any]]


@pytest.fixture
def hostile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hostile:
    """Return a structure whose decoding by pymatgen imports a module that can be found."""
    (tmp_path / f"{MODULE}.py").write_text("class Thing:\n    pass\n")
    monkeypatch.syspath_prepend(tmp_path)

    def make() -> dict[str, Any]:
        content: dict[str, Any] = json.loads(CRYSTAL.to_json())
        content["sites"][0]["properties"] = {"magmom": {"@module": MODULE, "@class": "Thing"}}
        return content

    return make


def test_pymatgens_own_reader_would_import_what_a_file_names(hostile: Hostile) -> None:
    Structure.from_dict(hostile())
    assert sys.modules.pop(MODULE, None) is not None


def test_no_module_is_imported_that_a_structure_names(hostile: Hostile, tmp_path: Path) -> None:
    content = hostile()
    path = tmp_path / "crystal.json"
    path.write_text(json.dumps(content))
    (loaded,) = load_structures([path])
    assert isinstance(loaded, LoadedStructure)
    document = StructureDoc.from_structure(CRYSTAL, SourceRef(kind="object", label="TiO"))
    stored = document.model_copy(update={"structure": content})
    inputs = InputSet("feff", "10", "fast@1", {"feff.inp": ""}, {})
    sidecar = json.loads(sidecar_text(inputs, CRYSTAL, 0, "K", label="TiO", ran=False))
    told = parse_sidecar(json.dumps({**sidecar, "structure": content}))
    for structure in (loaded.structure, stored.to_structure(), told.structure):
        assert structure == CRYSTAL
    assert MODULE not in sys.modules


def test_a_crystal_comes_back_exactly() -> None:
    for crystal in (CRYSTAL, CRYSTAL.copy().add_oxidation_state_by_element({"Ti": 2, "O": -2})):
        assert stored_structure(json.loads(crystal.to_json())) == crystal


@pytest.mark.parametrize("content", [None, [], {}, {"sites": 3}, {"sites": [1]}])
def test_what_is_no_structure_is_refused(content: object) -> None:
    with pytest.raises(ValueError, match="it "):
        stored_structure(content)
