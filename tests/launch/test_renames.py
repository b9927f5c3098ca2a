"""Module paths are data: a job that was stored under an old path still loads."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from monty.json import MontyDecoder

from nearedge.launch.renames import RENAMED_MODULES
from nearedge.makers.feff import FeffMaker
from nearedge.makers.simulation import SiteOutcome

RECORDED = Path(__file__).parents[1] / "recorded" / "launch" / "learning_jobs.json"
"""Jobs of all makers that learn, as 0.1.0 stored them before they had a room of their own."""

# What jobflow stored of a job when its maker lived in a module of another name.
OLD_JOB = {
    "@module": "jobflow.core.job",
    "@class": "Job",
    "function": {
        "@module": "nearedge.makers.simulation_of_old",
        "@callable": "SimulationMaker.make",
        "@bound": {
            "@module": "nearedge.makers.feff_of_old",
            "@class": "FeffMaker",
            "name": "FEFF",
            "code": "feff",
            "edge": "L3",
            "protocol": "balanced",
            "project": "titania",
        },
    },
    "function_args": [{"a": 1}, 0],
    "function_kwargs": {},
    "output_schema": {
        "@module": "nearedge.makers.simulation_of_old",
        "@callable": "SiteOutcome",
    },
    "uuid": "0d2ec2f1-4d8e-4ae5-8ba7-6a1d1e0d9e0d",
    "index": 1,
    "name": "FEFF",
    "metadata": {},
    "hosts": [],
}


@pytest.fixture
def renamed(monkeypatch: pytest.MonkeyPatch) -> None:
    for old in ("simulation", "feff"):
        monkeypatch.setitem(
            RENAMED_MODULES, f"nearedge.makers.{old}_of_old", f"nearedge.makers.{old}"
        )
        # Restored to absent, so that no other test finds the old path imported.
        monkeypatch.delitem(sys.modules, f"nearedge.makers.{old}_of_old", raising=False)


@pytest.mark.usefixtures("renamed")
def test_a_job_stored_under_an_old_module_path_loads_with_its_maker() -> None:
    job = MontyDecoder().process_decoded(OLD_JOB)
    assert job.maker == FeffMaker(edge="L3", protocol="balanced", project="titania")
    assert job.output_schema is SiteOutcome


@pytest.mark.usefixtures("renamed")
def test_an_old_path_gives_the_new_module_itself_and_leaves_its_name_alone() -> None:
    old = importlib.import_module("nearedge.makers.feff_of_old")
    assert old is sys.modules["nearedge.makers.feff"]
    assert old.__name__ == "nearedge.makers.feff"
    assert old.__spec__ is not None
    assert old.__spec__.name == "nearedge.makers.feff"


def test_a_path_that_never_was_is_still_an_error() -> None:
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("nearedge.makers.no_such_module")


def test_every_renamed_module_leads_to_one_that_exists() -> None:
    for new in RENAMED_MODULES.values():
        assert importlib.util.find_spec(new) is not None, new


@pytest.mark.parametrize("stored", json.loads(RECORDED.read_text()), ids=lambda job: job["name"])
def test_jobs_stored_before_learning_had_its_room_load_with_the_maker_of_now(
    stored: dict[str, Any],
) -> None:
    old = stored["function"]["@module"]
    job = MontyDecoder().process_decoded(stored)
    assert job.maker.__class__.__name__ == stored["function"]["@bound"]["@class"]
    assert job.maker.__module__ == RENAMED_MODULES[old]
    assert job.function.__self__ is job.maker
    assert job.uuid == stored["uuid"]


def test_every_module_of_learning_jobs_that_were_stored_is_one_that_moved() -> None:
    named = {name for name in _modules(json.loads(RECORDED.read_text())) if "makers" in name}
    assert named
    assert named <= RENAMED_MODULES.keys()


def _modules(stored: object) -> Iterator[str]:
    """Yield every module path that a stored job names."""
    if isinstance(stored, dict):
        yield from [stored["@module"]] if "@module" in stored else []
        for each in stored.values():
            yield from _modules(each)
    elif isinstance(stored, list):
        for each in stored:
            yield from _modules(each)
