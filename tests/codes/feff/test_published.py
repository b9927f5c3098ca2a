"""Our FEFF 10 against the FEFF 9.9.1 that OmniXAS published (arXiv:2409.19552), same decks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nearedge.codes.base import InputSet
from nearedge.codes.feff.finished import FinishedRun, iter_finished
from nearedge.codes.feff.run import run_feff

# The cheapest of the archive: SCF 7 Å, FMS 9 Å, 87 to 97 atoms.
CHOSEN = ("mp-705439_000", "mp-601195_000", "mp-1211660_002")


@pytest.fixture(scope="module")
def published(shared) -> dict[str, FinishedRun]:
    archive = shared("data/omnixas/cu_feff_calculations.tar.xz")
    found: dict[str, FinishedRun] = {}
    for run in iter_finished(archive):
        if isinstance(run, FinishedRun) and run.label in CHOSEN:
            found[run.label] = run
            if len(found) == len(CHOSEN):
                break
    return found


@pytest.mark.slow
@pytest.mark.integration
@pytest.mark.parametrize("label", CHOSEN)
def test_a_published_deck_gives_the_published_spectrum(published, tmp_path: Path, label) -> None:
    theirs = published[label]
    inputs = InputSet("feff", "test", theirs.protocol, theirs.inputs, theirs.parameters)
    ours = run_feff(inputs, tmp_path / "run", stage_timeout=3600)
    reference = theirs.result.spectrum
    peak = reference.absorption.max()
    np.testing.assert_allclose(ours.spectrum.energy, reference.energy, atol=0.01)
    deviation = np.abs(ours.spectrum.absorption - reference.absorption).max() / peak
    print(f"{label}: {deviation:.1e} of the peak, {ours.cpu_seconds:.0f} CPU-s")
    assert deviation < 1e-3
    assert ours.results["fermi_energy"].value == pytest.approx(
        theirs.result.results["fermi_energy"].value, abs=0.01
    )
