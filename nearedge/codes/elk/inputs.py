"""Make Elk's input: a ground state with all cores, and a BSE run with one 1s level promoted.

Only the absorber's 1s is promoted: it is a species of its own, and the lowest state at every
k-point is its 1s. The other atoms of its element are a second species with the same sphere.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pymatgen.core import Structure

from nearedge.codes.base import InputSet
from nearedge.codes.elk.deck import Block, Group, write_deck
from nearedge.codes.elk.species import (
    Species,
    absorber,
    absorber_file,
    core_level_estimate,
    core_radius,
    load_species,
    search_margin,
    search_start,
    spectator,
    write_species,
)
from nearedge.codes.elk.spheres import fitted, shortest_distances
from nearedge.codes.protocols import Protocol
from nearedge.codes.site import bare_structure, check_edge
from nearedge.errors import InputRefused
from nearedge.schemas.document import content_hash
from nearedge.settings import get_settings
from nearedge.spectra.spectrum import BOHR, HARTREE
from nearedge.structures.elements import core_hole_width

EDGES = ("K",)
XC_TYPES = {"lda": 3, "pbe": 20, "pbesol": 22}
"""Elk's xctype."""
MAX_BSE_SIZE = 20_000
"""Rows of the BSE matrix; 6 GB."""
GROUND, CORE = "ground", "core"
DECK = "elk.in"
SCF_DECK, BSE_DECK, PLOT_DECK = "elk_1_scf.in", "elk_2_bse.in", "elk_3_plot.in"
BY_HAND = (
    'elk="${NEAREDGE_ELK_COMMAND:-elk-lapw}"',
    f"(cd {GROUND} && $elk > elk.log 2>&1)",
    f"mv {GROUND}/STATE.OUT {CORE}/STATE.OUT",
    f"cd {CORE}",
    f"for deck in {SCF_DECK} {BSE_DECK} {PLOT_DECK}; do",
    f'    cp "$deck" {DECK}',
    '    $elk > "${deck%.in}.log" 2>&1',
    "done",
)
UNITS = {
    "k_radius": "bohr",
    "band_energy_range": "eV",
    "screening_energy_range": "eV",
    "screening_cutoff": "1/bohr",
    "broadening": "eV",
    "energy_step": "eV",
}
STEERING = frozenset({"scf_iterations"})
AFTER_BSE = frozenset({"broadening", "energy_step"})
"""Settings that change the spectrum and not what is stored of the BSE."""
_FREE_ELECTRON_BOTTOM = 0.7
"""Ha. See `conduction_bands`."""


def make_inputs(
    structure: Structure,
    absorbing_index: int,
    edge: str,
    protocol: Protocol,
    code_version: str,
    species_folder: Path | None = None,
) -> InputSet:
    """Make the input set of one absorbing site.

    The folder ``ground`` is run first with its ``elk.in``; its ``STATE.OUT`` goes to the folder
    ``core``, where the three decks are run in turn, each as ``elk.in``. Species files are those of
    the setting ``elk_species_path`` if `species_folder` is None.

    Raises
    ------
    InputRefused
        ``absorbing_index``, ``partial_occupancy``, ``non_finite_coordinate``, ``unknown_edge``,
        ``edge_not_in_element``, ``unsupported_element``, ``species_unreadable``,
        ``spheres_too_small``, ``too_many_states`` or ``bad_setting``.
    ResourceError
        If a species file is missing.
    """
    bare = bare_structure(structure, absorbing_index, "Elk")
    element = bare[absorbing_index].specie
    check_edge(element.Z, edge, EDGES, "Elk")
    files = {
        **_species_files(bare, element.symbol, species_folder or get_settings().elk_species_path),
        **_decks(bare, absorbing_index, protocol),
    }
    kept = {name: value for name, value in protocol.settings.items() if name not in AFTER_BSE}
    ran = {name: text for name, text in files.items() if not name.endswith(PLOT_DECK)}
    return InputSet(
        code="elk",
        code_version=code_version,
        protocol=protocol.label,
        files=files,
        parameters=protocol.parameters(UNITS, without=STEERING),
        by_hand=BY_HAND,
        restart_key=content_hash([code_version, kept, ran]),
    )


def conduction_bands(volume: float, energy: float) -> int:
    """Return how many bands reach `energy` (eV) above the bottom of the conduction band.

    Parameters
    ----------
    volume
        Of the cell, in bohr³.

    Notes
    -----
    Free electrons, ``V (2 E)^1.5 / (6 pi^2)``, counted from 0.7 Ha below the conduction band, which
    is measured: in anatase (460 bohr³) 24, 40, 50, 60 and 70 bands reach 18.3, 30.1, 36.9, 42.1 and
    47.8 eV at every k-point.
    """
    top = (2 * (energy / HARTREE + _FREE_ELECTRON_BOTTOM)) ** 1.5
    bottom = (2 * _FREE_ELECTRON_BOTTOM) ** 1.5
    return int(np.ceil(volume * (top - bottom) / (6 * np.pi**2))) + 2


def k_mesh(structure: Structure, radius: float) -> list[int]:
    """Return k-points along each axis: times the distance of lattice planes, at least `radius`."""
    if not 0 < radius <= 200:
        raise InputRefused("bad_setting", f"k_radius must be between 0 and 200 bohr: {radius:g}.")
    planes = 2 * np.pi / np.array(structure.lattice.reciprocal_lattice.abc) / BOHR
    return [max(1, int(np.ceil(radius / plane - 1e-6))) for plane in planes]


def _species_files(structure: Structure, symbol: str, folder: Path) -> dict[str, str]:
    species = {each: load_species(folder, each) for each in sorted(structure.symbol_set)}
    if not any((state.n, state.l) == (1, 0) and state.core for state in species[symbol].states):
        raise InputRefused(
            "unsupported_element",
            f"Elk's species file of {symbol} has its 1s in the valence already: Elk's BSE is "
            "offered from boron on.",
        )
    distances = shortest_distances(structure)
    usual = {each: one.radius for each, one in species.items()}
    level = core_level_estimate(symbol)
    ground = fitted(usual, distances)
    core = fitted({**usual, symbol: core_radius(level, ground[symbol])}, distances)
    if (least := min(*ground.values(), *core.values())) < 0.4:
        raise InputRefused(
            "spheres_too_small",
            f"Atoms are so close that a sphere of {least:.2f} bohr is left: Elk needs 0.4.",
        )
    alone = sum(site.specie.symbol == symbol for site in structure) == 1
    files = {
        f"{GROUND}/{absorber_file(symbol)}": _resized(species[symbol], ground[symbol]),
        f"{CORE}/{absorber_file(symbol)}": write_species(
            absorber(species[symbol], core[symbol], search_start(level))
        ),
    }
    for each, one in species.items():
        if each == symbol and alone:
            continue
        files[f"{GROUND}/{each}.in"] = _resized(one, ground[each])
        files[f"{CORE}/{each}.in"] = (
            write_species(spectator(one, core[each]))
            if each == symbol
            else _resized(one, core[each])
        )
    return files


def _resized(species: Species, radius: float) -> str:
    return write_species(Species(**{**vars(species), "radius": radius}))


def groups_of(structure: Structure, absorbing_index: int) -> list[Group]:
    """Return the species of the run: the absorber alone, then the others by element."""
    absorbing = structure[absorbing_index].specie.symbol
    groups = [Group(absorber_file(absorbing), (absorbing_index,))]
    for symbol in sorted(structure.symbol_set):
        sites = tuple(
            index
            for index, site in enumerate(structure)
            if site.specie.symbol == symbol and index != absorbing_index
        )
        if sites:
            groups.append(Group(f"{symbol}.in", sites))
    return groups


def _decks(structure: Structure, index: int, protocol: Protocol) -> dict[str, str]:
    symbol = structure[index].specie.symbol
    groups = groups_of(structure, index)
    common = _common(structure, protocol)
    bse = {**common, **_bse(structure, symbol, protocol)}

    def deck(tasks: list[int], blocks: dict[str, Block]) -> str:
        return write_deck({"tasks": [[task] for task in tasks], **blocks}, structure, groups)

    ground = {"rgkmax": [[protocol.number("ground_rgkmax")]], **common}
    return {
        f"{GROUND}/{DECK}": deck([0], ground),
        f"{CORE}/{SCF_DECK}": deck([1], bse),
        f"{CORE}/{BSE_DECK}": deck([120, 180, 185, 186], bse),
        f"{CORE}/{PLOT_DECK}": deck([187], {**bse, **_plot(symbol, protocol)}),
    }


def _common(structure: Structure, protocol: Protocol) -> dict[str, Block]:
    xc = protocol.settings["xc"]
    if xc not in XC_TYPES:
        raise InputRefused("bad_setting", f"xc must be one of {', '.join(XC_TYPES)}: {xc!r}.")
    shift = protocol.settings["k_shift"]
    if not isinstance(shift, list) or len(shift) != 3:
        raise InputRefused("bad_setting", f"Protocol {protocol.label}: k_shift has three numbers.")
    return {
        "xctype": [[XC_TYPES[xc]]],
        "mixtype": [[3]],  # Broyden
        "maxscl": [[int(protocol.number("scf_iterations"))]],
        "ngridk": [k_mesh(structure, protocol.number("k_radius"))],
        "vkloff": [[float(value) for value in shift]],
        # The BSE sums over the whole mesh; its files are then in the mesh's order.
        "reducek": [[0]],
    }


def _bse(structure: Structure, symbol: str, protocol: Protocol) -> dict[str, Block]:
    volume = structure.volume / BOHR**3
    bands = conduction_bands(volume, protocol.number("band_energy_range"))
    reach = max(protocol.number("screening_energy_range"), protocol.number("band_energy_range"))
    mesh = k_mesh(structure, protocol.number("k_radius"))
    if (size := bands * int(np.prod(mesh))) > MAX_BSE_SIZE:
        raise InputRefused(
            "too_many_states",
            f"{bands} bands at {np.prod(mesh)} k-points make a BSE matrix of {size} rows, more "
            f"than {MAX_BSE_SIZE}: take a smaller k_radius or band_energy_range.",
        )
    level = core_level_estimate(symbol)
    # Elk counts empty states per atom, beyond half of the electrons; of a metal, some k-points have
    # more bands filled than that (two in MnO without spin are too few).
    empty = int(np.ceil((conduction_bands(volume, reach) + 4) / len(structure)))
    return {
        "demaxbnd": [[2 * search_margin(level)]],
        "epsband": [[1e-12]],
        "rgkmax": [[protocol.number("rgkmax")]],
        "gmaxrf": [[protocol.number("screening_cutoff")]],
        "nempty": [[empty]],
        "nvbse": [[0]],
        "istxbse": [[1]],
        "ncbse": [[bands]],
        "optcomp": [[1, 1, 1], [2, 2, 1], [3, 3, 1]],
    }


def _plot(symbol: str, protocol: Protocol) -> dict[str, Block]:
    """Return the blocks of the plot, which always starts at 0: so it needs many points."""
    step = protocol.number("energy_step")
    width = protocol.number("broadening") or max(core_hole_width(symbol, "K"), 3 * step)
    if not 0.005 <= step <= 5 or not width > 0:
        raise InputRefused(
            "bad_setting",
            f"Protocol {protocol.label}: energy_step must be 0.005 to 5 eV, broadening positive.",
        )
    start = search_start(core_level_estimate(symbol))
    top = -start + (protocol.number("band_energy_range") + 20) / HARTREE
    points = int(np.ceil(top * HARTREE / step))
    return {
        "wplot": [[points, 100, 0], [0.0, points * step / HARTREE]],
        "swidth": [[width / 2 / HARTREE]],  # Elk's is the half width
    }
