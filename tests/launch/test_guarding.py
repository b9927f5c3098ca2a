"""What the database names is not what a worker runs: only NearEdge's own jobs are."""

from __future__ import annotations

import math
import sys
import textwrap
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import jobflow
import pytest
from fireworks import Firework, Workflow
from fireworks.core.launchpad import LaunchPad
from jobflow import Job
from jobflow.managers.fireworks import JobFiretask, flow_to_workflow
from pymatgen.core import Lattice, Structure

from nearedge.errors import JobRefused, LaunchError
from nearedge.launch.allowed import (
    SPEC_KEYS,
    TASKS,
    refused_content,
    refused_keys,
    refused_spec,
)
from nearedge.launch.failures import fizzled_jobs
from nearedge.launch.fireworks import ensure_launchpad_indexes, job_store, launchpad
from nearedge.launch.recovery import recover
from nearedge.launch.submission import add_workflows
from nearedge.launch.worker import Worker
from nearedge.settings import Settings
from nearedge.store.connection import connect
from nearedge.workflows.spectrum import SpectrumFlowMaker

Idle = Callable[..., Firework]

TRAP = "a_module_that_leaves_a_mark"


@pytest.fixture
def trap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Put a module on the path that leaves a file behind when it is imported; return the file."""
    mark = tmp_path / "mark"
    (tmp_path / f"{TRAP}.py").write_text(
        f"open({str(mark)!r}, 'w').write('imported')\n"
        "from dataclasses import dataclass\n"
        "def run(*args): return None\n"
        "@dataclass\n"
        "class Thing:\n    x: int = 0\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    yield mark
    sys.modules.pop(TRAP, None)


@pytest.fixture
def job_store_of_before() -> Iterator[None]:
    before = jobflow.SETTINGS.JOB_STORE
    yield
    jobflow.SETTINGS.JOB_STORE = before


@pytest.fixture
def real() -> dict[str, Any]:
    """Return a site's Firework as NearEdge stores it."""
    cell = Structure(Lattice.cubic(4.2), ["Ti", "O"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    flow = SpectrumFlowMaker.for_code("feff", project="demo").make(cell, "Ti")
    stored: dict[str, Any] = flow_to_workflow(flow).fws[0].to_db_dict()
    return stored


def _trapped(spec: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return that spec with a trap in each of the places that something is decoded from."""
    thing = {"@module": TRAP, "@class": "Thing", "x": 1}
    function = {"@module": TRAP, "@callable": "run", "@bound": None}
    traps: dict[str, dict[str, Any]] = {}

    def put(name: str, change: Callable[[dict[str, Any]], object]) -> None:
        copy = deepcopy(spec)
        change(copy)
        traps[name] = copy

    put("task", lambda s: s["_tasks"].append({"_fw_name": f"{{{{{TRAP}.Task}}}}"}))
    put(
        "fireworks' own task",
        lambda s: s.update(_tasks=[{"_fw_name": "ScriptTask", "script": "id"}]),
    )
    put("function", lambda s: s["_tasks"][0]["job"].update(function=function))
    put("maker", lambda s: s["_tasks"][0]["job"]["function"].update({"@bound": thing}))
    put("argument", lambda s: s["_tasks"][0]["job"]["function_args"].append({"a": [thing]}))
    put("schema", lambda s: s["_tasks"][0]["job"].update(output_schema=function))
    put("store", lambda s: s["_tasks"][0].update(store=thing))
    put("spec", lambda s: s.update(more=thing))
    # By way of a module of ours: what it imported is not what it defines.
    put(
        "function of another package",
        lambda s: s["_tasks"][0]["job"]["function"].update(
            {"@module": "nearedge.makers.simulation", "@callable": "shutil.rmtree", "@bound": None}
        ),
    )
    put(
        "another method of a maker",
        lambda s: s["_tasks"][0]["job"]["function"].update({"@callable": "SimulationMaker._run"}),
    )
    put(
        "a command",
        lambda s: s["_tasks"][0]["job"]["function"].update(
            {"@module": "nearedge.cli.app", "@callable": "main", "@bound": None}
        ),
    )
    for key in ("_launch_dir", "_files_prev", "_background_tasks", "_queueadapter", "_trackers"):
        put(key, lambda s, key=key: s.update({key: {"a": "b"}}))
    return traps


def test_what_nearedge_itself_submits_is_allowed(real: dict[str, Any]) -> None:
    assert refused_spec(real["spec"]) is None
    assert {key for key in real["spec"] if key.startswith("_")} <= SPEC_KEYS


def test_whatever_else_is_named_anywhere_is_refused_and_not_imported(
    real: dict[str, Any], trap: Path
) -> None:
    traps = _trapped(real["spec"])
    assert len(traps) == 16
    for name, spec in traps.items():
        assert refused_spec(spec) is not None, name
    assert not trap.exists()


@pytest.mark.parametrize("names", [{"@callable": "system"}, {"@class": "system"}])
@pytest.mark.parametrize("task", [*sorted(TASKS), "{{mine.Task}}"])
def test_an_allowed_task_vouches_for_no_other_name_beside_its_own(
    real: dict[str, Any], task: str, names: dict[str, str]
) -> None:
    function = {"_fw_name": task, "@module": "os", **names, "@bound": None}
    spec = deepcopy(real["spec"])
    spec["_tasks"][0]["job"]["function"] = function
    assert "os.system" in str(refused_spec(spec, ("mine",)))
    assert "os.system" in str(refused_content({"a": [function]}, ("mine",))), "as an output"


def test_a_module_of_the_settings_is_trusted_with_those_below_it() -> None:
    function = {"@module": "mine.jobs", "@callable": "run", "@bound": None}
    assert refused_content([function]) is not None
    assert refused_content([function], ("mine",)) is None
    assert refused_content([function], ("mine.jobs",)) is None
    assert refused_content([function], ("min", "mine.job")) is not None


@pytest.mark.parametrize("key", ["_launch_dir", "_category", "_my_own", "$where"])
def test_metadata_that_fireworks_or_the_database_act_on_is_refused_at_submission(
    pad: LaunchPad, idle: Idle, key: str
) -> None:
    assert refused_keys({key: 1}) is not None
    with pytest.raises(LaunchError, match="metadata"):
        add_workflows(pad, [Workflow([idle()]), Workflow([idle(**{key: "x"})])])
    assert pad.fireworks.count_documents({}) == 0, "nothing of the batch was added"


@pytest.mark.integration
@pytest.mark.usefixtures("job_store_of_before")
def test_a_worker_runs_nothing_of_it_names_the_error_and_does_not_try_again(
    live_settings: Settings, idle: Idle, real: dict[str, Any], trap: Path
) -> None:
    pad = launchpad(live_settings)
    ensure_launchpad_indexes(pad)
    traps = _trapped(real["spec"])
    for spec in list(traps.values())[:4]:
        parent = idle()
        pad.add_wf(Workflow([parent, idle(parents=[parent])]))
        pad.fireworks.update_one({"fw_id": parent.fw_id}, {"$set": {"spec": spec}})
    summary = Worker(live_settings).work()
    assert (summary.completed, summary.failed) == (0, 4)
    assert not trap.exists()
    found = fizzled_jobs(pad, by_machine=False)
    assert [each.error.split(":")[0] for each in found] == ["nearedge.errors.JobRefused"] * 4
    recover(pad, connect(live_settings))
    assert pad.fireworks.count_documents({"state": "FIZZLED"}) == 4
    assert pad.fireworks.count_documents({"state": "READY"}) == 0
    kept = [row["spec"] for row in pad.fireworks.find({"state": "FIZZLED"}).sort("fw_id", 1)]
    assert kept == list(traps.values())[:4], "what it was can be looked at"


@pytest.mark.integration
@pytest.mark.usefixtures("job_store_of_before")
def test_a_job_that_ends_does_not_decode_its_child(
    live_settings: Settings, idle: Idle, real: dict[str, Any], trap: Path
) -> None:
    pad = launchpad(live_settings)
    ensure_launchpad_indexes(pad)
    parent = idle()
    pad.add_wf(Workflow([parent, (child := idle(parents=[parent]))]))
    spec = _trapped(real["spec"])["argument"]
    pad.fireworks.update_one({"fw_id": child.fw_id}, {"$set": {"spec": spec}})
    summary = Worker(live_settings).work()
    assert (summary.completed, summary.failed) == (1, 1)
    assert not trap.exists()


@pytest.mark.integration
@pytest.mark.usefixtures("job_store_of_before")
def test_a_job_that_was_refused_runs_as_it_was_submitted_once_its_module_is_trusted(
    live_settings: Settings, idle: Idle
) -> None:
    pad = launchpad(live_settings)
    ensure_launchpad_indexes(pad)
    parent = idle()
    foreign = JobFiretask(job=Job(textwrap.dedent, function_args=("  a",)), store=None)
    child = Firework([foreign], parents=[parent], spec={"long": "x" * 200_000})
    pad.add_wf(Workflow([parent, child]))
    submitted = pad.fireworks.find_one({"fw_id": child.fw_id})["spec"]
    summary = Worker(live_settings).work()  # reads the child twice: to make it ready, and to run it
    assert (summary.completed, summary.failed) == (1, 1)
    pad.rerun_fw(child.fw_id)
    assert pad.fireworks.find_one({"fw_id": child.fw_id})["spec"] == submitted
    trusting = live_settings.model_copy(update={"trusted_jobs": "textwrap"})
    summary = Worker(trusting).work()
    assert (summary.completed, summary.failed) == (1, 0)


@pytest.mark.integration
def test_an_output_that_names_something_else_is_not_decoded(
    live_settings: Settings, trap: Path
) -> None:
    store = job_store(live_settings)
    store.connect()
    thing = {"@module": TRAP, "@class": "Thing", "x": 1}
    store.docs_store._collection.insert_one({"uuid": "u", "index": 1, "output": {"a": [thing]}})
    with pytest.raises(JobRefused, match=TRAP):
        store.get_output("u")
    assert not trap.exists()


def test_a_function_that_is_not_ours_is_refused_although_it_is_harmless() -> None:
    spec = {"_tasks": [{"job": Job(math.sqrt, function_args=(4.0,)).as_dict()}]}
    assert "math.sqrt" in str(refused_spec(spec))


def test_what_a_job_predicts_may_be_read() -> None:
    predicted = {"@module": "nearedge.models.prediction", "@class": "StructurePrediction"}
    assert refused_content({"output": [predicted]}) is None
