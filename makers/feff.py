"""FEFF: the spectrum of one absorbing site by real-space multiple scattering."""

from __future__ import annotations

from dataclasses import dataclass

from nearedge.makers.simulation import SimulationMaker


@dataclass
class FeffMaker(SimulationMaker):
    """Compute one site's spectrum with FEFF 10.

    Parameters are those of `SimulationMaker`; the protocols are in ``codes/feff/protocols.yaml``.

    Examples
    --------
    >>> from pymatgen.core import Lattice, Structure
    >>> rock_salt = Structure.from_spacegroup(
    ...     "Fm-3m", Lattice.cubic(4.18), ["Ti", "O"], [[0, 0, 0], [0.5, 0.5, 0.5]]
    ... )
    >>> FeffMaker(protocol="fast", project="demo").make(rock_salt, 0).name
    'FEFF'
    """

    name: str = "FEFF"
    code: str = "feff"
