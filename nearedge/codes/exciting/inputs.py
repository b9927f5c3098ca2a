"""Make exciting's input through Lightshow's ``EXCITINGParameters``, and describe its parameters."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast
from xml.etree import ElementTree
from xml.etree.ElementTree import Element as Node

from pymatgen.core import Structure

from nearedge.codes.base import InputSet
from nearedge.codes.exciting.deck import DECK
from nearedge.codes.exciting.failures import LOG
from nearedge.codes.exciting.levels import core_level
from nearedge.codes.mesh import bands, k_mesh
from nearedge.codes.protocols import Protocol
from nearedge.codes.site import bare_structure, check_edge
from nearedge.compat import lightshow_parameters
from nearedge.errors import InputRefused
from nearedge.spectra.spectrum import BOHR, HARTREE
from nearedge.structures.elements import core_hole_width

EDGES = ("K", "L1", "L2", "L3", "L23")
UNITS = {
    "k_radius": "bohr",
    "band_energy_range": "eV",
    "gmaxvr": "1/bohr",
    "gqmax": "1/bohr",
    "scissor": "eV",
    "broadening": "eV",
    "window_below": "eV",
    "window_above": "eV",
    "energy_step": "eV",
}


def make_inputs(
    structure: Structure, absorbing_index: int, edge: str, protocol: Protocol, code_version: str
) -> InputSet:
    """Make the input set of one absorbing site.

    The species files that the input names (``Ti.xml``) come with exciting and are not part of it.

    Raises
    ------
    InputRefused
        ``absorbing_index``, ``partial_occupancy``, ``non_finite_coordinate``, ``unknown_edge``,
        ``edge_not_in_element`` or ``bad_setting``.
    """
    bare = bare_structure(structure, absorbing_index, "exciting")
    absorber = bare[absorbing_index].specie
    check_edge(absorber.Z, edge, EDGES, "exciting")
    module = lightshow_parameters("exciting")
    estimate = bands(module, protocol.number("band_energy_range"))
    parameters = module.EXCITINGParameters(
        cards=_cards(protocol, absorber.symbol, edge, estimate(bare)),
        species_directory="./",
        edge=edge,
        kpoints=k_mesh(module, protocol.number("k_radius")),
        nbands=estimate,
        gqmax=protocol.number("gqmax"),
    )
    with TemporaryDirectory(prefix="nearedge-exciting-") as folder:
        parameters.write(folder, structure_uc=bare, sites=[int(absorbing_index)])
        (written,) = Path(folder).glob(f"*/{DECK}")
        text = written.read_text()
    return InputSet(
        code="exciting",
        code_version=code_version,
        protocol=protocol.label,
        files={DECK: _mended(text, bare, absorbing_index)},
        parameters=protocol.parameters(UNITS),
        by_hand=_by_hand(bare),
    )


def _by_hand(structure: Structure) -> tuple[str, ...]:
    """Return how exciting is run by hand, with its own species files."""
    names = " ".join(f"{symbol}.xml" for symbol in sorted(set(structure.symbol_set)))
    return (
        'species="${NEAREDGE_EXCITING_SPECIES_PATH:-${EXCITINGROOT:-.}/species}"',
        f"for name in {names}; do",
        '    [ -f "$name" ] || cp "$species/$name" .',
        "done",
        f"${{NEAREDGE_EXCITING_COMMAND:-exciting_smp {DECK}}} > {LOG} 2>&1",
    )


def _cards(protocol: Protocol, absorber: str, edge: str, conduction: int) -> dict[str, object]:
    """Return Lightshow's cards; new ones each time, because it writes into them."""
    number, settings = protocol.number, protocol.settings
    shift = settings["k_shift"]
    if not isinstance(shift, list) or len(shift) != 3:
        raise InputRefused("bad_setting", f"Protocol {protocol.label}: k_shift has three numbers.")
    width = number("broadening") or core_hole_width(absorber, edge)
    # exciting stops where the BSE wants more empty bands than were computed.
    response = max(int(number("response_bands")), conduction)
    lmax = f"{number('lmax'):g}"
    return {
        "structure": {"speciespath": "./", "autormt": "true"},
        "groundstate": {
            "xctype": str(settings["xc"]),
            "nempty": f"{number('ground_state_bands'):g}",
            "rgkmax": f"{number('rgkmax'):g}",
            "do": "fromscratch",
            "gmaxvr": f"{number('gmaxvr'):g}",
            "lmaxmat": lmax,
            "lmaxvr": lmax,
            "lmaxapw": lmax,
        },
        "xs": {
            "xstype": "BSE",
            "vkloff": " ".join(f"{value:g}" for value in shift),
            "nempty": str(response),
            "rgkmax": f"{number('rgkmax'):g}",
            "scissor": f"{number('scissor') / HARTREE:.8g}",
            "broad": f"{width / 2 / HARTREE:.8g}",  # exciting's is the half width
            "tevout": "true",
            "tappinfo": "true",
            "energywindow": _window(protocol, absorber, edge),
            "screening": {"screentype": str(settings["screening"]), "nempty": str(response)},
            "BSE": {
                "xas": "true",
                "bsetype": str(settings["bse_type"]),
                "distribute": "true",
                "eecs": "1000",
            },
            "qpointset": {"qpoint": {"text()": "0.0 0.0 0.0"}},
        },
    }


def _window(protocol: Protocol, absorber: str, edge: str) -> dict[str, str]:
    """Return the energy window, in Hartree, around the core level; Lightshow's is that of Ti K."""
    level = core_level(absorber, edge) + protocol.number("scissor")
    below, above, step = (
        protocol.number(name) for name in ("window_below", "window_above", "energy_step")
    )
    first, last = max(level - below, step), level + above
    if not 0 < step < last - first:
        raise InputRefused("bad_setting", f"Protocol {protocol.label}: no energy grid.")
    points = round((last - first) / step)
    return {"intv": f"{first / HARTREE:.6f} {last / HARTREE:.6f}", "points": str(points)}


def _mended(text: str, structure: Structure, absorbing_index: int) -> str:
    """Correct what Lightshow 1.2.8 and pymatgen write.

    Lightshow counts xasatom over the whole crystal; exciting counts it within the species. pymatgen
    takes a bohr that is 1.5e-5 too large, and rounds the lattice vectors to 1e-8 Å.
    """
    root = ElementTree.fromstring(text)
    symbol = structure[absorbing_index].specie.symbol
    same = [index for index, site in enumerate(structure) if site.specie.symbol == symbol]
    files = [str(each.get("speciesfile")) for each in root.iter("species")]
    bse = cast(Node, root.find("xs/BSE"))
    bse.set("xasspecies", str(files.index(f"{symbol}.xml") + 1))
    bse.set("xasatom", str(same.index(absorbing_index) + 1))
    cast(Node, root.find("structure/crystal")).set("scale", f"{1 / BOHR:.12f}")
    vectors = root.findall("structure/crystal/basevect")
    for node, vector in zip(vectors, structure.lattice.matrix, strict=True):
        node.text = " ".join(f"{value:.12f}" for value in vector)
    for species, file in zip(root.iter("species"), files, strict=True):
        sites = [site for site in structure if f"{site.specie.symbol}.xml" == file]
        for node, site in zip(species.findall("atom"), sites, strict=True):
            node.set("coord", " ".join(f"{value:.12f}" for value in site.frac_coords))
    return ElementTree.tostring(root, encoding="unicode") + "\n"
