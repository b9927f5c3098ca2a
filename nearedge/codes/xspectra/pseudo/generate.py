"""Make a potential with ld1.x, judge it, and keep it under the hash of what it was made from."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from nearedge.codes.execution.executables import Executable
from nearedge.codes.execution.stage import disk_errors, log_tail, run_stage, write_files
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
from nearedge.errors import CodeError, InputRefused
from nearedge.schemas.document import content_hash
from nearedge.settings import get_settings

LD1 = Executable("ld1_command", "quantum-espresso")
CHECKS = 1
"""Version of the judgement: raise it when `check` is changed, so that nothing judged by the older
one is used."""
CUTOFF_TOLERANCE = 0.02
"""Ry of kinetic energy an electron beyond the suggested cutoff."""
_MANIFEST = "manifest.json"
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
    entry = get_settings().cache / "pseudopotentials" / key
    kept = _read(entry)
    return kept if kept is not None else _make(entry, f"{element}{'.fch' * hole}", recipe, inputs)


def ld1_version() -> str:
    """Return the version of ld1.x, such as ``6.7MaX``.

    Raises
    ------
    InputRefused
        ``ld1_missing``.
    CodeError
        ``ld1_failed``: the command is something else.
    """
    availability = LD1.availability()
    path = LD1.path()
    if not availability.found or path is None:
        raise InputRefused(
            "ld1_missing",
            f"Pseudopotentials are made with ld1.x, but {availability.detail}: "
            f"{availability.remedy}, or set pseudo_path (NEAREDGE_PSEUDO_PATH) to a folder with "
            "your own.",
        )
    return _version(LD1.command(), str(path), path.stat().st_mtime_ns)


@cache
def _version(command: str, path: str, changed: int) -> str:
    """Ask the program; `path` and `changed` are what an answer is kept for."""
    with tempfile.TemporaryDirectory(prefix="nearedge-ld1-") as name:
        folder = Path(name)
        write_files(folder, {"version.in": "&input\n/\n"})
        _run(folder, "version.in", "version.out")
        said = (folder / "version.out").read_text(encoding="utf-8", errors="replace")
    found = re.search(r"Program LD1 v\.\s*(\S+)", said)
    if found is None:
        raise CodeError(
            "ld1_failed", f"{command} ({path}) is not ld1.x: correct ld1_command.", said
        )
    return found[1]


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


def _make(entry: Path, name: str, recipe: Recipe, inputs: dict[str, str]) -> Made:
    """Make it in a folder beside its place, and move it there when it is whole."""
    with disk_errors():
        entry.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{entry.name}.", dir=entry.parent))
    try:
        files, manifest = _generate(draft / "work", name, recipe, inputs)
        whole = draft / "entry"
        write_files(whole, {**files, _MANIFEST: manifest})
        _move(whole, entry)
        made = _read(entry)
        if made is None:
            raise CodeError("ld1_failed", f"{entry} changed while it was read: run it again.")
        return made
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _generate(
    folder: Path, name: str, recipe: Recipe, inputs: dict[str, str]
) -> tuple[dict[str, str], str]:
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
    files = {POTENTIAL: text, "core.wfc": core, **inputs}
    manifest = {
        "name": name,
        "files": {file: _sha256(content) for file, content in files.items()},
        "valence": upf.header.valence,
        "cutoff": cutoff,
        "judgement": judgement.as_dict(),
    }
    return files, json.dumps(manifest, indent=1)


def _undated(text: str) -> str:
    """Take the date out, so that a potential made again is the same file."""
    text = re.sub(r'\bdate="[^"]*"', 'date=""', text, count=1)
    return re.sub(r"(Generation date:).*", r"\1", text, count=1)


def _move(whole: Path, entry: Path) -> None:
    """Put a whole entry in its place; one that another process has just put there is as good."""
    for _ in range(2):
        with suppress(OSError):
            whole.rename(entry)
            return
        if _read(entry) is not None:
            return
        with (
            disk_errors(),
            tempfile.TemporaryDirectory(dir=entry.parent, prefix=".old.") as old,
            suppress(FileNotFoundError),
        ):
            entry.rename(Path(old) / "entry")
    with disk_errors():
        whole.rename(entry)


def _read(entry: Path) -> Made | None:
    """Return what an entry holds, or None if it is not there or not whole."""
    try:
        manifest = json.loads((entry / _MANIFEST).read_text(encoding="utf-8"))
        texts = {name: (entry / name).read_text(encoding="utf-8") for name in manifest["files"]}
        if any(_sha256(texts[name]) != digest for name, digest in manifest["files"].items()):
            return None
        return Made(
            upf=texts[POTENTIAL],
            core=texts["core.wfc"],
            valence=float(manifest["valence"]),
            cutoff=float(manifest["cutoff"]),
            judgement=dict(manifest["judgement"]),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
