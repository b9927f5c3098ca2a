"""FireWorks' templates and files, without what they lack or would fetch from elsewhere.

Its graph of a workflow and its trees of JSON need jQuery, which they load from a host in the
internet: on a cluster without one both stay blank. It is served from the package XStatic-jQuery.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from importlib.resources import files

from flask import Flask, Response, g, send_from_directory
from jinja2 import BaseLoader, Environment

JQUERY = "/nearedge/jquery.min.js"
_OUTSIDE_JQUERY = "//code.jquery.com/jquery.min.js"
_SCRIPT = re.compile(r"<script\b(?![^>]*\bnonce=)")
_CONTENT = '<div class="container">'
_LINKS = (
    '<p class="container"><a href="/projects/">Projects</a> · <a href="/">Workflows and jobs</a>'
    "</p>\n"
)
_ICONS = "font-awesome-4.0.3/css/font-awesome.css"
"""A file that FireWorks' page of a workflow asks for and does not have."""


class MendedTemplates(BaseLoader):
    """FireWorks' templates with scripts from here, a nonce in each, and links to our pages."""

    def __init__(self, original: BaseLoader) -> None:
        self._original = original

    def get_source(
        self, environment: Environment, template: str
    ) -> tuple[str, str | None, Callable[[], bool] | None]:
        """Return the source of a template, mended."""
        source, path, uptodate = self._original.get_source(environment, template)
        source = source.replace(_OUTSIDE_JQUERY, JQUERY)
        source = _SCRIPT.sub('<script nonce="{{ script_nonce() }}"', source)
        if template == "base.html":
            source = source.replace(_CONTENT, _LINKS + _CONTENT, 1)
        return source, path, uptodate

    def list_templates(self) -> list[str]:
        """Return the names of all templates."""
        return self._original.list_templates()


def script_nonce() -> str:
    """Return what marks the scripts of this answer as the page's own."""
    if "script_nonce" not in g:
        g.script_nonce = secrets.token_urlsafe(16)
    return str(g.script_nonce)


def mend(app: Flask) -> None:
    """Let FireWorks' application use the mended templates and files.

    Raises
    ------
    ModuleNotFoundError
        If XStatic-jQuery is not installed.
    """
    scripts = str(files("xstatic.pkg.jquery") / "data")
    if app.jinja_loader is not None:
        app.jinja_loader = MendedTemplates(app.jinja_loader)
    app.add_template_global(script_nonce)
    app.add_url_rule(JQUERY, "jquery", lambda: send_from_directory(scripts, "jquery.min.js"))
    app.add_url_rule(f"/static/{_ICONS}", view_func=_icons)


def _icons() -> Response:
    return send_from_directory(str(files(__package__) / "static"), "icons.css")
