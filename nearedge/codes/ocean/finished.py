"""Finished OCEAN calculations, of any origin: folders with ``ocean.in`` and ``absspct_*``."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from nearedge.codes.base import InputSet
from nearedge.codes.finished.recognition import recognise
from nearedge.codes.finished.runs import Described, iter_run_folders
from nearedge.codes.ocean.deck import DECK, deck_edges, parse_cards, stated_parameters
from nearedge.codes.ocean.inputs import make_inputs
from nearedge.codes.ocean.parse import find_site, read_deck, read_folder
from nearedge.codes.outputs import find_packed, read_packed
from nearedge.schemas.calculation import Parameter


def describe(folder: Path) -> Described:
    """Say what a stranger's run is of.

    Raises
    ------
    CodeError, IngestError
        If its files do not tell.
    """
    cards, structure = read_deck(folder)
    site = find_site(folder)
    index = site.site(structure)
    z = structure[index].specie.Z
    edge = next(
        each.name
        for each in deck_edges(cards, structure)
        if each.site == index or (each.site is None and each.atomic_number == z)
    )
    parameters, protocol = recognise(
        "ocean",
        stated_parameters(cards),
        make=make_inputs,
        state=_stated,
        structure=structure,
        absorbing_index=index,
        edge=edge,
    )
    names = [DECK, *(f"photon{number}" for number in site.paths)]
    paths = {name: find_packed(folder, name) for name in names}
    inputs = {name: read_packed(path) for name, path in paths.items() if path is not None}
    return Described(structure, index, edge, parameters, protocol, inputs)


def _stated(inputs: InputSet) -> dict[str, Parameter]:
    return stated_parameters(parse_cards(inputs.files[DECK]))


iter_finished = partial(
    iter_run_folders,
    code="ocean",
    read=read_folder,
    describe=describe,
    markers=("ocean.in", "ocean.in.*"),
    wanted=(
        *("ocean.in", "ocean.in.*", "photon*", "absspct_*", "CNBSE/absspct_*"),
        *("ocean.log", "Common/Version", "DFT/scf.out", "DFT/SCF/scf.out", "scf.out"),
    ),
)
"""`Code.finished` of this code."""
