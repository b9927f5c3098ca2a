"""Make OCEAN's input through Lightshow's ``OCEANParameters``, and describe its parameters."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from pymatgen.core import Structure

from nearedge.codes.base import InputSet
from nearedge.codes.mesh import bands, k_mesh
from nearedge.codes.ocean.deck import DECK
from nearedge.codes.ocean.failures import LOG
from nearedge.codes.protocols import Protocol
from nearedge.codes.site import bare_structure, check_edge
from nearedge.compat import lightshow_parameters
from nearedge.errors import InputRefused
from nearedge.settings import get_settings
from nearedge.structures.elements import core_hole_width, edge_energy

EDGES = ("K", "L1", "L23")
"""OCEAN computes both edges of a 2p level at once."""
BY_HAND = (f"${{NEAREDGE_OCEAN_COMMAND:-ocean.pl {DECK}}} > {LOG} 2>&1",)
UNITS = {
    "k_radius": "bohr",
    "band_energy_range": "eV",
    "screen_k_radius": "bohr",
    "screen_energy_range": "eV",
    "screen_shells": "bohr",
    "core_hole_radius": "bohr",
    "core_offset": "eV",
    "broadening": "eV",
    "energy_min": "eV",
    "energy_max": "eV",
    "energy_step": "eV",
}
STEERING = {"haydock_threshold", "haydock_iterations", "scf_threshold"}
"""They steer convergence and do not move a converged result."""


def make_inputs(
    structure: Structure, absorbing_index: int, edge: str, protocol: Protocol, code_version: str
) -> InputSet:
    """Make the input set of one absorbing site.

    Raises
    ------
    InputRefused
        ``absorbing_index``, ``partial_occupancy``, ``non_finite_coordinate``, ``unknown_edge``,
        ``edge_not_in_element`` or ``bad_setting``.
    """
    bare = bare_structure(structure, absorbing_index, "OCEAN")
    absorber = bare[absorbing_index].specie
    check_edge(absorber.Z, edge, EDGES, "OCEAN")
    module = lightshow_parameters("ocean")
    parameters = module.OCEANParameters(
        cards=_cards(protocol, absorber.symbol, edge),
        kpoints=k_mesh(module, protocol.number("k_radius")),
        nbands=bands(module, protocol.number("band_energy_range")),
        diel=f"{protocol.number('dielectric_constant'):g}",
        defaultConvPerAtom=protocol.number("scf_threshold"),
        edge=edge,
    )
    with TemporaryDirectory(prefix="nearedge-ocean-") as folder:
        parameters.write(folder, structure_uc=bare, sites=[int(absorbing_index)])
        written = Path(folder) / absorber.symbol
        files = {path.name: path.read_text() for path in sorted(written.iterdir())}
    energy = edge_energy(absorber.symbol, edge)
    files |= {
        name: _with_photon_energy(text, energy) for name, text in files.items() if name != DECK
    }
    return InputSet(
        code="ocean",
        code_version=code_version,
        protocol=protocol.label,
        files=files,
        parameters=protocol.parameters(UNITS, without=STEERING),
        by_hand=BY_HAND,
    )


def _cards(protocol: Protocol, absorber: str, edge: str) -> dict[str, str]:
    """Return the cards that Lightshow does not derive from the structure."""
    number = protocol.number
    first, last, step = (number(f"energy_{name}") for name in ("min", "max", "step"))
    if not (first < last and 0 < step < last - first):
        raise InputRefused("bad_setting", f"Protocol {protocol.label}: no energy grid.")
    shells = protocol.settings["screen_shells"]
    if not isinstance(shells, list) or number("core_hole_radius") not in shells:
        raise InputRefused(
            "bad_setting",
            f"Protocol {protocol.label}: core_hole_radius must be one of screen_shells, where "
            "OCEAN computes the screening.",
        )
    width = number("broadening") or core_hole_width(absorber, edge)
    cards = {
        "dft": "qe",
        "ecut": "-1",
        "ecut.quality": str(protocol.settings["cutoff_quality"]),
        "pp_database": str(protocol.settings["pseudopotentials"]),
        "opf.program": "hamann",
        "screen.nkpt": f"{-number('screen_k_radius'):g}",
        "screen_energy_range": f"{number('screen_energy_range'):g}",
        "screen.shells": " ".join(f"{shell:g}" for shell in shells),
        "cnbse.rad": f"{number('core_hole_radius'):g}",
        "cnbse.broaden": f"{width / 2:g}",  # OCEAN's is the half width
        "cnbse.spect_range": f"{round((last - first) / step)} {first:g} {last:g}",
        "cnbse.niter": f"{number('haydock_iterations'):g}",
        "haydock_convergence": f"{number('haydock_threshold'):g} 5",
    }
    if offset := number("core_offset"):
        cards["core_offset"] = f"{offset:g}"
    if prefix := get_settings().ocean_para_prefix:
        cards["para_prefix"] = prefix
    return cards


def _with_photon_energy(text: str, energy: float) -> str:
    """Write the photon's energy in eV into a photon file, where Lightshow leaves a placeholder."""
    lines = text.splitlines()
    lines[-2] = f"{energy:.1f}"
    return "\n".join(lines) + "\n"
