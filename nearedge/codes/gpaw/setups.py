"""Core-hole setups, made by ``gpaw-setup`` and kept under the cache, checked before each use."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from nearedge.codes.base import Progress
from nearedge.codes.execution.shelf import draft, kept, put
from nearedge.codes.execution.stage import log_tail, run_stage, write_files
from nearedge.codes.gpaw.programs import PYTHON, RUNNER
from nearedge.codes.gpaw.runner_files import INPUT
from nearedge.errors import CodeError
from nearedge.settings import get_settings

LOG = "setup.log"
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
    found = kept(shelf)
    if found is not None and one.file_name in found.files:
        return one.file_name, found.files[one.file_name]
    content = _made(shelf, one, progress)
    put(shelf, {one.file_name: content}, one.model_dump())
    return one.file_name, content


def _made(shelf: Path, request: SetupRequest, progress: Progress | None) -> bytes:
    with draft(shelf) as folder:
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
        return _checked(folder, request)


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
