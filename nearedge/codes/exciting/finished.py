"""Finished exciting calculations, of any origin: folders with ``input.xml`` and spectra of BSE."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from nearedge.codes.base import InputSet
from nearedge.codes.exciting.deck import DECK, parse_deck, stated_parameters
from nearedge.codes.exciting.inputs import make_inputs
from nearedge.codes.exciting.parse import read_deck, read_folder
from nearedge.codes.finished.recognition import recognise
from nearedge.codes.finished.runs import Described, iter_run_folders
from nearedge.codes.outputs import SUFFIXES, find_packed, read_packed
from nearedge.schemas.calculation import Parameter

_WANTED = (
    *(DECK, "INFO.OUT", "INFOXS.OUT", "EPSILON_BSE*.OUT", "EPSILON/EPSILON_BSE*.OUT"),
    *("EXCITON_BSE*_OC11.OUT", "EXCITON/EXCITON_BSE*_OC11.OUT"),
)


def describe(folder: Path) -> Described:
    """Say what a stranger's run is of.

    Raises
    ------
    CodeError, IngestError
        If its files do not tell: inputs for exciting boron name no absorbing atom.
    """
    deck = read_deck(folder)
    index, edge = deck.absorber()
    parameters, protocol = recognise(
        "exciting",
        stated_parameters(deck),
        make=make_inputs,
        state=_stated,
        structure=deck.structure,
        absorbing_index=index,
        edge=edge,
    )
    path = find_packed(folder, DECK)
    inputs = {} if path is None else {DECK: read_packed(path)}
    return Described(deck.structure, index, edge, parameters, protocol, inputs)


def _stated(inputs: InputSet) -> dict[str, Parameter]:
    return stated_parameters(parse_deck(inputs.files[DECK]))


iter_finished = partial(
    iter_run_folders,
    code="exciting",
    read=read_folder,
    describe=describe,
    markers=tuple(f"{DECK}{suffix}" for suffix in SUFFIXES),
    wanted=tuple(f"{name}{suffix}" for name in _WANTED for suffix in SUFFIXES),
)
"""`Code.finished` of this code."""
