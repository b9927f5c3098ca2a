"""The input set of one absorbing site: pw.x with the core hole, then xspectra.x."""

from __future__ import annotations

import json

from pymatgen.core import Species, Structure

from nearedge.codes.base import InputSet
from nearedge.codes.core_hole import hole_cell
from nearedge.codes.protocols import Protocol
from nearedge.codes.site import bare_structure, check_edge
from nearedge.codes.xspectra.augmentation import p_radius
from nearedge.codes.xspectra.cell import cell_polarisations
from nearedge.codes.xspectra.decks import (
    DEFAULT_NAME,
    POLARISATIONS,
    SCF,
    SCRATCH,
    Files,
    Potentials,
    scf_text,
    spectrum_texts,
)
from nearedge.codes.xspectra.pseudo import PseudoSet, pseudopotentials
from nearedge.errors import InputRefused, StructureError
from nearedge.schemas.calculation import Parameter, ParameterValue
from nearedge.schemas.document import content_hash
from nearedge.structures.elements import core_hole_width

EDGES = ("K",)
"""Others need potentials with a hole in another shell, and for p levels another kind of run."""
NATURAL_WIDTH = "core-hole lifetime"
SUGGESTED_CUTOFF = "suggested by the potentials"
UNITS = {
    "cutoff": "Ry",
    "cutoff_scale": None,
    "image_distance": "angstrom",
    "scf_k_radius": "angstrom",
    "spectrum_k_radius": "angstrom",
    "charge": "e",
    "paw_radius_scale": None,
    "smearing": "Ry",
    "lorentzian_width": "eV",
    "lanczos_width": "eV",
    "lanczos_error": None,
    "lanczos_check": None,
    "e_min": "eV",
    "e_max": "eV",
    "e_step": "eV",
    "cut_smoothing": "eV",
}
"""Units of the settings that move a converged result; the others steer convergence."""


def make_inputs(
    structure: Structure, absorbing_index: int, edge: str, protocol: Protocol, code_version: str
) -> InputSet:
    """Make the input set of one absorbing site.

    Raises
    ------
    InputRefused
        What `bare_structure`, `check_edge`, `hole_cell`, `spectrum_width` and `pseudopotentials`
        refuse.
    """
    bare = bare_structure(structure, absorbing_index, "XSpectra")
    element = bare[absorbing_index].specie
    absorber = element.symbol
    check_edge(element.Z, edge, EDGES, "XSpectra")
    width = spectrum_width(protocol, absorber, edge)
    cell = hole_cell(bare, absorbing_index, protocol)
    pseudos = pseudopotentials(sorted(set(bare.symbol_set)), absorber, edge)
    directions = cell_polarisations(cell)
    # The name that Lightshow gives the atom with the core hole.
    cell[0] = Species(absorber, 1)
    potentials = _potentials(cell, pseudos, absorber, protocol)
    files = {f"{SCF}.in": scf_text(cell, potentials, protocol)}
    table = []
    for number, polarisation in enumerate(directions, start=1):
        names = Files(number)
        files[names.lanczos], files[names.plot] = spectrum_texts(
            cell, potentials, protocol, polarisation, names, width
        )
        table.append({"direction": polarisation.direction, "weight": polarisation.weight})
    files[POLARISATIONS] = json.dumps(table, indent=1) + "\n"
    expensive = {name: text for name, text in files.items() if not name.startswith("plot_")}
    return InputSet(
        code="xspectra",
        code_version=code_version,
        protocol=protocol.label,
        files={**files, **pseudos.files},
        parameters=protocol_parameters(protocol, pseudos.identity),
        restart_key=content_hash(["xspectra", code_version, pseudos.identity, expensive]),
        by_hand=_by_hand(len(directions)),
    )


def _by_hand(polarisations: int) -> tuple[str, ...]:
    """Return how the programs are run by hand; xspectra.x names every spectrum the same."""
    lines = [
        'pw="${NEAREDGE_PW_COMMAND:-pw.x}"',
        'xspectra="${NEAREDGE_XSPECTRA_COMMAND:-xspectra.x}"',
        'export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"',
        f"$pw -in {SCF}.in > {SCF}.out 2>&1",
    ]
    for number in range(1, polarisations + 1):
        names = Files(number)
        lines += [
            f"$xspectra -in {names.lanczos} > {names.lanczos_log} 2>&1",
            f"rm -f {DEFAULT_NAME}",
            f"$xspectra -in {names.plot} > {names.plot_log} 2>&1",
            f"mv {DEFAULT_NAME} {names.spectrum}",
        ]
    return (*lines, f"rm -rf {SCRATCH}")


def protocol_parameters(protocol: Protocol, potentials: str) -> dict[str, Parameter]:
    """Return the physical parameters that a protocol stands for.

    Parameters
    ----------
    potentials
        `PseudoSet.identity`.
    """
    values: dict[str, ParameterValue] = {name: protocol.number(name) for name in UNITS}
    units = dict(UNITS)
    # The same words for all elements, so that equal protocols give equal parameters.
    if values["lorentzian_width"] == 0:
        values["lorentzian_width"], units["lorentzian_width"] = NATURAL_WIDTH, None
    if values["cutoff"] == 0:
        values["cutoff"], units["cutoff"] = SUGGESTED_CUTOFF, None
    else:
        del values["cutoff_scale"]
    parameters = {name: Parameter(value=values[name], unit=units[name]) for name in values}
    parameters["pseudopotentials"] = Parameter(value=potentials)
    return parameters


def plane_wave_cutoff(protocol: Protocol, suggested: float | None) -> float:
    """Return the cutoff in Ry: the protocol's own, or its share of what the potentials suggest.

    Copper's needs more than carbon's by far, so a protocol states a share.

    Raises
    ------
    InputRefused
        ``cutoff_unknown``, ``bad_setting``.
    """
    stated, scale = protocol.number("cutoff"), protocol.number("cutoff_scale")
    if stated < 0 or scale <= 0:
        raise InputRefused("bad_setting", f"Protocol {protocol.label}: a cutoff must be positive.")
    if stated > 0:
        return stated
    if suggested is None:
        raise InputRefused(
            "cutoff_unknown",
            "The potentials in pseudo_path suggest no cutoff: state one in Ry, such as "
            f"--set cutoff=60 with protocol {protocol.name}.",
        )
    return round(scale * suggested, 1)


def spectrum_width(protocol: Protocol, absorber: str, edge: str) -> float:
    """Return the full width in eV of the Lorentzian that the spectrum gets.

    Without a width of the protocol's own it is the core hole's lifetime, but no less than what the
    Lanczos chain resolves: carbon's 0.09 eV would show the chain's end and the k-mesh, not carbon.

    Raises
    ------
    InputRefused
        ``bad_setting`` for a width below what the chain resolves.
    """
    asked, resolved = protocol.number("lorentzian_width"), protocol.number("lanczos_width")
    if resolved <= 0 or asked < 0:
        raise InputRefused("bad_setting", f"Protocol {protocol.label}: widths must be positive.")
    if asked == 0:
        try:
            return max(core_hole_width(absorber, edge), resolved)
        except StructureError as error:
            raise InputRefused("bad_setting", str(error)) from None
    if asked < resolved:
        raise InputRefused(
            "bad_setting",
            f"Protocol {protocol.label}: a lorentzian_width of {asked:g} eV is less than the "
            f"lanczos_width of {resolved:g} eV that the recursion resolves; lower that as well.",
        )
    return asked


def _potentials(
    cell: Structure, pseudos: PseudoSet, absorber: str, protocol: Protocol
) -> Potentials:
    """Return the potential of each kind of atom in `cell`, whose first is the one with the hole."""
    species = {
        site.specie.symbol: pseudos.name_of(site.specie.symbol) for site in list(cell)[1:]
    } | {str(cell[0].specie): pseudos.core_hole_name}
    valence = sum(pseudos.valence(site.specie.symbol) for site in cell)
    hole = pseudos.files[pseudos.core_hole_name]
    # The potential with the hole brings an electron more, which `charge` takes away.
    return Potentials(
        species=species,
        core_wavefunction=pseudos.core_wavefunction_name,
        electrons=valence + pseudos.core_hole_charge - protocol.number("charge"),
        cutoff=plane_wave_cutoff(protocol, pseudos.cutoff),
        paw_radius=protocol.number("paw_radius_scale") * p_radius(hole, pseudos.core_hole_name),
    )
