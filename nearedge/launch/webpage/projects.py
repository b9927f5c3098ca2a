"""Our own pages: how far each project is, with links into FireWorks' pages."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from fireworks.core.launchpad import LaunchPad
from flask import Blueprint, abort, render_template

from nearedge.launch.fireworks import SPEC_KEY
from nearedge.launch.progress import PartProgress, failures_by_name, progress
from nearedge.settings import Settings
from nearedge.store.connection import connect

NEWEST = 50
"""Jobs that a project's page lists of each kind: those that failed, and those that run."""


def pages(settings: Settings, queue: Callable[[], LaunchPad]) -> Blueprint:
    """Return the pages about projects of the database of these settings."""
    blueprint = Blueprint("nearedge", __name__, template_folder="templates", static_folder=None)

    def all_projects() -> str:
        parts = progress(queue(), connect(settings))
        return _page(parts, "Projects")

    def one_project(project: str) -> str:
        if project.startswith("$"):
            abort(400, "The name of a project does not begin with $.")
        parts = progress(queue(), connect(settings), project=project)
        if not parts:
            abort(404, f"There is no project {project}.")
        return _page(parts, project, project=project, jobs=_jobs(queue(), project))

    blueprint.add_url_rule("/projects/", view_func=all_projects)
    blueprint.add_url_rule("/projects/<project>/", view_func=one_project)
    return blueprint


def _page(parts: list[PartProgress], title: str, **more: object) -> str:
    return render_template(
        "nearedge/projects.html",
        title=title,
        parts=parts,
        failures=failures_by_name(parts),
        now=datetime.now(UTC),
        **more,
    )


def _jobs(pad: LaunchPad, project: str) -> list[dict[str, str]]:
    """Return the newest jobs of a project that fizzled or run, as FireWorks numbers them."""
    jobs = []
    for state in ("FIZZLED", "RUNNING"):
        query = {"state": state, f"spec.{SPEC_KEY}.project": project}
        fields = {"fw_id": 1, "state": 1, "name": 1, f"spec.{SPEC_KEY}.label": 1, "updated_on": 1}
        for stored in pad.fireworks.find(query, fields).sort("fw_id", -1).limit(NEWEST):
            about = stored.get("spec", {}).get(SPEC_KEY, {})
            jobs.append(
                {
                    "number": str(stored["fw_id"]),
                    "state": state,
                    "label": str(about.get("label") or stored.get("name", "")),
                    "updated": str(stored.get("updated_on", ""))[:19].replace("T", " "),
                }
            )
    return jobs
