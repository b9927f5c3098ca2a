"""Finished OCEAN calculations of others are taken back, with structure, site and parameters."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest
from pymatgen.core import Structure

from nearedge.codes import get_code
from nearedge.codes.base import BadRun, FinishedRun, InputSet
from nearedge.codes.finished.sidecar import SIDECAR, sidecar_text
from nearedge.codes.ocean.deck import parse_cards
from nearedge.codes.protocols import load_protocol, protocol_names
from nearedge.spectra.spectrum import HARTREE


def ran_elsewhere(inputs: InputSet, recorded: Path, folder: Path) -> None:
    """Put the recorded spectra beside these inputs, broadened as they say."""
    cards = parse_cards(inputs.files["ocean.in"])
    gam = f"{float(cards['cnbse.broaden']) / HARTREE:.8E}"
    for file, text in inputs.files.items():
        (folder / file).write_text(text)
    for path in recorded.glob("absspct_*"):
        (folder / path.name).write_text(path.read_text().replace("0.32706898E-01", gam))


def test_the_recorded_run_is_taken_back(recorded: Path) -> None:
    (run,) = get_code("ocean").finished(recorded)
    assert isinstance(run, FinishedRun)
    assert run.structure.composition.formula == "Ti4 O5"
    assert (run.absorber, run.absorbing_index, run.edge) == ("Ti", 0, "K")
    assert run.structure.volume == pytest.approx(92.264, abs=0.001)
    assert run.protocol == "custom"
    assert run.parameters["broadening"].value == 1.78
    assert run.parameters["density_k_mesh"].value == [6, 6, 6]
    assert run.parameters["metal"].value == "true"
    assert sorted(run.inputs) == ["ocean.in", "photon1", "photon2", "photon3"]
    assert len(run.result.spectrum) == 1001


def test_an_archive_gives_the_same(recorded: Path, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "runs.tar.gz", "w:gz") as archive:
        archive.add(recorded, "ti4o5/run")
    (run,) = get_code("ocean").finished(tmp_path / "runs.tar.gz")
    (other,) = get_code("ocean").finished(recorded)
    assert isinstance(run, FinishedRun)
    assert isinstance(other, FinishedRun)
    assert run.parameters == other.parameters
    assert run.fingerprint == other.fingerprint


@pytest.mark.parametrize("name", protocol_names("ocean"))
def test_a_protocol_is_recognised_by_what_it_makes(
    recorded: Path, ti4o5: Structure, tmp_path: Path, name: str
) -> None:
    """So that the same calculation gets the same id, whoever ran it."""
    code = get_code("ocean")
    inputs = code.inputs(ti4o5, 0, "K", name)
    ran_elsewhere(inputs, recorded, tmp_path)
    (run,) = code.finished(tmp_path)
    assert isinstance(run, FinishedRun), run
    assert run.protocol == load_protocol("ocean", name).label
    assert run.parameters == inputs.parameters


def test_inputs_that_were_run_elsewhere_come_back_as_what_was_asked_for(
    recorded: Path, ti4o5: Structure, tmp_path: Path
) -> None:
    """Also with changed settings, which no protocol's name tells."""
    code = get_code("ocean")
    inputs = code.inputs(ti4o5, 0, "K", "fast@1+core_offset=225.1")
    ran_elsewhere(inputs, recorded, tmp_path)
    (run,) = code.finished(tmp_path)
    assert isinstance(run, FinishedRun), run
    assert run.protocol == "custom"
    text = sidecar_text(inputs, ti4o5, 0, "K", label="ti4o5", ran=False)
    (tmp_path / SIDECAR).write_text(text)
    (run,) = code.finished(tmp_path)
    assert isinstance(run, FinishedRun), run
    assert run.protocol == "fast@1+core_offset=225.1"
    assert run.parameters == inputs.parameters


def test_a_damaged_run_is_listed_with_its_reason(copied: Path) -> None:
    (copied / "absspct_Ti.0001_1s_02").unlink()
    (run,) = get_code("ocean").finished(copied)
    assert isinstance(run, BadRun)
    assert "absspct_Ti.0001_1s_02 is missing" in run.reason
