"""Finished VASP calculations, of any origin: folders with INCAR, POSCAR and OUTCAR."""

from __future__ import annotations

import re
from functools import partial
from itertools import islice
from pathlib import Path

from pymatgen.core import Structure

from nearedge.codes.base import InputSet
from nearedge.codes.finished.recognition import recognise
from nearedge.codes.finished.runs import Described, iter_run_folders
from nearedge.codes.outputs import SUFFIXES, find_packed, read_packed
from nearedge.codes.vasp.deck import (
    INCAR,
    KPOINTS,
    POSCAR,
    SPEC,
    absorbing_site,
    edge_of,
    parse_incar,
    read_structure,
    stated_parameters,
)
from nearedge.codes.vasp.inputs import make_inputs
from nearedge.codes.vasp.parse import (
    OUTCAR,
    TRACE,
    Outcar,
    parse_outcar,
    read_folder,
    read_incar,
)
from nearedge.errors import IngestError
from nearedge.schemas.calculation import Parameter

_WANTED = (INCAR, KPOINTS, POSCAR, OUTCAR, TRACE)


def describe(folder: Path) -> Described:
    """Say what a stranger's run is of.

    Raises
    ------
    CodeError, IngestError
        If its files do not tell.
    """
    tags = read_incar(folder)
    texts = _texts(folder)
    if OUTCAR not in texts or POSCAR not in texts:
        raise IngestError("OUTCAR or POSCAR is missing")
    outcar = parse_outcar(texts.pop(OUTCAR))
    structure = read_structure(texts[POSCAR])
    if len(structure) != sum(outcar.ions_per_type):
        raise IngestError(
            f"POSCAR has {len(structure)} sites, OUTCAR {sum(outcar.ions_per_type)}: they are of "
            "different calculations"
        )
    _check_elements(structure, outcar)
    index = absorbing_site(tags, outcar.ions_per_type)
    edge = edge_of(outcar.n, outcar.l)
    parameters, protocol = recognise(
        "vasp",
        stated_parameters(tags, texts.get(KPOINTS), outcar.potentials, outcar.functional),
        make=make_inputs,
        state=_stated,
        structure=structure,
        absorbing_index=index,
        edge=edge,
    )
    texts[SPEC] = "".join(f"{name}\n" for name in outcar.potentials)
    return Described(structure, index, edge, parameters, protocol, texts)


def _check_elements(structure: Structure, outcar: Outcar) -> None:
    """Make sure that POSCAR's sites are of the elements of OUTCAR's potentials."""
    sites = iter(structure)
    for potential, count in zip(outcar.potentials, outcar.ions_per_type, strict=False):
        element = re.split(r"[_.\d]", potential)[0]
        for site in islice(sites, count):
            if site.specie.symbol != element:
                raise IngestError(f"POSCAR has {site.specie.symbol} where OUTCAR has {element}")


def _texts(folder: Path) -> dict[str, str]:
    paths = {name: find_packed(folder, name) for name in (INCAR, KPOINTS, POSCAR, OUTCAR)}
    return {name: read_packed(path) for name, path in paths.items() if path is not None}


def _stated(inputs: InputSet) -> dict[str, Parameter]:
    family = str(inputs.parameters["potentials"].value)
    return stated_parameters(
        parse_incar(inputs.files[INCAR]),
        inputs.files[KPOINTS],
        inputs.files[SPEC].split(),
        family.partition("_")[0],
    )


iter_finished = partial(
    iter_run_folders,
    code="vasp",
    read=read_folder,
    describe=describe,
    markers=tuple(f"{OUTCAR}{suffix}" for suffix in SUFFIXES),
    wanted=tuple(f"{name}{suffix}" for name in _WANTED for suffix in SUFFIXES),
)
"""`Code.finished` of this code."""
