"""OCEAN is run by the settings' command. A stand-in plays it: the real one is not at hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from pymatgen.core import Structure

from nearedge.codes import get_code
from nearedge.errors import CodeError


def test_the_command_runs_and_its_polarisations_are_averaged(
    stand_in: Callable[[str], None], recorded: Path, ti4o5: Structure, tmp_path: Path
) -> None:
    stand_in("good")
    code = get_code("ocean")
    inputs = code.inputs(ti4o5, 1, "K", "fast@1+core_offset=225.1")
    stages: list[str] = []
    result = code.run(inputs, tmp_path / "new", stage_timeout=60, progress=stages.append)
    assert stages == ["ocean"]
    reference = code.read(recorded).spectrum
    assert result.spectrum.absorption == pytest.approx(2 * reference.absorption, rel=1e-6)
    assert result.wall_seconds is not None
    assert result.wall_seconds > 0
    assert "Welcome to OCEAN" in (tmp_path / "new" / "ocean.log").read_text()


@pytest.mark.parametrize(
    ("mode", "name"),
    [
        ("polarisation", "missing_polarisation"),
        ("nan", "output_not_finite"),
        ("stage", "stage_failed"),
    ],
)
def test_a_failed_run_is_named_with_the_log(
    stand_in: Callable[[str], None], ti4o5: Structure, tmp_path: Path, mode: str, name: str
) -> None:
    stand_in(mode)
    code = get_code("ocean")
    with pytest.raises(CodeError) as raised:
        code.run(code.inputs(ti4o5, 1, "K", "fast"), tmp_path / "new", stage_timeout=60)
    assert raised.value.name == name
    assert "Welcome to OCEAN" in raised.value.log_tail
    if mode == "stage":
        assert "stage CNBSE" in raised.value.message
