"""What NearEdge needs on this machine: what is there, and how to get what is not."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Literal

from nearedge.errors import NearEdgeError
from nearedge.settings import DEFAULT_CONFIG_FILE, Settings, config_file, load_settings

if TYPE_CHECKING:
    from nearedge.codes import Code

Level = Literal["ok", "note", "missing"]


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Parameters
    ----------
    name
        What it is.
    level
        `ok`; `note` where something optional is absent; `missing` where a verb will fail.
    detail
        What was found.
    remedy
        What to do about it; empty where all is well.
    """

    name: str
    level: Level
    detail: str
    remedy: str = ""


def checks() -> Iterator[Check]:
    """Look at everything, one after the other; nothing raises and nothing is changed."""
    settings, settings_check = _settings()
    yield settings_check
    yield _package(
        "embedded database",
        "SecantusDB",
        "pip install 'nearedge[embedded]', or name a MongoDB in NEAREDGE_MONGO_URI",
        needed=settings is None or settings.mongo_uri is None,
    )
    if settings is not None:
        yield _database(settings)
    if settings is not None and settings.blobs is not None:
        yield _blobs(settings)
    if settings is not None:
        yield _scheduler(settings)
        yield from _codes()
    yield _package("lightshow", "lightshow", "pip install --no-deps lightshow==1.2.8")
    if settings is not None:
        yield _m3gnet(settings)
    yield _package("CHGNet", "chgnet", "pip install 'nearedge[chgnet]'", needed=False)
    if settings is not None:
        yield _materials_project(settings)


def _settings() -> tuple[Settings | None, Check]:
    try:
        settings = load_settings()
        file = config_file()
    except NearEdgeError as error:
        return None, Check("settings", "missing", str(error), "Correct the setting that is named")
    where = str(file) if file is not None else f"no file ({DEFAULT_CONFIG_FILE} is optional)"
    return settings, Check("settings", "ok", f"{where}; home is {settings.home}")


def _package(name: str, distribution: str, remedy: str, *, needed: bool = True) -> Check:
    try:
        return Check(name, "ok", f"{distribution} {version(distribution)}")
    except PackageNotFoundError:
        level: Level = "missing" if needed else "note"
        return Check(name, level, f"{distribution} is not installed", remedy)


def _database(settings: Settings) -> Check:
    def look() -> Check:
        from nearedge.store import lifecycle

        state = lifecycle.status(settings)
        if state.usable:
            return Check("database", "ok", state.detail)
        remedy = "nearedge up" if settings.mongo_uri is None else "Start it, or correct the URI"
        return Check("database", "note", state.detail, remedy)

    return _guarded("database", look, "nearedge up")


def _blobs(settings: Settings) -> Check:
    def look() -> Check:
        from nearedge.store import lifecycle

        state = lifecycle.blobs(settings)
        if state.usable:
            return Check("blobs", "ok", state.detail)
        return Check("blobs", "note", state.detail, "See docs/object-storage.md")

    return _guarded("blobs", look, "nearedge up")


def _scheduler(settings: Settings) -> Check:
    def look() -> Check:
        from nearedge.launch.batch.adapter import find_scheduler, version

        return Check("batch scheduler", "ok", version(find_scheduler(settings.batch)))

    return _guarded(
        "batch scheduler",
        look,
        "Only for `nearedge queue`: give it where sbatch or qsub work; Slurm's commands are in the "
        "package slurm-client and need the cluster's slurm.conf",
    )


def _codes() -> Iterator[Check]:
    """Look for each simulation code; FEFF comes with NearEdge, the others are optional."""
    from nearedge.codes import code_names, get_code

    for name in code_names():
        code = get_code(name)

        def look(code: Code = code) -> Check:
            found = code.availability()
            level: Level = "ok" if found.found else "missing" if code.name == "feff" else "note"
            return Check(code.title, level, found.detail, found.remedy)

        yield _guarded(code.title, look, "Correct the setting that is named")


def _m3gnet(settings: Settings) -> Check:
    def look() -> Check:
        # Set before the hub's client is imported: a doctor only looks.
        os.environ["HF_HUB_OFFLINE"] = "1"
        from nearedge.models.featurizers import load_featurizer

        digest = load_featurizer("m3gnet", model_path=settings.model_path).ref.weights_sha256
        return Check("M3GNet weights", "ok", f"found and checked, sha256 {digest}")

    return _guarded(
        "M3GNet weights", look, "Set NEAREDGE_MODEL_PATH, or let `nearedge featurize` ask the hub"
    )


def _materials_project(settings: Settings) -> Check:
    if settings.mp_api_key is not None:
        return Check("Materials Project", "ok", "a key of its API is set")
    return Check(
        "Materials Project", "note", "no key of its API", "Set NEAREDGE_MP_API_KEY to use mp-… ids"
    )


def _guarded(name: str, look: Callable[[], Check], remedy: str) -> Check:
    try:
        return look()
    except NearEdgeError as error:
        return Check(name, "note", str(error), remedy)
    except ImportError as error:
        return Check(name, "missing", str(error), "Install NearEdge again")
