"""Finished exciting calculations, of any origin: folders with ``input.xml`` and spectra of BSE."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from nearedge.codes.base import BadRun, FinishedRun, InputSet, KnownRun
from nearedge.codes.exciting.deck import DECK, parse_deck, stated_parameters
from nearedge.codes.exciting.parse import read_deck, read_folder
from nearedge.codes.finished import Described, iter_run_folders
from nearedge.codes.packed import SUFFIXES, find_packed, read_packed
from nearedge.codes.recognition import MakeInputs, recognise
from nearedge.schemas.calculation import Parameter

_WANTED = (
    *(DECK, "INFO.OUT", "INFOXS.OUT", "EPSILON_BSE*.OUT", "EPSILON/EPSILON_BSE*.OUT"),
    *("EXCITON_BSE*_OC11.OUT", "EXCITON/EXCITON_BSE*_OC11.OUT"),
)


def describe(folder: Path, make: MakeInputs) -> Described:
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
        make=make,
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


def iter_finished(
    path: Path,
    make: MakeInputs,
    *,
    known: Callable[[str], bool] | None = None,
    progress: Callable[[float], None] | None = None,
) -> Iterator[FinishedRun | KnownRun | BadRun]:
    """Yield the finished calculations in a folder or archive; see `Code.finished`."""
    return iter_run_folders(
        path,
        code="exciting",
        read=read_folder,
        describe=lambda folder: describe(folder, make),
        markers=tuple(f"{DECK}{suffix}" for suffix in SUFFIXES),
        wanted=tuple(f"{name}{suffix}" for name in _WANTED for suffix in SUFFIXES),
        known=known,
        progress=progress,
    )
