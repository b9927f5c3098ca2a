"""Runs made elsewhere come back as what they are of."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pymatgen.core import Structure

from nearedge.codes.base import BadRun, FinishedRun
from nearedge.codes.finished.sidecar import SIDECAR, sidecar_text
from nearedge.codes.gpaw import GPAW
from nearedge.structures.identity import structure_id


def test_a_run_is_told_by_its_own_inputs(copy: Callable[[str], Path], diamond: Structure) -> None:
    (found,) = GPAW.finished(copy("diamond").parent)
    assert isinstance(found, FinishedRun)
    assert (found.absorber, found.edge, found.absorbing_index) == ("C", "K", 0)
    assert structure_id(found.structure) == structure_id(diamond)
    assert found.protocol == "custom"
    assert found.parameters["cutoff"].value == 350.0


def test_a_run_of_inputs_made_here_gets_the_parameters_that_it_had_here(
    copy: Callable[[str], Path], diamond: Structure, play: Callable[..., None], tmp_path: Path
) -> None:
    play("diamond")
    folder = copy("diamond")
    inputs = GPAW.inputs(diamond, 0, "K", "fast+cutoff=350+spectrum_k_radius=9")
    for name, text in inputs.files.items():
        (folder / name).write_text(text)
    (folder / SIDECAR).write_text(sidecar_text(inputs, diamond, 0, "K", label="diamond", ran=False))
    (found,) = GPAW.finished(folder.parent)
    assert isinstance(found, FinishedRun)
    assert found.parameters == inputs.parameters
    assert found.protocol == inputs.protocol
    assert found.code_version == "22.8.0"


def test_states_alone_say_nothing_of_their_crystal(copy: Callable[[str], Path]) -> None:
    folder = copy("diamond")
    (folder / "gpaw.json").unlink()
    (found,) = GPAW.finished(folder.parent)
    assert isinstance(found, BadRun)
    assert "gpaw.json" in found.reason
