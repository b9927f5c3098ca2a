"""What a job of the queue may name: NearEdge's own makers, and the few classes that carry them.

FireWorks and jobflow import whatever module the database names, and call what they find there. So
what is read from the queue is looked through first, as plain data. A name that is not allowed is an
error before anything of it is imported; of NearEdge's own modules, only makers and the documents
that they take are allowed, not what else can be reached through them.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Collection, Mapping
from dataclasses import is_dataclass
from enum import Enum
from functools import lru_cache

from jobflow.core.maker import Maker
from pydantic import BaseModel

from nearedge.launch.renames import RENAMED_MODULES

ROOMS = (
    "nearedge.makers.",
    "nearedge.workflows.",
    "nearedge.schemas.",
    "nearedge.structures.",
    "nearedge.store.queries",
    "nearedge.models.prediction",
)
"""Modules of NearEdge whose makers and documents jobs are made of."""

CARRIERS = {
    ("jobflow.core.job", "Job"),
    ("jobflow.core.job", "JobConfig"),
    ("jobflow.core.reference", "OutputReference"),
    ("pymatgen.core.structure", "Structure"),
}
"""Modules and classes of others that NearEdge's jobs are stored with."""

TASKS = {
    "{{jobflow.managers.fireworks.JobFiretask}}",
    "{{nearedge.launch.guarding.RefusedTask}}",
}
"""FireWorks' tasks."""

SPEC_KEYS = {
    "_tasks",
    "_priority",
    "_add_launchpad_and_fw_id",
    "_allow_fizzled_parents",
    "_fizzled_parents",
    "_exception_details",
}
"""Keys of a spec that begin with ``_`` and may be there. Others change where a job runs and what
files are copied before it, start further tasks beside it, or read files into the database."""

_PLAIN_NAME = re.compile(r"[A-Za-z_]\w*")


def refused_spec(spec: Mapping[str, object], trusted: Collection[str] = ()) -> str | None:
    """Return why no worker runs a Firework of this spec, or None where nothing speaks against it.

    Parameters
    ----------
    spec
        As it lies in the database; nothing of it is decoded.
    trusted
        Modules whose jobs are run as well, with those below them: the setting `trusted_jobs`.
    """
    return refused_keys(spec) or refused_content(spec, trusted)


def refused_keys(spec: Mapping[str, object]) -> str | None:
    """Return why a spec may not have one of its keys, or None."""
    for key in spec:
        if (key.startswith("_") and key not in SPEC_KEYS) or key.startswith("$"):
            return (
                f"its key {key!r} is not one that NearEdge's jobs have: leave metadata that begins "
                "with `_` or `$` out, since FireWorks and the database act on it"
            )
    return None


def refused_content(content: object, trusted: Collection[str] = ()) -> str | None:
    """Return which name in `content`, at any depth, may not be imported; None where all may."""
    waiting = [content]
    while waiting:
        each = waiting.pop()
        if isinstance(each, Mapping):
            name = _unknown_name(each, trusted)
            if name is not None:
                return (
                    f"it names {name}, which is none of NearEdge's jobs: if it is one of yours, "
                    "add its module to the setting `trusted_jobs` of the workers"
                )
            waiting += each.values()
        elif isinstance(each, list | tuple):
            waiting += each
    return None


def _unknown_name(each: Mapping[object, object], trusted: Collection[str]) -> str | None:
    """Return what this mapping alone would have imported, if that is not allowed."""
    if "_fw_name" in each:
        task = str(each["_fw_name"])
        if task not in TASKS and not _is_trusted(task.strip("{} "), trusted):
            return repr(task)
        # An allowed task vouches for nothing else: what decodes it may go by its other names.
    module, name = each.get("@module"), each.get("@class", each.get("@callable"))
    if module is None or name is None:
        return None
    is_class, is_callable = "@class" in each, "@callable" in each
    if not isinstance(module, str) or not isinstance(name, str) or (is_class and is_callable):
        return repr((module, name))  # of two names, decoders differ in which one they take
    allowed = (
        _is_trusted(module, trusted)
        or (is_class and ((module, name) in CARRIERS or _is_ours(module, name)))
        or (is_callable and _is_callable_ours(module, name))
    )
    return None if allowed else f"{module}.{name}"


def _is_trusted(module: str, trusted: Collection[str]) -> bool:
    return any(module == each or module.startswith(f"{each}.") for each in trusted)


def _is_callable_ours(module: str, name: str) -> bool:
    """Return whether it is a document, or the `make` of a maker: no other function is called."""
    owner, dot, method = name.partition(".")
    if not dot:
        return _is_ours(module, name)
    found = _defined(module, owner)
    return method == "make" and found is not None and issubclass(found, Maker)


def _is_ours(module: str, name: str) -> bool:
    found = _defined(module, name)
    return found is not None and (
        issubclass(found, Maker | BaseModel | Enum) or is_dataclass(found)
    )


@lru_cache(maxsize=1024)
def _defined(module: str, name: str) -> type | None:
    """Return the class of that name if a module of NearEdge's rooms defines it."""
    path = RENAMED_MODULES.get(module, module)
    if not path.startswith(ROOMS) or not _PLAIN_NAME.fullmatch(name):
        return None
    try:
        found = getattr(importlib.import_module(path), name, None)
    except ImportError:
        return None
    # Not one of another package that the module merely uses.
    is_ours = isinstance(found, type) and found.__module__.startswith(ROOMS)
    return found if is_ours else None
