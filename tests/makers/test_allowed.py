"""Workers read back whatever NearEdge's own jobs are made of, take and return."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable
from enum import Enum
from typing import Any, get_args, get_type_hints

from jobflow.core.maker import Maker

from nearedge import makers, workflows
from nearedge.launch.allowed import refused_content


def is_maker(found: object) -> bool:
    return inspect.isclass(found) and issubclass(found, Maker) and found is not Maker


def jobs() -> dict[type[Maker], Callable[..., Any]]:
    """Return every maker of NearEdge's whose `make` is a job, and what that job calls."""
    modules = [
        importlib.import_module(module.name)
        for room in (makers, workflows)
        for module in pkgutil.walk_packages(room.__path__, f"{room.__name__}.")
    ]
    found = {maker for module in modules for _, maker in inspect.getmembers(module, is_maker)}
    return {
        maker: maker.make.original
        for maker in found
        if maker.__module__.startswith("nearedge.") and hasattr(maker.make, "original")
    }


def documents_in(hint: Any, found: set[type]) -> set[type]:
    """Add NearEdge's classes in a type to `found`, with those in their fields; return it."""
    for each in get_args(hint):
        documents_in(each, found)
    if not isinstance(hint, type) or issubclass(hint, Enum):  # jobflow stores the value alone
        return found
    if hint.__module__.startswith("nearedge.") and hint not in found:
        found.add(hint)
        for each in get_type_hints(hint).values():
            documents_in(each, found)
    return found


def test_whatever_a_job_is_made_of_takes_and_returns_may_be_read() -> None:
    found = jobs()
    assert {"PredictMaker", "RelaxMaker", "FeffMaker"} <= {each.__name__ for each in found}
    for maker, make in found.items():
        documents = documents_in(maker, set())
        for hint in get_type_hints(make).values():
            documents_in(hint, documents)
        names = [{"@module": each.__module__, "@class": each.__qualname__} for each in documents]
        assert [refused_content(name) for name in names if refused_content(name)] == [], maker


def test_every_job_says_what_it_returns_by_documents() -> None:
    assert [
        maker
        for maker, make in jobs().items()
        if not documents_in(get_type_hints(make)["return"], set())
    ] == []
