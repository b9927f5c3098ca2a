"""Where a core level lies in density-functional theory, to place exciting's energy window."""

from __future__ import annotations

import numpy as np
from pymatgen.core import Element

from nearedge.errors import InputRefused
from nearedge.spectra.spectrum import FINE_STRUCTURE, HARTREE

# Orbital, n, j, and by how much the other electrons lower the charge that its relativistic
# correction feels (Slater's rules).
_LEVELS = {
    "K": ("1s", 1, 0.5, 0.30),
    "L1": ("2s", 2, 0.5, 4.15),
    "L2": ("2p", 2, 0.5, 4.15),
    "L3": ("2p", 2, 1.5, 4.15),
    "L23": ("2p", 2, 1.5, 4.15),
}


def core_level(element: str, edge: str) -> float:
    """Return the energy of an atom's core level below the vacuum, in eV, positive.

    The local-density eigenvalue of NIST's Atomic Reference Data (in pymatgen), which is not
    relativistic, plus the difference of Dirac's and Schroedinger's level in a bare Coulomb field of
    a screened charge. Within 1 % of what codes find: of the energy a window is placed at, not of a
    result.

    Raises
    ------
    InputRefused
        ``edge_not_in_element``, if the tables have no such orbital.
    """
    orbital, n, j, screening = _LEVELS[edge]
    orbitals = Element(element).atomic_orbitals or {}
    if orbitals.get(orbital) is None:
        raise InputRefused(
            "edge_not_in_element", f"The tables have no {orbital} level of {element}, edge {edge}."
        )
    charge = max(Element(element).Z - screening, 0.0) * FINE_STRUCTURE
    defect = j + 0.5 - np.sqrt((j + 0.5) ** 2 - charge**2)
    dirac = (1 / np.sqrt(1 + (charge / (n - defect)) ** 2) - 1) / FINE_STRUCTURE**2
    schroedinger = -((charge / FINE_STRUCTURE) ** 2) / (2 * n**2)
    return float(-(orbitals[orbital] + dirac - schroedinger) * HARTREE)
