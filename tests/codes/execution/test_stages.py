"""Stages add up, and a field that does not converge is tried twice and no more."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nearedge.codes.base import CodeResult
from nearedge.codes.execution.stages import SECOND_ATTEMPT, Stages, twice
from nearedge.errors import CodeError
from nearedge.schemas.spectrum import EnergyReference
from nearedge.spectra.spectrum import Spectrum


def fails(name: str) -> str:
    raise CodeError(name, f"{name} happened.", "the log")


def test_costs_of_stages_add_up(tmp_path: Path) -> None:
    stages = Stages(tmp_path, stage_timeout=30.0)
    (tmp_path / "deep").mkdir()
    first = stages.run(["sh", "-c", "echo here"], stage="one", log="log")
    second = stages.run(["sh", "-c", "pwd"], stage="two", log="log", within="deep")
    assert stages.wall_seconds == first.wall_seconds + second.wall_seconds
    assert stages.cpu_seconds == first.cpu_seconds + second.cpu_seconds
    assert stages.text("log") == "here\n"
    assert stages.text("deep/log") == f"{tmp_path / 'deep'}\n"
    assert stages.text("not there") == ""
    energy = np.arange(3.0)
    result = CodeResult(Spectrum(energy, energy), EnergyReference(kind="arbitrary"), [])
    assert stages.ended(result).warnings == []
    again = stages.ended(result, attempts=2)
    assert (again.attempts, again.warnings) == (2, [SECOND_ATTEMPT])
    assert again.wall_seconds == stages.wall_seconds


def test_only_a_field_that_does_not_converge_is_tried_again() -> None:
    assert twice(lambda: "good", lambda: fails("never"), field="It") == ("good", 1)
    assert twice(lambda: fails("scf_not_converged"), lambda: "good", field="It") == ("good", 2)
    with pytest.raises(CodeError) as other:
        twice(lambda: fails("output_missing"), lambda: "good", field="It")
    assert other.value.name == "output_missing"


def test_two_failures_are_one_sentence_with_the_last_log() -> None:
    with pytest.raises(CodeError) as raised:
        twice(
            lambda: fails("scf_not_converged"),
            lambda: fails("scf_not_converged"),
            field="The field",
            advice="do something else",
        )
    assert raised.value.name == "scf_not_converged"
    assert raised.value.message == (
        "The field did not converge, nor did it with safer mixing; look at the structure, or do "
        "something else."
    )
    assert raised.value.log_tail == "the log"
