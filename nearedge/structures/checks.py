"""What makes a structure fit to compute on; everything else is refused with one sentence."""

from __future__ import annotations

import numpy as np
from pymatgen.core.periodic_table import Element
from pymatgen.core.structure import Structure

from nearedge.errors import StructureError
from nearedge.structures.identity import atomic_numbers
from nearedge.structures.neighbours import pairs_within

MINIMAL_DISTANCE = 0.5
"""Å. No two atoms may be closer: FEFF drops an atom at the absorber's place without a word."""

# Points with a minimal distance d have at least d³/√2 of volume each (close packing).
_MINIMAL_VOLUME = MINIMAL_DISTANCE**3 / 2**0.5


def check_structure(
    structure: Structure, absorber: str | None = None, label: str = "structure"
) -> None:
    """Refuse a structure that no code should run on.

    Parameters
    ----------
    structure
        What to check.
    absorber
        Symbol of the element that must be in it; None to leave that open.
    label
        What the error calls the structure.

    Raises
    ------
    StructureError
        If there are no atoms, a number is not finite, a site is occupied in part, two atoms (or an
        atom and its image) are closer than `MINIMAL_DISTANCE`, or the absorber is missing.
    """
    reason = refusal(structure, absorber)
    if reason is not None:
        raise StructureError(f"{label}: {reason}")


def refusal(structure: Structure, absorber: str | None = None) -> str | None:
    """Return the sentence that says why `structure` is refused, or None where it is fine."""
    not_finite = _not_finite(structure)
    if not_finite is not None:
        return not_finite
    try:
        numbers = atomic_numbers(structure)
    except StructureError as error:
        message = str(error)
        return message[0].lower() + message[1:]
    return _too_close(structure) or _no_absorber({int(z) for z in numbers}, absorber)


def _not_finite(structure: Structure) -> str | None:
    if not np.all(np.isfinite(structure.lattice.matrix)):
        return "the lattice vectors are not finite numbers; correct the file."
    for index, site in enumerate(structure):
        if not np.all(np.isfinite(site.frac_coords)):
            return f"the coordinates of atom {index} are not finite numbers; correct the file."
    return None


def _no_absorber(numbers: set[int], absorber: str | None) -> str | None:
    if absorber is None:
        return None
    if not Element.is_valid_symbol(absorber):
        return f"{absorber!r} is not the symbol of an element; give one such as Ti."
    if Element(absorber).Z in numbers:
        return None
    elements = ", ".join(sorted(Element.from_Z(number).symbol for number in numbers))
    return f"there is no {absorber} to absorb in it, only {elements}."


def _too_close(structure: Structure) -> str | None:
    volume = structure.lattice.volume / len(structure)
    if volume < _MINIMAL_VOLUME:
        return (
            f"its cell has {volume:.2g} Å³ for each atom, so some are closer than "
            f"{MINIMAL_DISTANCE} Å; check the lattice vectors."
        )
    pairs = pairs_within(structure, MINIMAL_DISTANCE)
    if not pairs.distance.size:
        return None
    worst = int(np.argmin(pairs.distance))
    first, second = sorted((int(pairs.center[worst]), int(pairs.neighbour[worst])))
    return (
        f"atoms {first} ({structure[first].specie}) and {second} ({structure[second].specie}) are "
        f"{pairs.distance[worst]:.3f} Å apart, less than {MINIMAL_DISTANCE} Å; correct the file."
    )
