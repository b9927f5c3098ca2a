"""Elements as a few numbers, so that descriptors of any chemistry have one width."""

from __future__ import annotations

import warnings
from functools import cache

import numpy as np
from ase.data import covalent_radii
from pymatgen.core.periodic_table import Element

from nearedge.spectra.spectrum import FloatArray

SYMBOLS = tuple(Element.from_Z(number).symbol for number in range(1, 97))
"""Hydrogen to curium: the elements for which covalent radii are tabulated."""
PROPERTIES = ("one", "electronegativity", "radius", "row")
# Pauling's scale has no value for them; these are Allen's (doi:10.1021/ja00207a003).
_NOBLE_GASES = {"He": 4.160, "Ne": 4.787, "Ar": 3.242}


@cache
def element_properties() -> FloatArray:
    """Return the properties of `SYMBOLS`, shape ``(elements, 4)``.

    One; Pauling's electronegativity; the covalent radius (doi:10.1039/b801115j); the row of the
    periodic table. All but the first have mean zero and variance one over the elements.
    """
    with warnings.catch_warnings():
        # pymatgen warns of each electronegativity that it does not have.
        warnings.simplefilter("ignore", UserWarning)
        electronegativity = [
            _NOBLE_GASES.get(symbol) or float(Element(symbol).X) for symbol in SYMBOLS
        ]
    columns = np.array(
        [
            electronegativity,
            covalent_radii[1 : len(SYMBOLS) + 1],
            [float(Element(symbol).row) for symbol in SYMBOLS],
        ]
    ).T
    standard = (columns - columns.mean(axis=0)) / columns.std(axis=0)
    return np.column_stack([np.ones(len(SYMBOLS)), standard])
