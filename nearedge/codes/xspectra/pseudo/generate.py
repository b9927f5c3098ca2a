"""Make a potential with ld1.x, judge it, and keep it under the hash of what it was made from."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel

from nearedge.codes.base import UNKNOWN
from nearedge.codes.execution.shelf import draft, kept, put
from nearedge.codes.execution.stage import log_tail, run_stage, write_files
from nearedge.codes.xspectra.programs import LD1
from nearedge.codes.xspectra.pseudo.check import judge
from nearedge.codes.xspectra.pseudo.recipes import (
    GENERATION,
    POTENTIAL,
    TEST,
    Recipe,
    ld1_inputs,
    load_recipes,
)
from nearedge.codes.xspectra.pseudo.upf import (
    core_wavefunctions,
    kinetic_tail,
    read_upf,
)
from nearedge.errors import CodeError, InputRefused, ResourceError
from nearedge.schemas.document import content_hash
from nearedge.settings import get_settings

CHECKS = 1
"""Version of the judgement: raise it when `check` is changed, so that nothing judged by the older
one is used."""
CUTOFF_TOLERANCE = 0.02
"""Ry of kinetic energy an electron beyond the suggested cutoff."""
_CORE = "core.wfc"
_SECONDS = 300.0
_OUTPUTS = {GENERATION: "generation.out", TEST: "test.out"}


@dataclass(frozen=True)
class Made:
    """A potential that was made and passed its checks.

    Parameters
    ----------
    upf, core
        Texts of the potential and of its core waves.
    valence
        Charge of its ion.
    cutoff
        Suggested, in Ry.
    judgement
        What its checks measured; see `nearedge.codes.xspectra.pseudo.check.Judgement`.
    """

    upf: str
    core: str
    valence: float
    cutoff: float
    judgement: dict[str, float]


class _Notes(BaseModel):
    """What lies beside the files on the shelf."""

    name: str
    valence: float
    cutoff: float
    judgement: dict[str, float]


def potential(element: str, recipe: Recipe, *, hole: bool) -> Made:
    """Return an element's potential from the cache, or make it.

    Raises
    ------
    CodeError
        ``ld1_failed``, ``ghost_state``, ``log_derivative`` or ``wrong_levels``.
    InputRefused
        ``ld1_missing``.
    ResourceError
        If the cache cannot be written.
    """
    inputs = ld1_inputs(element, recipe, load_recipes().functional, hole=hole)
    key = content_hash({"inputs": inputs, "ld1": ld1_version(), "checks": CHECKS})
    shelf = get_settings().cache / "pseudopotentials" / key
    made = _read(shelf)
    if made is None:
        _make(shelf, f"{element}{'.fch' * hole}", recipe, inputs)
        made = _read(shelf)
    if made is None:
        raise CodeError("ld1_failed", f"{shelf} changed while it was read: run it again.")
    return made


def ld1_version() -> str:
    """Return the version of ld1.x, such as ``6.7MaX``.

    Raises
    ------
    InputRefused
        ``ld1_missing``, also where the command starts something else.
    ResourceError
        If it does not answer.
    """
    availability = LD1.availability()
    if not availability.found:
        raise InputRefused(
            "ld1_missing",
            f"Pseudopotentials are made with ld1.x, but {availability.detail}: "
            f"{availability.remedy}, or set pseudo_path (NEAREDGE_PSEUDO_PATH) to a folder with "
            "your own.",
        )
    version = LD1.version()
    if version == UNKNOWN:
        raise ResourceError(f"{LD1.command()} did not answer in time: run it again.")
    return version


def _run(folder: Path, stdin: str, log: str) -> int:
    outcome = run_stage(
        LD1.argv(),
        folder,
        stage="ld1.x",
        log=log,
        stdin=stdin,
        stage_timeout=_SECONDS,
        environment={"OMP_NUM_THREADS": "1"},
    )
    return outcome.return_code


def _make(shelf: Path, name: str, recipe: Recipe, inputs: dict[str, str]) -> None:
    with draft(shelf) as folder:
        files, notes = _generate(folder, name, recipe, inputs)
    put(shelf, {file: text.encode() for file, text in files.items()}, notes.model_dump())


def _generate(
    folder: Path, name: str, recipe: Recipe, inputs: dict[str, str]
) -> tuple[dict[str, str], _Notes]:
    write_files(folder, inputs)
    for stdin, log in _OUTPUTS.items():
        if _run(folder, stdin, log) != 0 or not (folder / POTENTIAL).is_file():
            raise CodeError(
                "ld1_failed",
                f"ld1.x did not make the potential of {name}: correct its recipe.",
                log_tail(folder, log, "CRASH"),
            )
    tested = (folder / _OUTPUTS[TEST]).read_text(encoding="utf-8", errors="replace")
    try:
        judgement = judge(folder, name, recipe, tested)
        text = _undated((folder / POTENTIAL).read_text(encoding="utf-8"))
        upf = read_upf(text)
        core = core_wavefunctions(upf)
        cutoff = kinetic_tail(upf, CUTOFF_TOLERANCE)
    except (ValueError, OSError) as error:
        raise CodeError(
            "ld1_failed",
            f"What ld1.x made of {name} cannot be read ({error}): correct its recipe.",
            log_tail(folder, _OUTPUTS[TEST]),
        ) from error
    notes = _Notes(
        name=name, valence=upf.header.valence, cutoff=cutoff, judgement=judgement.as_dict()
    )
    return {POTENTIAL: text, _CORE: core, **inputs}, notes


def _undated(text: str) -> str:
    """Take the date out, so that a potential made again is the same file."""
    text = re.sub(r'\bdate="[^"]*"', 'date=""', text, count=1)
    return re.sub(r"(Generation date:).*", r"\1", text, count=1)


def _read(shelf: Path) -> Made | None:
    """Return what is on a shelf, or None if it is not there or not whole."""
    found = kept(shelf)
    if found is None:
        return None
    try:
        notes = _Notes.model_validate(found.notes)
        return Made(
            upf=found.files[POTENTIAL].decode(),
            core=found.files[_CORE].decode(),
            valence=notes.valence,
            cutoff=notes.cutoff,
            judgement=notes.judgement,
        )
    except (KeyError, ValueError):
        return None
