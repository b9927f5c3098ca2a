"""Module paths are data: a job that was stored under an old path still loads."""

from __future__ import annotations

import importlib
import sys

import pytest
from monty.json import MontyDecoder

from nearedge.launch.renames import RENAMED_MODULES
from nearedge.makers.feff import FeffMaker
from nearedge.makers.simulation import SiteOutcome

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
