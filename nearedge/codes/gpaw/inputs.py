"""The input set of one absorbing site: what GPAW computes, and what is made of its states."""

from __future__ import annotations

import json

import numpy as np
from pymatgen.core import Structure

from nearedge.codes.base import InputSet
from nearedge.codes.core_hole import hole_cell
from nearedge.codes.gpaw.failures import EDGES, check_elements
from nearedge.codes.gpaw.mesh import k_mesh
from nearedge.codes.gpaw.programs import RUNNER, installed
from nearedge.codes.gpaw.runner_files import INPUT, PLAN, RUN_LOG, SCRIPT
from nearedge.codes.protocols import Protocol
from nearedge.codes.site import bare_structure, check_edge
from nearedge.errors import InputRefused, StructureError
from nearedge.schemas.calculation import Parameter, ParameterValue
from nearedge.schemas.document import content_hash
from nearedge.spectra.spectrum import HARTREE
from nearedge.structures.elements import core_hole_width, edge_energy

NATURAL_WIDTH = "core-hole lifetime"
UNITS = {
    "cutoff": "eV",
    "image_distance": "angstrom",
    "scf_k_radius": "angstrom",
    "spectrum_k_radius": "angstrom",
    "smearing": "eV",
    "lorentzian_width": "eV",
    "least_width": "eV",
    "bands_factor": "1/angstrom^3",
    "e_min": "eV",
    "e_max": "eV",
    "e_step": "eV",
}
"""Units of the settings that move a converged result; the others steer convergence."""
HOLES = {"full": ("fch1s", 1.0, 0), "half": ("hch1s", 0.5, 0), "excited": ("fch1s", 1.0, -1)}
"""Setup, electrons removed from the 1s level, and charge for each kind of core hole.

GPAW's charge counts from as many electrons as the setups have valence ones: at 0 the hole's charge
is left to the uniform background, at -1 an electron is added for it.
"""
BY_HAND = (f"${{NEAREDGE_GPAW_PYTHON:-/usr/bin/python3}} {SCRIPT} > {RUN_LOG} 2>&1",)
_SPARE_BANDS = 8
_MOST_POINTS = 100_000


def make_inputs(
    structure: Structure, absorbing_index: int, edge: str, protocol: Protocol, code_version: str
) -> InputSet:
    """Make the input set of one absorbing site.

    Raises
    ------
    InputRefused
        ``bad_setting``, or what `bare_structure`, `check_edge`, `check_elements` and `hole_cell`
        refuse.
    """
    bare = bare_structure(structure, absorbing_index, "GPAW")
    element = bare[absorbing_index].specie
    check_edge(element.Z, edge, EDGES, "GPAW")
    check_elements(bare, installed())
    plan = _plan(protocol, element.symbol, edge)
    cell = hole_cell(bare, absorbing_index, protocol)
    files = {
        INPUT: _asked(cell, protocol) + "\n",
        SCRIPT: RUNNER.read_text(encoding="utf-8"),
    }
    return InputSet(
        code="gpaw",
        code_version=code_version,
        protocol=protocol.label,
        files={**files, PLAN: json.dumps(plan, indent=1) + "\n"},
        parameters=protocol_parameters(protocol),
        by_hand=BY_HAND,
        restart_key=content_hash(["gpaw", code_version, files]),
    )


def protocol_parameters(protocol: Protocol) -> dict[str, Parameter]:
    """Return the physical parameters that a protocol stands for."""
    values: dict[str, ParameterValue] = {name: protocol.number(name) for name in UNITS}
    units: dict[str, str | None] = dict(UNITS)
    if values["lorentzian_width"] == 0:
        # The same words for all elements, so that equal protocols give equal parameters.
        values["lorentzian_width"], units["lorentzian_width"] = NATURAL_WIDTH, None
    parameters = {name: Parameter(value=values[name], unit=units[name]) for name in values}
    for name in ("xc", "core_hole"):
        parameters[name] = Parameter(value=str(protocol.settings[name]))
    absolute = bool(protocol.settings["delta_kohn_sham"])
    parameters["delta_kohn_sham"] = Parameter(value=absolute)
    return parameters


def _plan(protocol: Protocol, absorber: str, edge: str) -> dict[str, str | float]:
    """Return what is made of the states: grid in eV from the Fermi level, broadening, edge."""
    width, least = protocol.number("lorentzian_width"), protocol.number("least_width")
    low, high, step = (protocol.number(name) for name in ("e_min", "e_max", "e_step"))
    if width < 0 or not (low < 0 < high and step > 0 and (high - low) / step < _MOST_POINTS):
        raise InputRefused(
            "bad_setting",
            f"Protocol {protocol.label}: e_min must be below and e_max above 0, e_step positive, "
            "lorentzian_width not negative.",
        )
    if width == 0:
        try:
            # Carbon's 0.09 eV would show the k-mesh, not carbon.
            width = max(core_hole_width(absorber, edge), least)
        except StructureError as error:
            raise InputRefused("bad_setting", str(error)) from None
    if width < 2 * step:
        raise InputRefused(
            "bad_setting",
            f"Protocol {protocol.label}: an e_step of {step:g} eV is too coarse for lines of "
            f"{width:g} eV; take half the width or less.",
        )
    return {
        "absorber": absorber,
        "edge": edge,
        "edge_energy": edge_energy(absorber, edge),
        "lorentzian_width": width,
        "e_min": low,
        "e_max": high,
        "e_step": step,
    }


def _asked(cell: Structure, protocol: Protocol) -> str:
    """Return ``gpaw.json``; see `runner.py` for what each name does."""
    number, settings = protocol.number, protocol.settings
    hole = str(settings["core_hole"])
    if hole not in HOLES:
        raise InputRefused(
            "bad_setting",
            f"Protocol {protocol.label}: core_hole is {', '.join(HOLES)}, not {hole!r}.",
        )
    if settings["xc"] != "PBE":
        raise InputRefused(
            "bad_setting",
            f"Protocol {protocol.label}: the setups here are for PBE, not for {settings['xc']}.",
        )
    if not (number("cutoff") > 0 and number("smearing") > 0 and number("bands_factor") > 0):
        raise InputRefused(
            "bad_setting",
            f"Protocol {protocol.label}: cutoff, smearing and bands_factor must be positive.",
        )
    setup, removed, charge = HOLES[hole]
    # GPAW's point operations leave the origin in place, so the absorber must lie there.
    positions = (cell.frac_coords - cell.frac_coords[0] + 0.5) % 1.0 - 0.5
    asked = {
        "symbols": [site.specie.symbol for site in cell],
        "cell": cell.lattice.matrix.round(10).tolist(),
        "scaled_positions": np.where(np.abs(positions) < 1e-9, 0.0, positions).round(10).tolist(),
        "xc": settings["xc"],
        "setup": setup,
        "core_state": "1s",
        "removed": removed,
        "charge": charge,
        # Total energies of half an electron's removal give no transition.
        "ground_state": bool(settings["delta_kohn_sham"]) and removed == 1.0,
        "cutoff": number("cutoff"),
        "scf_mesh": k_mesh(cell, number("scf_k_radius")),
        "spectrum_mesh": k_mesh(cell, number("spectrum_k_radius")),
        "smearing": number("smearing"),
        "empty_bands": _empty_bands(cell.volume, protocol),
        "mixing": number("mixing"),
        "max_iterations": int(number("max_iterations")),
        "density_convergence": number("density_convergence"),
        "state_convergence": number("state_convergence"),
    }
    return json.dumps(asked)


def _empty_bands(volume: float, protocol: Protocol) -> int:
    """Return how many empty bands reach `e_max`.

    The form is Lightshow's ``UnitCellVolumeEstimate`` (arXiv:2211.04452), free electrons in
    `volume` (Å³), whose factor of 0.256 reached 61 eV for its 45 in anatase; the spare ones are for
    small cells, whose bands are few and steep.
    """
    filled = volume * (protocol.number("e_max") / (HARTREE / 2)) ** 1.5
    return int(np.ceil(protocol.number("bands_factor") * filled)) + _SPARE_BANDS
