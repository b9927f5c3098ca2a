"""The web page's application: FireWorks' own, guarded and mended, and our pages beside it."""

from __future__ import annotations

import logging
from functools import cache

from fireworks.core.launchpad import LaunchPad
from fireworks.flask_site.app import app as fireworks_app
from flask import Flask, Response, render_template, request
from pymongo.errors import PyMongoError
from werkzeug.exceptions import HTTPException, InternalServerError

from nearedge.errors import DatabaseError
from nearedge.launch.fireworks import launchpad
from nearedge.launch.webpage.counting import CountedQueue, without_empty_conditions
from nearedge.launch.webpage.guard import (
    Login,
    check_parameters,
    refuse_bad_filters,
    refuse_writes,
    secured,
)
from nearedge.launch.webpage.mending import mend
from nearedge.launch.webpage.projects import pages
from nearedge.settings import Settings
from nearedge.store.connection import mongo_uri

log = logging.getLogger(__name__)

_GRAPH = "wf_details"
"""The page whose scripts make functions of text."""


class _Queue:
    """The launchpad of the settings, made anew when the database comes back at another address."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._launchpad = cache(lambda uri: launchpad(settings))

    def __call__(self) -> LaunchPad:
        """Return the launchpad.

        Raises
        ------
        DatabaseUnavailable
            If the embedded server does not run.
        """
        return self._launchpad(mongo_uri(self._settings))


def create_app(settings: Settings, password: str | None) -> Flask:
    """Return the application; once in a process, since FireWorks has one there.

    Parameters
    ----------
    settings
        Whose database it shows.
    password
        What visitors are asked for; None only where a proxy asks them, and nobody else gets here.
    """
    app: Flask = fireworks_app
    login, queue = Login(password), _Queue(settings)

    def before() -> Response | None:
        if (refused := login(request)) is not None:
            return refused
        refuse_writes(request)
        if request.url_rule is None or request.endpoint == "static":
            return None
        refuse_bad_filters(request)
        check_parameters(request, queue)
        app.lp = CountedQueue(queue())  # type: ignore[attr-defined]  # where FireWorks looks for it
        return None

    def after(response: Response) -> Response:
        return secured(response, evaluates=request.endpoint == _GRAPH)

    app.config["SESSION_COOKIE_NAME"] = "nearedge"
    app.config["SESSION_COOKIE_SAMESITE"] = "Strict"
    mend(app)
    without_empty_conditions()
    app.register_blueprint(pages(settings, queue))
    app.before_request(before)
    app.after_request(after)
    app.register_error_handler(HTTPException, _refused)
    app.register_error_handler(DatabaseError, _away)
    app.register_error_handler(PyMongoError, _away)
    app.register_error_handler(Exception, _failed)
    return app


def _refused(error: HTTPException) -> tuple[str, int]:
    return _message(error.name, error.description or "", error.code or 500)


def _away(error: Exception) -> tuple[str, int]:
    log.warning("The database: %s", error)
    text = "The database does not answer; this page tries again in ten seconds."
    return _message("No database", text, 503, again=10)


def _failed(error: Exception) -> tuple[str, int]:
    log.exception("A page failed.", exc_info=error)
    return _refused(InternalServerError("This page failed; its log says why."))


def _message(title: str, text: str, code: int, again: int | None = None) -> tuple[str, int]:
    return render_template("nearedge/message.html", title=title, text=text, again=again), code
