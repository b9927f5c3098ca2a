"""Make VASP's input through Lightshow's ``VASPParameters``, and describe its parameters."""

from __future__ import annotations

import warnings
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType

from pymatgen.core import Structure

from nearedge.codes.base import InputSet
from nearedge.codes.core_hole import hole_cell
from nearedge.codes.mesh import bands, k_mesh
from nearedge.codes.protocols import Protocol
from nearedge.codes.site import QUANTUM_NUMBERS, bare_structure, check_edge
from nearedge.codes.vasp.deck import INCAR, KPOINTS, POSCAR, SPEC
from nearedge.codes.vasp.failures import LOG
from nearedge.codes.vasp.potentials import families
from nearedge.compat import lightshow_parameters
from nearedge.errors import InputRefused

EDGES = ("K", "L1", "L23")
"""VASP computes both edges of a 2p level at once."""
BY_HAND = (
    "if [ ! -f POTCAR ]; then",
    f'    echo "Put your POTCAR here first, of these in this order:" $(cat {SPEC}) >&2',
    "    exit 1",
    "fi",
    f"${{NEAREDGE_VASP_COMMAND:-vasp_std}} > {LOG} 2>&1",
)
UNITS = {
    "image_distance": "angstrom",
    "k_radius": "bohr",
    "band_energy_range": "eV",
    "energy_cutoff": "eV",
    "smearing": "eV",
    "broadening": "eV",
}
STEERING = {"scf_threshold", "scf_iterations"}
"""They steer convergence and do not move a converged result."""
_OF_THE_MACHINE = ("KPAR", "NCORE", "NSIM", "LAECHG", "EDIFFG")
"""Of Lightshow's tags: how the work is shared out, and files that nobody reads here."""


def make_inputs(
    structure: Structure, absorbing_index: int, edge: str, protocol: Protocol, code_version: str
) -> InputSet:
    """Make the input set of one absorbing site, in a supercell with the absorber first.

    POTCAR, which is licensed, is not part of it: ``POTCAR.spec`` names the potentials, a line each.

    Raises
    ------
    InputRefused
        ``absorbing_index``, ``partial_occupancy``, ``non_finite_coordinate``, ``unknown_edge``,
        ``edge_not_in_element``, ``unsupported_element``, ``core_hole_in_primitive_cell`` or
        ``bad_setting``.
    """
    bare = bare_structure(structure, absorbing_index, "VASP")
    absorber = bare[absorbing_index].specie
    check_edge(absorber.Z, edge, EDGES, "VASP")
    module = lightshow_parameters("vasp")
    cell = hole_cell(bare, absorbing_index, protocol)
    family = protocol.settings["potentials"]
    if family not in families():
        raise InputRefused(
            "bad_setting",
            f"pymatgen knows no potentials {family!r}; it knows {', '.join(families())}.",
        )
    potentials = _potentials(module, cell)
    files = _write(module, cell, _incar(module, protocol, edge), protocol)
    symbols = files[POSCAR].splitlines()[5].split()
    files[SPEC] = "".join(f"{potentials[symbol]}\n" for symbol in symbols)
    return InputSet(
        code="vasp",
        code_version=code_version,
        protocol=protocol.label,
        files=files,
        parameters=protocol.parameters(UNITS, without=STEERING),
        by_hand=BY_HAND,
    )


def _potentials(module: ModuleType, structure: Structure) -> dict[str, str]:
    """Return the name of each element's potential, as Lightshow chooses them."""
    known = module.VASP_POTCAR_DEFAULT_ELEMENT_MAPPING
    counted = module.VASP_VALENCE_MAPPING
    names = {}
    for symbol in dict.fromkeys(site.specie.symbol for site in structure):
        if symbol not in known or symbol not in counted:
            raise InputRefused(
                "unsupported_element", f"Lightshow names no GW potential of VASP for {symbol}."
            )
        names[symbol] = str(known[symbol])
    return names


def _incar(module: ModuleType, protocol: Protocol, edge: str) -> dict[str, object]:
    number = protocol.number
    n, l = QUANTUM_NUMBERS[edge]  # noqa: E741
    tags = dict(module.VASP_INCAR_DEFAULT_COREHOLE_POTENTIAL)
    for tag in _OF_THE_MACHINE:
        tags.pop(tag, None)
    tags |= {
        "CLN": n,
        "CLL": l,
        "CLZ": number("core_hole"),
        "PREC": str(protocol.settings["precision"]),
        "SIGMA": number("smearing"),
        "CH_SIGMA": number("broadening"),
        "CH_NEDOS": int(number("energy_points")),
        "EDIFF": number("scf_threshold"),
        "NELM": int(number("scf_iterations")),
    }
    if cutoff := number("energy_cutoff"):
        tags["ENCUT"] = cutoff
    return tags


def _write(
    module: ModuleType,
    cell: Structure,
    incar: dict[str, object],
    protocol: Protocol,
) -> dict[str, str]:
    """Let Lightshow write the files, and return them by name."""
    estimate_mesh = k_mesh(module, protocol.number("k_radius"))
    estimate_bands = bands(module, protocol.number("band_energy_range"))
    with TemporaryDirectory(prefix="nearedge-vasp-") as folder, warnings.catch_warnings():
        # Without potentials of its own Lightshow writes no POTCAR, and warns of that; a folder
        # that is not there keeps it from looking for one in the environment.
        warnings.simplefilter("ignore")
        parameters = module.VASPParameters(
            incar=incar,
            potcar_directory=str(Path(folder) / "none"),
            kpoints=estimate_mesh,
            nbands=estimate_bands,
            force_spin_unpolarized=not protocol.settings["spin"],
        )
        outcome = parameters.write(Path(folder), structure_sc=cell, sites=[0], index_mapping={0: 0})
        if not outcome["pass"]:
            raise InputRefused("bad_input", f"Lightshow refuses the input: {outcome['errors']}.")
        (written,) = outcome["paths"]
        files = {name: (written / name).read_text() for name in (INCAR, KPOINTS, POSCAR)}
    if not protocol.settings["hubbard_u"]:
        lines = files[INCAR].splitlines(keepends=True)
        files[INCAR] = "".join(line for line in lines if not line.startswith("LDAU"))
    return files
