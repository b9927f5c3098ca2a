"""Run Elk: ground state, promoted level, BSE, plot; each looked at before the next is started."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from nearedge.codes.base import Availability, CodeResult, InputSet, Progress
from nearedge.codes.elk.deck import parse_deck
from nearedge.codes.elk.dielectric import read_lines
from nearedge.codes.elk.failures import failure_in
from nearedge.codes.elk.inputs import (
    BSE_DECK,
    CORE,
    DECK,
    GROUND,
    PLOT_DECK,
    SCF_DECK,
)
from nearedge.codes.elk.levels import parse_core_level
from nearedge.codes.elk.parse import (
    LOGS,
    RESTART,
    bse_of,
    checked_bands,
    from_lines,
    read_folder,
    same_spectrum,
)
from nearedge.codes.elk.promoted import promoted_level
from nearedge.codes.elk.species import REMEDY, parse_species, search_margin
from nearedge.codes.execution.executables import Executable
from nearedge.codes.execution.stage import claim, disk_errors, write_files
from nearedge.codes.execution.stages import Stages
from nearedge.errors import CodeError, ResourceError
from nearedge.settings import get_settings

STATE = "STATE.OUT"
ELK_BINARY = Executable("elk_command", "elk-lapw", re.compile(r"Elk code version (\S+) started"))
_BULKY = ("STATE.OUT", "EVECFV.OUT", "EVECSV.OUT", "HMLBSE.OUT", "EPSINV.OUT")
"""What only the next stage needs; hundreds of MB at finer meshes."""


def elk_version() -> str:
    """Return the version that the binary prints where there is no input, or ``unknown``."""
    return ELK_BINARY.version()


def elk_availability() -> Availability:
    """Look for the program and for its species files."""
    found = ELK_BINARY.availability()
    if not found.found:
        return found
    folder = get_settings().elk_species_path
    if not folder.is_dir():
        return Availability(False, f"Elk's species files are not in {folder}", REMEDY)
    return replace(found, detail=f"{elk_version()} ({found.detail})")


def run_elk(
    inputs: InputSet,
    run_dir: Path,
    *,
    stage_timeout: float,
    progress: Progress | None = None,
    restart: Mapping[str, bytes] | None = None,
) -> CodeResult:
    """Run Elk on `inputs` in `run_dir`, which must be empty or absent.

    With `restart`, Elk is not run: the spectrum is summed from the stored transitions of its BSE.

    Raises
    ------
    CodeError
        A named failure; see `read_folder` and `failure_in`. Also ``restart_damaged``.
    ResourceError
        The program is missing, or the machine is at fault.
    """
    if restart is not None:
        return _again(inputs, run_dir, restart)
    available = ELK_BINARY.availability()
    if not available.found:
        raise ResourceError(f"{available.detail}: {available.remedy}.")
    claim(run_dir)
    write_files(run_dir, inputs.files)
    stages = Stages(run_dir, stage_timeout, progress)
    _stage(stages, "ground", GROUND, DECK)
    _check_search(run_dir)
    with disk_errors():
        shutil.move(run_dir / GROUND / STATE, run_dir / CORE / STATE)
    _stage(stages, "scf", CORE, SCF_DECK)
    core = run_dir / CORE
    checked_bands(run_dir, promoted_level(core, parse_deck((core / SCF_DECK).read_text())))
    _stage(stages, "bse", CORE, BSE_DECK)
    _stage(stages, "plot", CORE, PLOT_DECK)
    result = read_folder(run_dir)
    kept = _stored(run_dir)
    with disk_errors():
        for name in _BULKY:
            (core / name).unlink(missing_ok=True)
    return stages.ended(replace(result, restart={} if kept is None else {RESTART: kept}))


def _again(inputs: InputSet, run_dir: Path, restart: Mapping[str, bytes]) -> CodeResult:
    """Return the spectrum from stored transitions."""
    if (stored := restart.get(RESTART)) is None:
        raise CodeError("restart_damaged", f"What an earlier run left has no {RESTART}.")
    result = from_lines(stored, parse_deck(inputs.files[f"{CORE}/{PLOT_DECK}"]))
    claim(run_dir)
    write_files(run_dir, {**inputs.files, RESTART: stored})
    return replace(result, restart={RESTART: stored}, cpu_seconds=0.0)


def _stage(stages: Stages, name: str, folder: str, deck: str) -> None:
    """Run one deck, and judge it by its output.

    Raises
    ------
    CodeError, ResourceError
        What its output tells of.
    """
    place = stages.folder / folder
    if deck != DECK:
        with disk_errors():
            shutil.copyfile(place / deck, place / DECK)
    stages.run(ELK_BINARY.argv(), stage=f"elk {name}", log=LOGS[name], within=folder)
    if failure := failure_in(stages.text(f"{folder}/{LOGS[name]}"), f"Elk's stage {name}"):
        raise failure


def _check_search(run_dir: Path) -> None:
    """Refuse to go on where the search for the 1s level would miss it.

    Raises
    ------
    CodeError
        ``core_level_not_found``, with the level that the ground state has.
    """
    text = (run_dir / GROUND / "EVALCORE.OUT").read_text(encoding="utf-8")
    level = parse_core_level(text)
    deck = parse_deck((run_dir / CORE / SCF_DECK).read_text())
    name = deck.atoms[0][0]
    species = parse_species((run_dir / CORE / name).read_text(), name)
    start = species.orbitals[-1].terms[-1][0]
    if level is None or not start < level < start + 2 * search_margin(level):
        raise CodeError(
            "core_level_not_found",
            f"The ground state has the 1s level at {level} Ha; the search for it starts at "
            f"{start:.2f} Ha and would not find it.",
        )


def _stored(run_dir: Path) -> bytes | None:
    """Return the transitions for another width, if they give the very spectrum that Elk plotted."""
    bse = bse_of(run_dir)
    core = run_dir / CORE
    deck = parse_deck((core / PLOT_DECK).read_text())
    kpoints = 1
    for count in deck.numbers("ngridk", [1, 1, 1]):
        kpoints *= int(count)
    try:
        lines = read_lines(core, kpoints, bse.volume, bse.fermi)
    except (OSError, ValueError, IndexError):
        return None
    if not same_spectrum(lines, core, deck.number("swidth", 0.001), bse.first):
        return None
    return lines.to_bytes(**bse.numbers())
