"""A pass submits what there is room for: pilots for what they work, one job for each other."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from fireworks.core.launchpad import LaunchPad

from nearedge.cli.queueing import _tell
from nearedge.errors import LaunchError
from nearedge.launch.batch import adapter, filling
from nearedge.launch.batch.adapter import BatchAdapter
from nearedge.launch.batch.classes import class_of, none_of, of_classes, ready
from nearedge.launch.batch.filling import Wanted, fill, refuse_unknown_classes, refuse_unreachable
from nearedge.launch.batch.pilots import PILOTS
from nearedge.queue_settings import QueueSettings
from nearedge.settings import Settings


def test_the_class_of_work_is_the_code_or_what_rides_along(
    pad: LaunchPad, add: Callable[..., int]
) -> None:
    for about in (
        {"kind": "site", "code": "feff", "project": "a"},
        {"kind": "site", "code": "vasp", "project": "b"},
        {"kind": "average", "project": "a"},
        {"kind": "converge"},
        {"kind": "train"},
        {},
    ):
        add(**about)
    assert ready(pad) == {"feff": 1, "vasp": 1, "light": 2, "python": 2}
    assert ready(pad, "a") == {"feff": 1, "light": 1}
    for name, count in {"feff": 1, "light": 2, "python": 2}.items():
        found = list(pad.fireworks.find(of_classes([name]), {"spec": 1}))
        assert len(found) == count
        assert {class_of(each["spec"]) for each in found} == {name}
    assert pad.fireworks.count_documents(of_classes(["feff", "light"], "a")) == 2
    assert pad.fireworks.count_documents(none_of(["vasp"])) == 5


def test_a_pilot_is_submitted_for_as_many_runs_as_it_gets_done(
    pad: LaunchPad, add: Callable[..., int], settings: Settings, submitted: list[str]
) -> None:
    for _ in range(11):  # one pilot does 2 x 5 in its 58 minutes of work
        add(kind="site", code="feff")
    done = fill(pad, "slurm", settings, Wanted(max_jobs=5))
    assert [job.batch_id for job in done.submitted] == ["slurm:101", "slurm:102"]
    assert "pilot feff" in submitted[0]
    row = pad.db[PILOTS].find_one({"_id": "slurm:101"})
    assert (row["state"], row["codes"], row["cores"]) == ("submitted", ["feff"], 2)
    assert fill(pad, "slurm", settings, Wanted(max_jobs=5)).submitted == [], "they wait already"


def test_a_pack_needs_as_many_pilots_as_its_sites_and_none_if_it_is_too_long(
    pad: LaunchPad, add: Callable[..., int], settings: Settings, submitted: list[str]
) -> None:
    pack = {"kind": "pack", "code": "feff"}
    add(**pack, calculation_id=[f"{each}" for each in range(15)], at_least_seconds=7000.0)
    done = fill(pad, "slurm", settings, Wanted(max_jobs=5))
    assert (done.submitted, done.too_long) == ([], {"feff": 15})
    add(**pack, calculation_id=[f"{each}" for each in range(10)])
    add(**pack, calculation_id=[])
    assert ready(pad) == {"feff": 26}
    assert len(fill(pad, "slurm", settings, Wanted(max_jobs=5)).submitted) == 2, "10 runs each"


def test_no_pilot_is_submitted_for_a_run_that_it_would_not_begin_and_that_is_said(
    pad: LaunchPad,
    add: Callable[..., int],
    settings: Settings,
    submitted: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    add(kind="site", code="feff", at_least_seconds=7000.0)
    done = fill(pad, "slurm", settings, Wanted(max_jobs=5))
    assert (done.submitted, done.too_long) == ([], {"feff": 1})
    _tell(done, Wanted(max_jobs=5), as_json=False)
    assert "raise queue.codes.feff.walltime" in " ".join(capsys.readouterr().err.split())
    add(kind="site", code="feff", at_least_seconds=100.0)
    assert len(fill(pad, "slurm", settings, Wanted(max_jobs=5)).submitted) == 1
    one_by_one = fill(pad, "slurm", settings, Wanted(max_jobs=5, pilots=False))
    assert len(one_by_one.submitted) == 2, "each of them fizzles where its time is too short"


def test_long_runs_are_reserved_one_by_one_by_priority_up_to_the_most(
    pad: LaunchPad, add: Callable[..., int], settings: Settings, submitted: list[str]
) -> None:
    low, high, other = (add(kind="site", code="vasp", priority=n) for n in (0, 5, 1))
    done = fill(pad, "slurm", settings, Wanted(max_jobs=2))
    assert [job.fw_id for job in done.submitted] == [high, other]
    assert f"--fw-id {high}" in submitted[0]
    assert pad.get_reservation_id_from_fw_id(high) == "101"
    assert pad.get_fw_dict_by_id(high)["state"] == "RESERVED"
    assert pad.get_fw_dict_by_id(low)["state"] == "READY"


def test_only_the_chosen_project_and_code_are_submitted(
    pad: LaunchPad, add: Callable[..., int], settings: Settings, submitted: list[str]
) -> None:
    add(kind="site", code="vasp", project="a")
    mine = add(kind="site", code="vasp", project="b")
    add(kind="site", code="feff", project="b")
    wanted = Wanted(max_jobs=9, project="b", classes=("vasp",))
    assert [job.fw_id for job in fill(pad, "slurm", settings, wanted).submitted] == [mine]


def test_pilots_are_chosen_for_all(
    pad: LaunchPad, add: Callable[..., int], settings: Settings, submitted: list[str]
) -> None:
    add(kind="site", code="vasp")
    add(kind="site", code="feff")
    done = fill(pad, "slurm", settings, Wanted(max_jobs=9, pilots=True))
    assert [job.fw_id for job in done.submitted] == [None, None]
    pad.db[PILOTS].delete_many({})
    done = fill(pad, "slurm", settings, Wanted(max_jobs=9, pilots=False))
    assert None not in [job.fw_id for job in done.submitted]


def test_a_job_that_was_set_apart_gets_a_batch_job_of_its_own_where_others_have_pilots(
    pad: LaunchPad, add: Callable[..., int], settings: Settings, submitted: list[str]
) -> None:
    apart = add(kind="site", code="feff", set_apart=True)
    done = fill(pad, "slurm", settings, Wanted(max_jobs=5))
    assert [job.fw_id for job in done.submitted] == [apart]
    add(kind="site", code="feff")
    second = add(kind="site", code="feff", set_apart=True)
    done = fill(pad, "slurm", settings, Wanted(max_jobs=5))
    assert [job.fw_id for job in done.submitted] == [None, second]
    assert "pilot feff" in submitted[1]
    assert f"--fw-id {second}" in submitted[2]


def test_light_work_alone_gets_a_pilot_and_else_rides_along(
    pad: LaunchPad, add: Callable[..., int], settings: Settings, submitted: list[str]
) -> None:
    add(kind="average")
    site = add(kind="site", code="vasp")
    assert [j.job_class for j in fill(pad, "slurm", settings, Wanted(9)).submitted] == ["vasp"]
    pad.fireworks.update_one({"fw_id": site}, {"$set": {"state": "COMPLETED"}})
    assert [j.job_class for j in fill(pad, "slurm", settings, Wanted(9)).submitted] == ["light"]


def test_nothing_is_submitted_where_the_scheduler_does_not_count_its_jobs(
    pad: LaunchPad,
    add: Callable[..., int],
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(BatchAdapter, "get_njobs_in_queue", lambda self: None)
    with pytest.raises(LaunchError, match="does not say how many jobs"):
        fill(pad, "slurm", settings, Wanted(9))
    with pytest.raises(LaunchError, match="name it in the settings"):
        adapter.jobs_in_queue("pbs", QueueSettings())


def test_the_embedded_database_is_refused_where_jobs_run_elsewhere(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filling, "on_this_machine_alone", lambda *_: False)
    with pytest.raises(LaunchError, match="listens on this machine's loopback alone"):
        refuse_unreachable(settings, "slurm")
    here = settings.model_copy(update={"queue": QueueSettings(same_machine=True)})
    monkeypatch.undo()
    refuse_unreachable(here, "pbs")


def test_a_code_of_the_settings_that_does_not_exist_is_refused(settings: Settings) -> None:
    with pytest.raises(LaunchError, match=r"queue.codes.feff is about no code: there are vasp"):
        refuse_unknown_classes(settings, ["vasp"])
