"""The page about adding a code names what there is, in the recipe's order."""

from __future__ import annotations

import re
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import yaml

from nearedge.codes.base import CodeResult, InputSet
from nearedge.codes.execution.executables import Executable
from nearedge.codes.execution.stage import claim, run_stage, write_files
from nearedge.schemas.spectrum import EnergyReference
from nearedge.settings import get_settings
from nearedge.spectra.spectrum import Spectrum

CHECKOUT = Path(__file__).parents[2]
PAGE = (CHECKOUT / "docs" / "adding-a-code.md").read_text(encoding="utf-8")
PROSE = re.sub(r"```.*?```", "", PAGE, flags=re.DOTALL)
WHERE = (
    *("nearedge.codes", "nearedge.codes.base", "nearedge.codes.execution.executables"),
    *("nearedge.codes.execution.stage", "nearedge.codes.finished.runs", "nearedge.errors"),
    "nearedge.codes.outputs",
    *(
        "nearedge.codes.execution.stages",
        "nearedge.makers.simulation",
        "nearedge.workflows.spectrum",
    ),
)


def block(language: str) -> str:
    (text,) = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    return str(text)


def test_the_page_goes_through_the_recipe_in_its_order() -> None:
    steps = re.findall(r"^## \d\. (.*?):", PAGE, re.MULTILINE)
    assert steps == ["Input set", "Command", "Parser", "Named failure", "Document"]
    for room in ("inputs", "run", "parse", "failures", "finished", "__init__"):
        assert f"`{room}.py`" in PROSE
    for file in ("protocols.yaml", "convergence.yaml", "cases.yaml", "nearedge.json"):
        assert f"`{file}`" in PROSE


def test_every_name_of_the_page_is_there() -> None:
    modules = [import_module(name) for name in WHERE]
    names = re.findall(r"`([A-Z]\w*[a-z]\w*|_[A-Z_]+|[a-z]+_[a-z_]+)`", PROSE)
    assert {"InputSet", "CodeResult", "run_stage", "iter_run_folders", "_CODES"} <= set(names)
    sources = [
        path.read_text(encoding="utf-8") for path in (CHECKOUT / "nearedge" / "codes").rglob("*.py")
    ]
    for name in names:
        is_failure = any(f'"{name}"' in source for source in sources)
        is_field = name in InputSet.__annotations__
        assert is_failure or is_field or any(hasattr(module, name) for module in modules), name


def test_the_pages_command_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEAREDGE_VASP_COMMAND", "cp in out")
    get_settings.cache_clear()

    def read_folder(folder: Path) -> CodeResult:
        values = np.array((folder / "out").read_text().split(), dtype=float)
        return CodeResult(
            spectrum=Spectrum(np.arange(3.0), values),
            energy_reference=EnergyReference(kind="arbitrary"),
            broadening=[],
        )

    names = {
        **{"Executable": Executable, "claim": claim, "write_files": write_files},
        **{"run_stage": run_stage, "read_folder": read_folder, "replace": replace},
    }
    exec(block("python").replace("mycode_command", "vasp_command"), names)
    inputs = InputSet("mycode", "1", "fast@1", {"in": "1 2 3"}, {})
    run = names["run_mycode"]
    result = run(inputs, tmp_path / "run", stage_timeout=30.0)  # type: ignore[operator]
    get_settings.cache_clear()
    assert result.spectrum.absorption.tolist() == [1, 2, 3]
    assert result.wall_seconds > 0
    assert result.cpu_seconds is not None
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["in", "mycode.log", "out"]


def test_the_pages_cases_are_of_the_form_that_is_read() -> None:
    cases = yaml.safe_load(block("yaml"))
    assert len(cases["success"]) >= 1
    assert len(cases["failures"]) >= 3
    for entry in cases["failures"].values():
        assert entry["of"] in cases["success"]
        assert f"`{entry['raises']}`" in PROSE
        assert {"truncate", "replace", "remove"} & entry.keys()
