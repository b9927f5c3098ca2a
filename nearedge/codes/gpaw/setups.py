"""Core-hole setups, made by ``gpaw-setup`` and kept under the cache, checked before each use."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from nearedge.codes.base import Progress
from nearedge.codes.execution.stage import disk_errors, log_tail, run_stage, write_files
from nearedge.codes.gpaw.programs import PYTHON, RUNNER
from nearedge.codes.gpaw.runner_files import INPUT
from nearedge.errors import CodeError
from nearedge.settings import get_settings

LOG = "setup.log"
MANIFEST = "setup.json"
SECONDS = 300.0
"""A setup takes one or two; this is for a machine that does a hundred other things."""


_HOLE = re.compile(rb'<core_hole_state state="(?P<state>\w+)" removed="(?P<removed>[\d.]+)"')


class SetupRequest(BaseModel):
    """What a core-hole setup is made from: the part of ``gpaw.json`` that names it."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    symbols: list[str] = Field(min_length=1)
    xc: str
    setup: str
    core_state: str
    removed: float

    @property
    def file_name(self) -> str:
        """What GPAW calls it: ``Ti.fch1s.PBE``."""
        return f"{self.symbols[0]}.{self.setup}.{self.xc}"


def core_hole_setup(
    text: str, gpaw_version: str, progress: Progress | None = None
) -> tuple[str, bytes]:
    """Return file name and content of the setup that a ``gpaw.json`` asks for.

    Parameters
    ----------
    text
        Of ``gpaw.json``.
    gpaw_version
        A setup of another version is another setup.

    Raises
    ------
    CodeError
        ``setup_failed`` where ``gpaw-setup`` makes none, or one without the hole.
    ResourceError
        The cache cannot be written, or GPAW's Python not be started.
    """
    request = SetupRequest.model_validate_json(text)
    one = request.model_copy(update={"symbols": request.symbols[:1]})
    identity = json.dumps([gpaw_version, one.model_dump()], sort_keys=True)
    shelf = get_settings().cache / "gpaw" / hashlib.sha256(identity.encode()).hexdigest()[:32]
    content = _kept(shelf, one)
    if content is None:
        content = _made(shelf, one, progress)
    return one.file_name, content


def _kept(shelf: Path, request: SetupRequest) -> bytes | None:
    """Return the setup on the shelf, or None where it is missing or no longer what it was."""
    try:
        expected = json.loads((shelf / MANIFEST).read_text(encoding="utf-8"))["sha256"]
        content = (shelf / request.file_name).read_bytes()
    except (OSError, ValueError, LookupError, TypeError):
        return None
    return content if hashlib.sha256(content).hexdigest() == expected else None


def _made(shelf: Path, request: SetupRequest, progress: Progress | None) -> bytes:
    """Make the setup in a folder of its own and put it on the shelf in one step."""
    with disk_errors():
        shelf.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix="making-", dir=shelf.parent))
    try:
        write_files(folder, {INPUT: request.model_dump_json()})
        run_stage(
            [*PYTHON.argv(), str(RUNNER), "--setup"],
            folder,
            stage=f"gpaw-setup {request.symbols[0]}",
            log=LOG,
            stage_timeout=SECONDS,
            environment={"OMP_NUM_THREADS": "1"},
            progress=progress,
        )
        content = _checked(folder, request)
        digest = hashlib.sha256(content).hexdigest()
        manifest = {**request.model_dump(), "sha256": digest}
        write_files(folder, {MANIFEST: json.dumps(manifest, indent=1) + "\n"})
        _put(folder, shelf)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return content


def _checked(folder: Path, request: SetupRequest) -> bytes:
    """Return the setup that was made, its hole looked at."""
    logs = log_tail(folder, LOG)
    try:
        content = (folder / request.file_name).read_bytes()
    except OSError:
        raise CodeError(
            "setup_failed",
            f"gpaw-setup made no setup of {request.symbols[0]} with a hole in "
            f"{request.core_state}; use another code for this element.",
            logs,
        ) from None
    hole = _HOLE.search(content)
    whole = content.rstrip().endswith(b"</paw_dataset>")
    if not (whole and hole and hole["state"].decode() == request.core_state) or (
        float(hole["removed"]) != request.removed
    ):
        raise CodeError(
            "setup_failed",
            f"gpaw-setup's file for {request.symbols[0]} has no hole of {request.removed:g} in "
            f"{request.core_state}, or is cut short.",
            logs,
        )
    return content


def _put(folder: Path, shelf: Path) -> None:
    """Put a finished folder on the shelf; another process that was faster is as good."""
    try:
        os.rename(folder, shelf)
        return
    except OSError:
        # Something is there: another's setup, or one that no longer is what it was.
        pass
    with suppress(OSError):
        os.rename(shelf, f"{folder}.old")
    with suppress(OSError):
        os.rename(folder, shelf)
    shutil.rmtree(f"{folder}.old", ignore_errors=True)
