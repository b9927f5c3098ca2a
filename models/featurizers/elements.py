"""Elements as a few numbers, so that descriptors of any chemistry have one width."""

from __future__ import annotations

import warnings
from functools import cache

import numpy as np
from ase.data import covalent_radii
from pymatgen.core.periodic_table import Element
from pymatgen.core.structure import Structure

from nearedge.errors import ModelError
from nearedge.spectra.spectrum import FloatArray

SYMBOLS = tuple(Element.from_Z(number).symbol for number in range(1, 97))
"""Hydrogen to curium: the elements for which covalent radii are tabulated."""
PROPERTIES = ("one", "electronegativity", "radius", "row", "valence", "mendeleev")
# Pauling's scale has no value for them; these are Allen's (doi:10.1021/ja00207a003).
_NOBLE_GASES = {"He": 4.160, "Ne": 4.787, "Ar": 3.242}


@cache
def element_properties() -> FloatArray:
    """Return the `PROPERTIES` of `SYMBOLS`, shape ``(elements, properties)``.

    One; Pauling's electronegativity; the covalent radius (doi:10.1039/b801115j); the row of the
    periodic table; the number of valence electrons, counting those of d but not of f shells;
    Mendeleev's number (doi:10.1016/0038-1098(84)90765-8). All but the first have mean zero and
    variance one over the elements.
    """
    with warnings.catch_warnings():
        # pymatgen warns of each electronegativity that it does not have.
        warnings.simplefilter("ignore", UserWarning)
        rows = [
            (
                _NOBLE_GASES.get(element.symbol) or float(element.X),
                covalent_radii[element.Z],
                element.row,
                _valence(element),
                element.mendeleev_no,
            )
            for element in map(Element, SYMBOLS)
        ]
    columns = np.array(rows, dtype=np.float64)
    standard = (columns - columns.mean(axis=0)) / columns.std(axis=0)
    return np.column_stack([np.ones(len(SYMBOLS)), standard])


def check_known(structure: Structure) -> None:
    """Refuse a structure with an element that has no properties.

    Raises
    ------
    ModelError
        Naming the element.
    """
    unknown = sorted({site.specie.symbol for site in structure} - set(SYMBOLS))
    if unknown:
        raise ModelError(
            f"There are no properties of {unknown[0]}, which is in "
            f"{structure.composition.reduced_formula}: no featurizer knows it."
        )


def _valence(element: Element) -> int:
    group = int(element.group)
    if element.symbol == "He":
        return 2
    return group if group <= 12 else group - 10
