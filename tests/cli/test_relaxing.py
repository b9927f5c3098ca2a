"""`--relax` says what it needs before anything is queued."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from fireworks.core.launchpad import LaunchPad

from nearedge.launch.fireworks import SPEC_KEY, launchpad
from nearedge.settings import Settings, get_settings
from nearedge.structures.builtin import builtin_structure

from .conftest import Command

WEIGHTS = "models/M3GNet-MP-2021.2.8-PES"


@pytest.fixture
def oxide(tmp_path: Path) -> Path:
    path = tmp_path / "oxide.cif"
    builtin_structure("Cu2O").structure.to(filename=str(path))
    return path


@pytest.mark.parametrize("verb", ["submit", "converge", "benchmark"])
@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--pressure", "5"], "--relax m3gnet"),
        (["--relax-mode", "full"], "--relax m3gnet"),
        (["--relax", "chgnet"], "m3gnet"),
        (
            ["--relax", "m3gnet", "--relax-mode", "fixed-volume", "--pressure", "5"],
            "volume is kept",
        ),
    ],
    ids=["pressure alone", "mode alone", "another potential", "pressure without a cell"],
)
def test_options_that_do_not_fit_are_refused(
    nearedge: Command, home: Path, oxide: Path, verb: str, options: list[str], said: str
) -> None:
    answer = nearedge(verb, oxide, "--absorber", "Cu", *options)
    assert answer.code in (1, 2)
    assert said in " ".join(answer.err.split())
    assert not home.exists(), "nothing was written"


def test_inputs_are_not_written_of_what_is_not_relaxed(
    nearedge: Command, oxide: Path, tmp_path: Path
) -> None:
    options = ["--relax", "m3gnet", "--inputs-only", tmp_path / "inputs"]
    answer = nearedge("submit", oxide, "--absorber", "Cu", *options)
    assert answer.code == 2
    assert not (tmp_path / "inputs").exists()


def test_sites_of_relaxed_structures_share_no_jobs_and_it_is_said_why(
    nearedge: Command, oxide: Path
) -> None:
    options = ["--relax", "m3gnet", "--pack", "10"]
    answer = nearedge("submit", oxide, "--absorber", "Cu", *options)
    assert answer.code == 2
    assert "known once it is relaxed" in " ".join(answer.err.split())


@pytest.mark.integration
def test_without_weights_nothing_is_queued(
    nearedge: Command, live_settings: Settings, oxide: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("NEAREDGE_HOME", str(live_settings.home))
    monkeypatch.setenv("NEAREDGE_MODEL_PATH", str(tmp_path))
    monkeypatch.setattr("nearedge.models.featurizers.m3gnet.MATGL_CACHE", tmp_path / "none")
    monkeypatch.setattr("nearedge.models.featurizers.weights.HF_HUB_OFFLINE", True)
    answer = nearedge("submit", oxide, "--absorber", "Cu", "--relax", "m3gnet")
    assert answer.code == 1
    assert "NEAREDGE_MODEL_PATH" in answer.err
    assert launchpad(live_settings).fireworks.count_documents({}) == 0


@pytest.mark.integration
def test_every_verb_queues_the_relaxation_before_what_it_is_for(
    nearedge: Command, live_settings: Settings, oxide: Path, shared: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("NEAREDGE_HOME", str(live_settings.home))
    monkeypatch.setenv("NEAREDGE_MODEL_PATH", str(shared(WEIGHTS)))
    get_settings.cache_clear()
    options = [oxide, "--absorber", "Cu", "--relax", "m3gnet", "--pressure", "2", "--json"]
    assert nearedge("submit", *options).json["relaxing"] == 1
    assert nearedge("submit", *options).json["queued"] == 1
    assert nearedge("converge", *options, "--queue-only").json["relaxing"] == 1
    assert nearedge("benchmark", *options, "--submit").json["workflows"] == 1
    pad: LaunchPad = launchpad(live_settings)
    kinds = sorted(each["spec"][SPEC_KEY]["kind"] for each in pad.fireworks.find())
    assert kinds == ["continue"] * 3 + ["relax"] * 3
    maker = pad.fireworks.find_one({f"spec.{SPEC_KEY}.kind": "relax"})["spec"]["_tasks"][0]
    assert maker["job"]["function"]["@bound"]["pressure"] == 2.0
