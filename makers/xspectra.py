"""XSpectra: the spectrum of one absorbing site by Lanczos recursion with a core-hole potential."""

from __future__ import annotations

from dataclasses import dataclass

from nearedge.makers.simulation import SimulationMaker


@dataclass
class XSpectraMaker(SimulationMaker):
    """Compute one site's spectrum with pw.x and xspectra.x.

    Parameters are those of `SimulationMaker`; protocols are in ``codes/xspectra/protocols.yaml``.

    Examples
    --------
    >>> from pymatgen.core import Lattice, Structure
    >>> rock_salt = Structure.from_spacegroup(
    ...     "Fm-3m", Lattice.cubic(4.18), ["Ti", "O"], [[0, 0, 0], [0.5, 0.5, 0.5]]
    ... )
    >>> XSpectraMaker(protocol="fast", project="demo").make(rock_salt, 0).name
    'XSpectra'
    """

    name: str = "XSpectra"
    code: str = "xspectra"
