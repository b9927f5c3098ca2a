"""Finished Elk calculations, of any origin: folders with ``elk.in`` and spectra of the BSE."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from nearedge.codes.elk.deck import Deck
from nearedge.codes.elk.inputs import CORE, GROUND
from nearedge.codes.elk.parse import LOGS, RESTART, read_deck, read_folder
from nearedge.codes.elk.promoted import promoted_level
from nearedge.codes.finished.runs import CUSTOM, Described, iter_run_folders
from nearedge.schemas.calculation import Parameter
from nearedge.spectra.spectrum import HARTREE

_OUTPUTS = (
    *("EPSILON_BSE_??.OUT", "EIGVAL_BSE.OUT", "EIGVAL.OUT", "EFERMI.OUT", "INFO.OUT"),
    *("TOTENERGY.OUT", "EVALCORE.OUT", "*.in", *LOGS.values()),
)
_STATED = (
    ("ngridk", "k_mesh", None, [1.0, 1.0, 1.0]),
    ("vkloff", "k_shift", None, [0.0, 0.0, 0.0]),
    ("ncbse", "bse_bands", None, [3.0]),
    ("nempty", "empty_states_per_atom", None, [4.0]),
    ("gmaxrf", "screening_cutoff", "1/bohr", [3.0]),
    ("rgkmax", "rgkmax", None, [7.0]),
    ("xctype", "xctype", None, [3.0, 0.0, 0.0]),
)
"""Block, our name, unit, and what Elk takes where it is absent (its manual, section 5)."""


def stated_parameters(deck: Deck) -> dict[str, Parameter]:
    """Return the parameters that a deck states, by its own numbers."""
    found: dict[str, Parameter] = {}
    for block, name, unit, default in _STATED:
        values = deck.numbers(block, default)
        found[name] = Parameter(value=values if len(default) > 1 else values[0], unit=unit)
    width = 2 * HARTREE * deck.number("swidth", 0.001)
    found["broadening"] = Parameter(value=round(width, 6), unit="eV")
    return found


def describe(folder: Path) -> Described:
    """Say what a stranger's run is of.

    Raises
    ------
    CodeError, IngestError
        If its files do not tell.
    """
    core = folder / CORE if (folder / CORE).is_dir() else folder
    deck = read_deck(core)
    promoted = promoted_level(core, deck)
    inputs = {
        path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8", errors="replace")
        for path in sorted(core.glob("*.in"))
    }
    return Described(
        structure=promoted.structure,
        absorbing_index=promoted.sites[0],
        edge="K",
        parameters=stated_parameters(deck),
        protocol=CUSTOM,
        inputs=inputs,
    )


iter_finished = partial(
    iter_run_folders,
    code="elk",
    read=read_folder,
    describe=describe,
    markers=("EPSILON_BSE_11.OUT", "EIGVAL_BSE.OUT"),
    wanted=(
        *_OUTPUTS,
        RESTART,
        *(f"{part}/{name}" for part in (GROUND, CORE) for name in _OUTPUTS),
    ),
)
"""`Code.finished` of this code."""
