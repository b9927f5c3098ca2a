"""The queue is asked by calculation, whatever its size."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from fireworks import Firework, Workflow
from fireworks.core.launchpad import LaunchPad

from nearedge.launch.fireworks import SPEC_KEY
from nearedge.launch.queue_state import queued
from nearedge.launch.submission import add_workflows

About = Callable[..., Workflow]


@pytest.fixture
def about(idle: Callable[..., Firework]) -> About:
    """Return a maker of workflows of one Firework about a calculation."""

    def make(calculation_id: str, project: str | None = None) -> Workflow:
        fields = {"calculation_id": calculation_id, "project": project, "label": calculation_id}
        return Workflow([idle(**{SPEC_KEY: fields})])

    return make


def test_jobs_are_found_by_calculation_and_only_while_they_are_to_come(
    pad: LaunchPad, about: About
) -> None:
    add_workflows(pad, [about("a", "p"), about("b"), about("a", "q")])
    pad.fireworks.update_one(
        {f"spec.{SPEC_KEY}.calculation_id": "b"}, {"$set": {"state": "FIZZLED"}}
    )
    found = queued(pad, ["a", "b", "c"])
    assert {job.project for job in found["a"]} == {"p", "q"}
    assert found.keys() == {"a"}
    assert queued(pad, ["b"], states=["FIZZLED"])["b"][0].state == "FIZZLED"


def test_thousands_of_calculations_are_asked_for_in_pieces(pad: LaunchPad, about: About) -> None:
    names = [str(number) for number in range(1200)]
    add_workflows(pad, [about(name) for name in names[::100]])
    assert set(queued(pad, names)) == set(names[::100])
