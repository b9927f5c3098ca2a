"""What is refused before FireWorks' application is asked, and what every answer carries.

Without it an unknown id is an HTTP 500, a filter reaches the database with any operator in it
(``$where`` runs JavaScript there), and the plot images are open to everybody.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import NoReturn

from fireworks import Firework
from fireworks.core.launchpad import LaunchPad
from fireworks.features.fw_report import DATE_KEYS
from flask import Request, Response, abort, g

USER = "nearedge"
"""Whom the password is asked of."""

_LARGEST_ID = 2**63 - 1
_LONGEST_FILTER = 2000
_MOST_PAGES = 1_000_000
_MOST_INTERVALS = 1000
_STATES = {*Firework.STATE_RANKS, "total"}
_SORTING = {"_id", "fw_id", "name", "state", "created_on", "updated_on"}
_COLLECTIONS = {"fireworks", "workflows", "launches"}

_POLICY = {
    "default-src": "'none'",
    "style-src": "'self' 'unsafe-inline'",
    "img-src": "'self' data:",
    "font-src": "'self'",
    "connect-src": "'self'",
    "form-action": "'self'",
    "base-uri": "'none'",
    "frame-ancestors": "'none'",
}
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


@dataclass(frozen=True)
class Login:
    """A login on every path; without a password there is none, and a proxy must ask for one."""

    password: str | None

    def __call__(self, request: Request) -> Response | None:
        """Return the answer to somebody who did not log in, or None."""
        if self.password is None:
            return None
        given = request.authorization
        name = given.username if given is not None else None
        password = given.password if given is not None else None
        if _same(name, USER) & _same(password, self.password):
            return None
        return Response(
            "Log in as nearedge; `nearedge status` says where the password is.\n",
            401,
            {"WWW-Authenticate": 'Basic realm="NearEdge", charset="UTF-8"'},
            mimetype="text/plain",
        )


def _same(given: str | None, wanted: str) -> bool:
    return hmac.compare_digest((given or "").encode(), wanted.encode())


def refuse_writes(request: Request) -> None:
    """Let only what reads through: the page is for looking."""
    if request.method not in ("GET", "HEAD"):
        abort(405, "This page only shows things.")


def refuse_bad_filters(request: Request) -> None:
    """Refuse a filter with an operator, or one that is none.

    Plain fields are enough to look something up, and no operator means none that runs code.
    """
    for name in ("fw_query", "wf_query"):
        text = request.args.get(name, "")
        if not text:
            continue
        if len(text) > _LONGEST_FILTER:
            abort(400, f"The filter {name} is longer than {_LONGEST_FILTER} characters.")
        try:
            query: object = json.loads(text)
        except (ValueError, RecursionError):
            query = None
        if not isinstance(query, dict):
            abort(400, f'The filter {name} is no JSON object such as {{"name": "..."}}.')
        if _has_operator(query):
            abort(400, f"The filter {name} holds an operator ($...): only plain fields are taken.")


def _has_operator(value: object) -> bool:
    if isinstance(value, dict):
        return any(
            any(part.startswith("$") for part in key.split(".")) or _has_operator(inner)
            for key, inner in value.items()
        )
    return isinstance(value, list) and any(_has_operator(each) for each in value)


def check_parameters(request: Request, pad: Callable[[], LaunchPad]) -> None:
    """Answer 404 for what is not there and 400 for what is no number, before FireWorks fails."""
    given: Mapping[str, object] = request.view_args or {}
    _one_of(given, "state", _STATES)
    _one_of(given, "sorting_key", _SORTING)
    _one_of(given, "sorting_order", {"ASCENDING", "DESCENDING"})
    _one_of(given, "interval", DATE_KEYS)
    _one_of(given, "coll", _COLLECTIONS)
    if "num_intervals" in given:
        _number(given["num_intervals"], "intervals", _MOST_INTERVALS)
    if "page" in request.args:
        _number(request.args["page"], "page", _MOST_PAGES)
    key = str(given.get("key", ""))
    if any(part.startswith("$") for part in key.split(".")):
        abort(400, "A name of metadata does not begin with $.")
    if str(given.get("value", "")).lstrip("+-").isdigit():
        _number(given["value"], "value", _LARGEST_ID, least=-_LARGEST_ID)
    for name, what in (("fw_id", "job"), ("wf_id", "workflow")):
        if name in given:
            _refuse_unknown(int(str(given[name])), what, pad)


def _refuse_unknown(number: int, what: str, pad: Callable[[], LaunchPad]) -> None:
    # FireWorks calls a workflow by the number of any job in it.
    found = None
    if number <= _LARGEST_ID:
        jobs = pad()
        found = jobs.workflows.find_one({"nodes": number}, {"_id": 1})
        if found is not None:
            found = jobs.fireworks.find_one({"fw_id": number}, {"_id": 1})
    if found is None:
        abort(404, f"There is no {what} {number}.")


def _one_of(given: Mapping[str, object], name: str, known: Collection[str]) -> None:
    if name in given and given[name] not in known:
        abort(404, f"There is no such {name.replace('_', ' ')}; there are {', '.join(known)}.")


def _number(value: object, what: str, largest: int, *, least: int = 1) -> None:
    def refuse() -> NoReturn:
        abort(400, f"{what.capitalize()} is a whole number from {least} to {largest}.")

    try:
        number = int(str(value))
    except ValueError:
        refuse()
    if not least <= number <= largest:
        refuse()


def secured(response: Response, *, evaluates: bool) -> Response:
    """Return an answer with the headers that every one carries.

    Parameters
    ----------
    evaluates
        Whether scripts of the page make functions of text, as FireWorks' graph does with the
        template of its table.
    """
    scripts = ["'self'"]
    if "script_nonce" in g:
        scripts.append(f"'nonce-{g.script_nonce}'")
    if evaluates:
        scripts.append("'unsafe-eval'")
    policy = {**_POLICY, "script-src": " ".join(scripts)}
    response.headers["Content-Security-Policy"] = "; ".join(
        f"{name} {value}" for name, value in policy.items()
    )
    for name, value in _HEADERS.items():
        response.headers[name] = value
    return response
