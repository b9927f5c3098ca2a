"""Nobody is given a number twice."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from fireworks import Firework, Workflow
from fireworks.core.launchpad import LaunchPad

from nearedge.launch.fireworks import ensure_launchpad_indexes, launchpad
from nearedge.launch.guarding import GuardedLaunchPad
from nearedge.launch.submission import add_workflows
from nearedge.settings import Settings

pytestmark = pytest.mark.integration


def test_two_workers_at_once_never_get_the_same_number(embedded_settings: Settings) -> None:
    pads = [launchpad(embedded_settings) for _ in range(2)]
    ensure_launchpad_indexes(pads[0])

    def take(pad: LaunchPad) -> tuple[list[int], list[int]]:
        launches = [pad.get_new_launch_id() for _ in range(60)]
        return launches, [pad.get_new_fw_id(3) for _ in range(60)]

    with ThreadPoolExecutor(2) as threads:
        (one, first), (other, second) = threads.map(take, pads)
    assert sorted(one + other) == list(range(1, 121))
    assert sorted(first + second) == list(range(1, 361, 3))


def test_of_two_that_submit_at_once_every_workflow_is_whole_and_every_job_its_own(
    embedded_settings: Settings, idle: Callable[..., Firework]
) -> None:
    pads = [launchpad(embedded_settings) for _ in range(2)]
    ensure_launchpad_indexes(pads[0])
    together = Barrier(2)

    def submit(pad: GuardedLaunchPad) -> None:
        for _ in range(40):
            first = idle(who=str(id(pad)))
            workflow = Workflow([first, idle(parents=[first], who=str(id(pad)))])
            together.wait(30)
            add_workflows(pad, [workflow])

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(submit, pads))
    jobs = list(pads[0].fireworks.find({}))
    assert sorted(job["fw_id"] for job in jobs) == list(range(1, 161))
    of = {job["fw_id"]: job["spec"]["who"] for job in jobs}
    workflows = list(pads[0].workflows.find({}))
    assert sorted(node for each in workflows for node in each["nodes"]) == list(range(1, 161))
    for each in workflows:
        assert len({of[node] for node in each["nodes"]}) == 1, "its jobs are one submitter's"
    assert {job["state"] for job in jobs} == {"READY", "WAITING"}
    assert sum(job["state"] == "READY" for job in jobs) == 80


def test_numbers_begin_where_the_counter_stands(embedded_settings: Settings) -> None:
    pad = launchpad(embedded_settings)
    ensure_launchpad_indexes(pad)
    assert (pad.get_new_launch_id(), pad.get_new_launch_id()) == (1, 2)
    assert pad.get_new_fw_id(10) == 1
    assert pad.get_new_fw_id() == 11
