"""Classes of work: what may share a batch job.

A class is a simulation code, whose sites say its name; ``light``, what takes milliseconds and rides
along with any batch job (averages, decisions of a convergence, comparisons); and ``python``,
everything else: features, trainings, jobs of others' workflows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from fireworks.core.launchpad import LaunchPad

from nearedge.launch.fireworks import SPEC_KEY
from nearedge.launch.queue_state import JobKind

LIGHT = "light"
PYTHON = "python"
LIGHT_KINDS = (JobKind.AVERAGE, JobKind.CONVERGE, JobKind.BENCHMARK)

SET_APART = f"spec.{SPEC_KEY}.set_apart"
"""Where a Firework says that it is to have a batch job of its own: no pilot takes it."""

APART: dict[str, Any] = {SET_APART: {"$exists": True}}
FOR_PILOTS: dict[str, Any] = {SET_APART: {"$exists": False}}

_CODE, _KIND = f"spec.{SPEC_KEY}.code", f"spec.{SPEC_KEY}.kind"


def of_class(name: str) -> dict[str, Any]:
    """Return the query that finds the Fireworks of a class."""
    if name == LIGHT:
        return {_KIND: {"$in": list(LIGHT_KINDS)}}
    if name == PYTHON:
        return {_CODE: {"$exists": False}, _KIND: {"$nin": list(LIGHT_KINDS)}}
    return {_CODE: name}


def of_classes(names: list[str], project: str | None = None) -> dict[str, Any]:
    """Return the query that finds the Fireworks of several classes, of one project or of all."""
    each = [of_class(name) for name in names]
    found: dict[str, Any] = each[0] if len(each) == 1 else {"$or": each}
    if project is not None:
        found[f"spec.{SPEC_KEY}.project"] = project
    return found


def none_of(codes: list[str]) -> dict[str, Any]:
    """Return the query that finds the Fireworks of all but these codes."""
    return {_CODE: {"$nin": codes}} if codes else {}


def class_of(spec: Mapping[str, Any]) -> str:
    """Return the class of the Firework that has this spec."""
    about = spec.get(SPEC_KEY) or {}
    if about.get("kind") in LIGHT_KINDS:
        return LIGHT
    return str(about.get("code") or PYTHON)


def ready(
    pad: LaunchPad, project: str | None = None, also: Mapping[str, Any] | None = None
) -> Counter[str]:
    """Return how many runs of each class are ready: Fireworks, and of packs their sites.

    Parameters
    ----------
    project
        Only of this one.
    also
        A query that they answer as well.
    """
    match: dict[str, Any] = {"state": "READY", **(also or {})}
    if project is not None:
        match[f"spec.{SPEC_KEY}.project"] = project
    ids = f"$spec.{SPEC_KEY}.calculation_id"
    # One that makes only averages has no sites, and is a run.
    sites = {"$cond": [{"$isArray": ids}, {"$max": [1, {"$size": ids}]}, 1]}
    group = {"_id": {"code": f"${_CODE}", "kind": f"${_KIND}"}, "count": {"$sum": sites}}
    counts: Counter[str] = Counter()
    for row in pad.fireworks.aggregate([{"$match": match}, {"$group": group}]):
        counts[class_of({SPEC_KEY: row["_id"]})] += int(row["count"])
    return counts
