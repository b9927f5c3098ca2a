"""`queue`: what it refuses, what it shows, and structures that come back as spectra from Slurm."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from nearedge.launch.batch.adapter import BatchAdapter
from nearedge.settings import get_settings
from nearedge.structures.source import LoadedStructure
from nearedge.workflows.campaign import submit

from .conftest import Command

if TYPE_CHECKING:
    from tests.conftest import Slurm

Molecule = Callable[[str], LoadedStructure]


def test_without_a_scheduler_one_sentence_says_where_to_go(
    nearedge: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    said = nearedge("queue")
    assert said.code == 1
    assert said.err.startswith("Error: No batch scheduler is found here")
    assert "login node" in said.err


def test_a_code_that_does_not_exist_is_refused(
    nearedge: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = nearedge("queue", "--code", "fef")
    assert said.code == 2
    assert "'fef' is no code" in said.err
    monkeypatch.setenv("NEAREDGE_QUEUE", json.dumps({"codes": {"fef": {"tasks": 2}}}))
    said = nearedge("queue")
    assert said.code == 1
    assert "queue.codes.fef is about no code" in said.err


@pytest.mark.integration
@pytest.mark.usefixtures("ready")
def test_the_embedded_database_is_refused_for_nodes_that_cannot_reach_it(
    nearedge: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEAREDGE_QUEUE", json.dumps({"scheduler": "pbs"}))
    said = nearedge("queue")
    assert said.code == 1
    assert "listens on this machine's loopback alone" in said.err


@pytest.mark.integration
@pytest.mark.usefixtures("ready")
def test_a_dry_run_shows_the_scripts_and_submits_nothing(
    nearedge: Command, monkeypatch: pytest.MonkeyPatch, molecule: Molecule
) -> None:
    monkeypatch.setattr(BatchAdapter, "submit_to_queue", lambda *_: pytest.fail("submitted"))
    site = {"scheduler": "pbs", "all": {"partition": "workq"}}
    monkeypatch.setenv("NEAREDGE_QUEUE", json.dumps(site))
    said = nearedge("queue", "--dry-run")
    assert said.code == 1
    assert "Nothing is ready to run" in said.err
    submit([molecule("CO")], absorber="C", project="p", settings=get_settings())
    by_pilots = nearedge("queue", "--dry-run", "--json").json
    assert list(by_pilots) == ["feff"]
    assert "#PBS -q workq" in by_pilots["feff"]
    assert "pilot feff" in by_pilots["feff"]
    singly = nearedge("queue", "--dry-run", "--no-pilots")
    assert singly.out.startswith("# ---- feff\n")
    assert "one feff" in singly.out
    assert nearedge("status", "--json").json["queue"] == {"READY": 1, "WAITING": 1}


@pytest.mark.integration
@pytest.mark.usefixtures("ready")
def test_what_was_submitted_is_told_as_json_too(
    nearedge: Command, monkeypatch: pytest.MonkeyPatch, molecule: Molecule
) -> None:
    monkeypatch.setattr(BatchAdapter, "submit_to_queue", lambda *_: "77")
    monkeypatch.setattr(BatchAdapter, "get_njobs_in_queue", lambda *_: 0)
    site = {"scheduler": "pbs", "same_machine": True, "all": {"partition": "workq"}}
    monkeypatch.setenv("NEAREDGE_QUEUE", json.dumps(site))
    submit([molecule("CO")], absorber="C", project="p", settings=get_settings())
    said = nearedge("queue", "--no-pilots", "--json").json
    (job,) = said.pop("submitted")
    assert (job["batch_id"], job["job_class"]) == ("pbs:77", "feff")
    assert Path(job["folder"]).is_dir()
    assert said == {"refused": {}, "in_queue": 0, "ready": {"feff": 1}, "too_long": {}}
    assert nearedge("queue").out == "Nothing is ready to run.\n"


@pytest.mark.slow
@pytest.mark.integration
@pytest.mark.usefixtures("ready")
@pytest.mark.parametrize(("pilots", "jobs"), [("--pilots", 1), ("--no-pilots", 2)])
def test_structures_come_back_from_slurm_as_spectra(
    nearedge: Command,
    monkeypatch: pytest.MonkeyPatch,
    molecule: Molecule,
    slurm: Slurm,
    pilots: str,
    jobs: int,
) -> None:
    site = {"all": {"memory": "700M", "walltime": 900, "tasks": 1}}
    monkeypatch.setenv("NEAREDGE_QUEUE", json.dumps(site))
    before = set(slurm.states())  # of other tests
    given = [molecule("CO"), molecule("CCO")]  # three sites
    assert submit(given, absorber="C", project="p", settings=get_settings()).new == 3
    said = nearedge("queue", "--max", "2", pilots, "--json")
    assert len(said.json["submitted"]) == jobs
    assert "of yours in the queue" in nearedge("queue", "--max", "1", pilots).out
    deadline = time.monotonic() + 900
    while nearedge("status", "--json").json["queue"] != {"COMPLETED": 5}:
        assert time.monotonic() < deadline, nearedge("status").out
        nearedge("queue", "--max", "2", pilots)
        time.sleep(2)
    found = nearedge("query", "--project", "p", "--json").json
    assert sorted(each["kind"] for each in found) == ["average"] * 2 + ["site"] * 3
    while {"RUNNING", "COMPLETING", "PENDING"} & set(slurm.states().values()):
        time.sleep(1)
    ended = {state for number, state in slurm.states().items() if number not in before}
    assert ended == {"COMPLETED"}
