"""Read a folder that GPAW has run in."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pymatgen.core import Lattice, Structure

from nearedge.codes.base import CodeResult
from nearedge.codes.execution.stage import log_tail
from nearedge.codes.gpaw.failures import why
from nearedge.codes.gpaw.parse import Header, Plan, parse_plan, parse_sticks, site_spectrum
from nearedge.codes.gpaw.runner_files import (
    FAILURE,
    GROUND_LOG,
    INPUT,
    LOG,
    PLAN,
    RUN_LOG,
    STATES_LOG,
    STICKS,
)
from nearedge.codes.outputs import output_text
from nearedge.errors import CodeError
from nearedge.schemas.calculation import Parameter
from nearedge.schemas.spectrum import Broadening, EnergyReference


@dataclass(frozen=True)
class Asked:
    """What a ``gpaw.json`` says of the cell; the absorber is its first site."""

    cell: Structure
    scf_mesh: list[int]
    spectrum_mesh: list[int]


def parse_asked(text: str) -> Asked:
    """Read ``gpaw.json``.

    Raises
    ------
    CodeError
        ``output_foreign``, if it is not one of ours.
    """
    try:
        asked = json.loads(text)
        cell = Structure(Lattice(asked["cell"]), asked["symbols"], asked["scaled_positions"])
        scf_mesh, spectrum_mesh = (
            [int(n) for n in asked[f"{k}_mesh"]] for k in ("scf", "spectrum")
        )
    except (ValueError, LookupError, TypeError) as error:
        raise CodeError("output_foreign", f"{INPUT} is not one of NearEdge's ({error}).") from None
    return Asked(cell, scf_mesh, spectrum_mesh)


def read_run(folder: Path) -> CodeResult:
    """Read what a run left, its inputs included.

    Raises
    ------
    CodeError
        What `run_gpaw.py` named, ``output_missing``, ``output_foreign`` for states that were
        computed from another ``gpaw.json``, and what `parse_sticks` and `site_spectrum` raise.
    """
    try:
        return _result(folder)
    except CodeError as error:
        tail = error.log_tail or log_tail(folder, GROUND_LOG, LOG, STATES_LOG, RUN_LOG)
        raise CodeError(error.name, error.message, tail) from None


def _result(folder: Path) -> CodeResult:
    if (folder / FAILURE).is_file():
        raise why(folder, 1)
    text = output_text(folder / INPUT)
    plan, asked = parse_plan(output_text(folder / PLAN)), parse_asked(text)
    sticks = parse_sticks(output_text(folder / STICKS))
    if sticks.header.input != hashlib.sha256(text.encode()).hexdigest():
        raise CodeError("output_foreign", f"{STICKS} was not computed from this {INPUT}.")
    if asked.cell[0].specie.symbol != plan.absorber:
        raise CodeError("output_foreign", f"{PLAN} and {INPUT} are of different absorbers.")
    return CodeResult(
        spectrum=site_spectrum(sticks, plan),
        energy_reference=_reference(sticks.header),
        broadening=[_broadening(plan)],
        results=_results(sticks.header, asked),
        cpu_seconds=sticks.header.cpu_seconds,
        restart={STICKS: (folder / STICKS).read_bytes()},
        code_version=sticks.header.gpaw,
    )


def _reference(header: Header) -> EnergyReference:
    """Return what the axis is counted from; the Fermi level is that on GPAW's own axis."""
    kind: Literal["absolute", "fermi"] = "fermi" if header.edge is None else "absolute"
    return EnergyReference(kind=kind, edge_energy=header.edge, fermi_energy=header.fermi_energy)


def _broadening(plan: Plan) -> Broadening:
    return Broadening(
        kind="lorentzian",
        width=plan.lorentzian_width,
        origin="core-hole lifetime, the least that the protocol has, or as asked",
    )


def _results(header: Header, asked: Asked) -> dict[str, Parameter]:
    results = {
        "fermi_energy": Parameter(value=header.fermi_energy, unit="eV"),
        "total_energy": Parameter(value=header.total_energy, unit="eV"),
        "complete_to": Parameter(value=header.complete_to - header.fermi_energy, unit="eV"),
        "scf_iterations": Parameter(value=header.scf_iterations),
        "k_points": Parameter(value=header.irreducible_k_points),
        "bands": Parameter(value=header.bands),
        "plane_waves": Parameter(value=header.plane_waves),
        "cell_atoms": Parameter(value=len(asked.cell)),
        "cell_volume": Parameter(value=round(asked.cell.volume, 3), unit="angstrom^3"),
    }
    if header.ground_energy is not None:
        results["ground_energy"] = Parameter(value=header.ground_energy, unit="eV")
    for name, mesh in (("scf_mesh", asked.scf_mesh), ("spectrum_mesh", asked.spectrum_mesh)):
        results[name] = Parameter(value=[*mesh])
    return results
