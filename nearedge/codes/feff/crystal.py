"""The structure behind a finished calculation: from POSCAR, or from the deck itself."""

from __future__ import annotations

from typing import cast

import numpy as np
from numpy.typing import NDArray
from pymatgen.core import Element, Lattice, Structure
from pymatgen.io.vasp import Poscar

from nearedge.codes.feff.deck import Deck, DeckCrystal
from nearedge.errors import IngestError
from nearedge.spectra.spectrum import FloatArray

BOX_PADDING = 20.0
"""Å of vacuum around a cluster of which no crystal is known."""
MIN_VOLUME = 1e-3
"""Å³. A cell that is smaller has a vector or an angle of zero."""
_MATCH_RADIUS = 5.0
_MATCH_TOLERANCE = 0.01


def read_poscar(text: str) -> Structure:
    """Read a POSCAR; the plain layout directly, anything else through pymatgen.

    Raises
    ------
    IngestError
        If it is no POSCAR.
    """
    try:
        plain = _plain_poscar(text)
    except (ValueError, IndexError, KeyError):
        plain = None
    if plain is not None:
        return plain
    try:
        return Poscar.from_str(text).structure
    except Exception as error:  # pymatgen raises whatever its parser trips over
        raise IngestError(f"POSCAR cannot be read: {error or type(error).__name__}") from None


def _plain_poscar(text: str) -> Structure | None:
    """Read the common layout: scale one, symbols and counts, fractional coordinates."""
    lines = text.splitlines()
    symbols, counts = lines[5].split(), [int(word) for word in lines[6].split()]
    if (
        float(lines[1]) != 1.0
        or lines[7].strip().lower() != "direct"
        or len(symbols) != len(counts)
    ):
        return None
    species = [Element(symbol) for symbol, n in zip(symbols, counts, strict=True) for _ in range(n)]
    rows = [line.split() for line in lines[8 : 8 + len(species)]]
    # A fourth column may name the element; where it does, it must agree.
    if any(len(row) > 3 and row[3] != el.symbol for row, el in zip(rows, species, strict=True)):
        return None
    coordinates = np.array([row[:3] for row in rows], dtype=np.float64)
    matrix = np.array([line.split() for line in lines[2:5]], dtype=np.float64)
    return Structure(Lattice(matrix), species, coordinates)


def deck_structure(deck: Deck) -> tuple[Structure, int | None, str | None]:
    """Return the structure that a deck describes.

    Returns
    -------
    tuple
        The structure; the absorber's site in it, or None where it has to be found; a note, if the
        structure is not the crystal.
    """
    if deck.crystal is not None:
        return _from_crystal(deck.crystal), None, None
    numbers = deck.atomic_numbers
    extent = np.ptp(deck.positions, axis=0).max() + BOX_PADDING
    species = [Element.from_Z(numbers[index]) for index in deck.potential_of]
    centred = deck.positions - deck.positions.mean(axis=0) + extent / 2
    cluster = Structure(Lattice.cubic(extent), species, centred, coords_are_cartesian=True)
    note = (
        "The deck names no crystal and no POSCAR is beside it: the structure is its cluster in an "
        f"empty box, {BOX_PADDING:g} Å away from the next."
    )
    return cluster, deck.absorber(), note


def _from_crystal(crystal: DeckCrystal) -> Structure:
    try:
        lattice = Lattice.from_parameters(*crystal.abc, *crystal.angles)
        if not (np.all(np.isfinite(crystal.coordinates)) and lattice.volume > MIN_VOLUME):
            raise ValueError("a length, an angle or a coordinate is zero or no number")
        return Structure(lattice, list(crystal.symbols), crystal.coordinates)
    except (ValueError, ArithmeticError) as error:
        raise IngestError(f"The crystal in the deck's comments is none: {error}") from None


def find_absorber(structure: Structure, deck: Deck) -> int:
    """Return the site whose neighbourhood is the deck's cluster.

    Raises
    ------
    IngestError
        If there is none: the structure is another's.
    """
    element = Element.from_Z(deck.atomic_numbers[0])
    sites = [index for index, site in enumerate(structure) if site.specie == element]
    for index in sites:
        if surroundings_agree(structure, index, deck):
            return index
    raise IngestError(
        f"No {element.symbol} site of {structure.composition.reduced_formula} has the neighbours "
        "that the deck's absorber has: the structure is another's."
    )


def surroundings_agree(structure: Structure, index: int, deck: Deck) -> bool:
    """Whether the site's nearest neighbours are those of the deck's absorber, by distance and kind.

    Compared within 5 Å, or as far as the deck goes, to 0.01 Å.
    """
    centre = deck.absorber()
    offsets = deck.positions - deck.positions[centre]
    distances = np.delete(np.sqrt((offsets**2).sum(axis=1)), centre)
    numbers = deck.atomic_numbers
    kinds = np.delete(np.array([numbers[i] for i in deck.potential_of]), centre)
    # Half a tolerance inside, so that a shell at the cut is not counted on one side only.
    radius = min(_MATCH_RADIUS, float(distances.max(initial=0.0)) - _MATCH_TOLERANCE)
    theirs = _shells(distances, kinds, radius)
    near, far = _neighbours(structure, index, radius + 2 * _MATCH_TOLERANCE)
    ours = _shells(near, far, radius + 2 * _MATCH_TOLERANCE)
    count = len(theirs)
    if len(ours) < count or np.any(ours[count:, 0] < radius - _MATCH_TOLERANCE):
        return False
    ours = ours[:count]
    return bool(
        np.all(np.abs(ours[:, 0] - theirs[:, 0]) < _MATCH_TOLERANCE)
        and np.array_equal(np.sort(ours[:, 1]), np.sort(theirs[:, 1]))
    )


def _shells(distances: FloatArray, kinds: FloatArray, radius: float) -> FloatArray:
    """Return (distance, atomic number) within `radius`, sorted by distance, shape ``(n, 2)``."""
    inside = distances <= radius
    order = np.argsort(distances[inside], kind="stable")
    return np.column_stack((distances[inside][order], kinds[inside][order]))


def _neighbours(structure: Structure, index: int, radius: float) -> tuple[FloatArray, FloatArray]:
    """Return distances and atomic numbers around a site, shape ``(n,)`` each."""
    lattice = structure.lattice
    _, distances, sites, _ = cast(
        tuple[FloatArray, FloatArray, NDArray[np.int64], FloatArray],
        lattice.get_points_in_sphere(
            structure.frac_coords, structure.cart_coords[index], radius, zip_results=False
        ),
    )
    numbers = np.array([site.specie.Z for site in structure], dtype=np.float64)
    kinds = numbers[sites.astype(np.int64)]  # without any neighbour they come as floats
    others = distances > 1e-6
    return distances[others], kinds[others]
